"""Run by rogue.t in a node's namespace: TAP. Each process of the daemon in turn
is one that was taken over (rogue.c); the parent must not be impressed."""
import os
import signal
import subprocess
import sys
import time

from rogue_daemon import ROLES, Daemon, kib
from tap import end, ok, wait
from tsp import Client, Closed

build, t, ns = sys.argv[1:]
SANITIZER = 'asan' in build     # which keeps freed memory
SERVER = '2001:db8:2::2'
ALICE = '2001:db8:11::10'
POOL = '198.51.100.'
MEMORY = (700 if SANITIZER else 64) * 1024      # KiB that it may grow by
SLOW = 8 if SANITIZER else 2                    # s to an answer
LOG = 1 << 20                                   # octets of a flood's log

server = Daemon(build, t, ns, 'server')
node = Daemon(build, t, ns, 'node2', roles=['session', 'tunnel'])
deaf = Daemon(build, t, ns, 'node1', 'deaf', roles=['session'])
with open(os.path.join(t, 'alice.password')) as f:
    password = f.read().strip()


def source(i):
    return '2001:db8:11:0:1::%x' % (i + 1)


def login(address, user=None):
    """An honest client; None if it is not let in."""
    c = Client(SERVER, source=address, timeout=15)
    try:
        line = c.scram(user, password) if user else c.anonymous()
    except (Closed, ConnectionError, TimeoutError, ValueError):
        line = b''
    if line.startswith(b'OK'):
        return c
    c.close()
    return None


def ask(i):
    """A new node asks: its address, or the code."""
    c = login(source(i))
    if c is None:
        return None
    try:
        r = c.create()
    except (Closed, ConnectionError, TimeoutError):
        return None
    finally:
        c.close()
    return r.client_ipv4 if r.code == 200 else r.code


def leases():
    return [l for l in server.ctl.show('leases')]


def lease_of(user):
    return [(l['address'], l['node'], l['state']) for l in leases()
            if l['user'] == user]


def served(i):
    return wait(lambda: POOL in str(ask(i)), 20)


def sound(what):
    """Nothing has come of it."""
    ok(server.process.poll() is None and server.answers(),
       what + ': the parent lives')
    grown = kib(server.process.pid, 'VmHWM') - memory
    ok(grown < MEMORY, what + ': its memory grew by %d KiB at most' % grown)
    ok(lease_of('alice') == alices, what + ': the lease of another is '
       'untouched')


def flooded(role, what, begin):
    """While a process floods its parent, that answers others."""
    size = server.log_size()
    slow = server.slowest(lambda: server.logged(
        'rogue: [0-9]+ messages are said', begin), 120)
    ok(slow < SLOW, '%s: %s, dstmctl waits %.2f s at most' % (
        role, what, slow))
    received = next(p['received'] for p in server.ctl.show('processes')
                    if p['name'] == role)
    ok(received > 100000, '%s: %d messages were taken' % (role, received))
    grown = server.log_size() - size
    ok(grown < LOG, '%s: the log grew by %d octets' % (role, grown))


def honest(role, i):
    """The honest one is back."""
    server.plan('nobody is')
    ok(server.kill(role) and served(i), role + ': an honest one serves again')
    ok(lease_of('alice') == alices, role + ': and alice has her lease')


def order(text, address=ALICE):
    """To a session that was taken over: what came of it, as words."""
    c = Client(SERVER, source=address, timeout=20)
    c.send(text.encode())
    try:
        while b'\n' not in c.buf:
            c.more()
    except (Closed, ConnectionError, TimeoutError):
        return []
    finally:
        c.close()
    return c.buf.decode().split()


def session():
    print('# session')
    before = leases()
    server.plan('session orders')
    ok(server.kill('session'), 'session is taken over')
    v4 = alices[0][0]
    got = order('unproved %s %s\n' % (v4, ALICE))
    ok(got == ['300='] * 12, 'no lease without a verdict: %s' % got)
    got = order('others %s %s\n' % (v4, ALICE), source(500))
    good = [x for x in got if x.startswith('200')]
    ok(len(got) == 15 and len(good) == 1 and v4 not in good[0],
       'logged in elsewhere, the lease of another: %s' % got)
    got = order('others %s %s\n' % (v4, ALICE))
    good = [x for x in got if x.startswith('200')]
    ok(len(got) == 12 and good and not any(v4 in x for x in good),
       'logged in at the other\'s address: %s' % got)
    got = order('generations\n', source(501))
    ok([x for x in got if x.startswith('ready')] ==
       ['ready:10', 'ready:11', 'ready:12'] and got[-1] == '12:300' and
       len([x for x in got if x.startswith('not')]) == 10,
       'no generation comes again, no login is inherited: %s' % got)
    got = order('ride\n', source(502))
    ok(got[:1] + got[2:] == ['logins:300', 'addresses:1'],
       'one node is one node: %s' % got)
    ok(len(leases()) <= len(before) + 3, 'the pool is not used up')
    sound('session lies')
    begin = server.log_size()
    order_only = Client(SERVER, source=source(503))
    order_only.send(b'flood\n')
    flooded('session', '300000 messages', begin)
    order_only.close()
    sound('session floods')
    ok(len(leases()) <= len(before) + 4, 'and the pool is as it was')
    honest('session', 0)


def parser():
    print('# parser')

    def liar(i, which):
        """Its message is the one that the parser lies about: the code."""
        c = login(source(i))
        c.sock.settimeout(1 if which == 1 else 15)
        begin = time.monotonic()
        c.ask('create', v6=c.address, lifetime=600 + which)
        try:
            code = c.reply().code
        except (Closed, ConnectionError):
            code = 0
        except TimeoutError:
            code = -1
        c.close()
        return code, time.monotonic() - begin

    server.plan('parser lies %s %s' % alices[0][:2])
    server.kill('parser')
    for i, (how, codes) in enumerate((
            ('theft', (308, 309)), ('noise', None), ('silence', (500,)),
            ('twice', (200,)), ('garbage', (500,)), ('connection', (500,)),
            ('generation', (500,)))):
        witness = login(source(200 + i))
        code, took = liar(100 + i, i)
        ok((codes is None or code in codes) and took < 6,
           'parser lies, %s: its message gets %d in %.1f s' % (
               how, code, took))
        try:
            code = witness.create().code
        except (Closed, ConnectionError, TimeoutError):
            code = 0
        witness.close()
        ok(code == 200, 'parser lies, %s: somebody else gets %d' % (
            how, code))
    sessions = server.restarts('session')
    codes = {liar(300 + i, 1)[0] for i in range(40)}
    ok(server.restarts('session') == sessions, 'parser makes noise: session '
       'lives, nodes get %s' % codes)
    ok(server.logged('parser .* does not do its work'), 'a parser that does '
       'not do its work is replaced')
    sound('parser lies')
    honest('parser', 1)


def many(first, n):
    """New nodes ask: what those who got one have, and the codes."""
    got = {}
    codes = set()
    for i in range(first, first + n):
        r = ask(i)
        if isinstance(r, str):
            got[source(i)] = r
        else:
            codes.add(r)
    return got, codes


def store():
    print('# store')
    granted = {}
    for first, how in ((1000, 'early'), (1100, 'random'), (1200, 'never')):
        server.plan('store ' + how)
        server.kill('store')
        got, codes = many(first, 1 if how == 'never' else 20)
        granted.update(got)
        ok(len(set(granted.values())) == len(granted),
           'store, %s: %d more leases, none twice; else %s' % (
               how, len(got), codes))
        if how == 'never':
            ok(not got, 'store, never: nobody is told that he has one')
    begin = server.log_size()
    server.plan('store unasked')
    server.kill('store')
    flooded('store', '300000 messages', begin)
    sound('store lies')
    held = {l['node']: l['address'] for l in leases() if l['state'] == 'bound'}
    ok(len(set(held.values())) == len(held), 'nobody shares an address')
    honest('store', 2)


def silent_auth():
    """It takes what it is asked, and never answers."""
    server.plan('auth silent')
    server.kill('auth')
    begin, restarts = server.log_size(), server.restarts('auth')
    server.plan('nobody is')
    ok(login(source(620)) is None, 'an auth that is silent lets nobody in')
    ok(server.logged('auth: it does not answer', begin) and
       wait(lambda: server.restarts('auth') > restarts, 10),
       'but it is noticed, and replaced')
    ok(served(3), 'and the next one lets in who may')


def auth():
    print('# auth')
    server.plan('auth anybody alice')
    server.kill('auth')
    wait(lambda: login(source(600)), 10)
    v4 = alices[0][0]
    thief = login(source(601))
    ok(thief is not None, 'auth lets anybody in')
    got = [thief.request(a, v4=v4, v6=v6).code
           for a in ('create', 'delete', 'info')
           for v6 in (source(601), ALICE)]
    ok(not any(g == 200 for g in got),
       'but alice\'s lease is that of her node: %s' % got)
    r = thief.create()
    ok(r.code == 200 and r.client_ipv4 != v4, 'it gets one as alice')
    got = [login(source(602 + i)).create().code for i in range(4)]
    ok(set(got) == {301}, 'and no more than alice may have: %s' % got)
    thief.request('delete', v4=r.client_ipv4)
    thief.close()
    # a name without a place is let in by nobody
    server.plan('auth anybody mallory')
    server.kill('auth')
    ok(wait(lambda: server.logged('mallory .* has no place'
                                  if login(source(610)) is None else 'x^'),
            10), 'a name that is not configured is refused')
    wait(lambda: alices[0] in lease_of('alice') and
         len(lease_of('alice')) == 1, 10)
    begin = server.log_size()
    silent_auth()
    server.plan('auth flood')
    server.kill('auth')
    flooded('auth', '300000 verdicts', begin)
    sound('auth lies')
    honest('auth', 3)


def index(host, interface):
    return subprocess.check_output(
        ['ip', 'netns', 'exec', '%s-%s' % (ns, host), 'cat',
         '/sys/class/net/%s/ifindex' % interface])


def tunnel():
    print('# tunnel')
    before = index('server', 'dstm0')
    begin = server.log_size()
    server.plan('tunnel flood')
    server.kill('tunnel')
    flooded('tunnel', '300000 messages', begin)
    listed = subprocess.run(server.ctl.start + ['show', 'tunnels'],
                            stdout=subprocess.PIPE, timeout=20)
    ok(len(listed.stdout) < 1 << 20, 'dstmctl shows %d octets of tunnels' %
       len(listed.stdout))
    ok(index('server', 'dstm0') == before, 'the interface is the same')
    sound('tunnel lies')
    honest('tunnel', 4)


def at_node():
    """A node, whose session and tunnel lie."""
    print('# node')

    def bound():
        return [l['address'] for l in node.ctl.show('leases')
                if l['state'] == 'bound']

    ok(node.start() and wait(bound, 20), 'a node has a lease')
    held, pid, before = bound(), node.process.pid, index('node2', 'dstm0')
    node.plan('tunnel flood', 'session node 2001:db8:12::10')
    begin = node.log_size()
    node.kill('tunnel')
    slow = node.slowest(lambda: node.logged('messages are said', begin), 60)
    ok(slow < SLOW, 'its tunnel process floods: dstmctl waits %.2f s' % slow)
    ok(bound() == held and index('node2', 'dstm0') == before,
       'lease and interface are the same')
    begin = node.log_size()
    node.kill('session')
    slow = node.slowest(lambda: node.logged('messages are said', begin), 60)
    ok(slow < SLOW, 'its session says leases of nobody: dstmctl waits '
       '%.2f s' % slow)
    ok(node.process.pid == pid and bound() == held and
       index('node2', 'dstm0') == before, 'and has none of them')
    addresses = subprocess.check_output(
        ['ip', 'netns', 'exec', ns + '-node2', 'ip', '-4', '-o', 'addr'])
    ok(b'203.0.113.' not in addresses, 'nor has the host')
    ok(node.log_size() - begin < LOG, 'and the log grew by %d octets' %
       (node.log_size() - begin))
    node.plan('nobody is')
    node.kill('tunnel')
    node.kill('session')
    ok(wait(lambda: bound() == held, 20), 'honest again, the node has its '
       'lease')
    node.end()


MALFORMED = {
    'type': 'not expected from this process',
    'control': 'not expected from this process',
    'foreign': 'not expected from this process',
    'size': 'wrong size',
    'huge': 'impossible length',
    'empty': 'impossible length',
    'flags': 'unknown flags',
    'zero': 'unknown flags',
    'stray': 'stray descriptor',
    'hidden': 'belongs to no message',
    'missing': 'descriptor is missing',
    'many': 'too many descriptors',
    'half': None,
}


def malformed():
    print('# messages that may not be')
    server.end()                # pauses between starts are short again
    server.plan('nobody is')
    ok(server.start() and served(7) and lease_of('alice') == alices,
       'a new daemon has the leases of the old one')
    kinds = list(MALFORMED)
    first = [server.pid(role) for role in ROLES]
    while kinds:
        now = dict(zip(ROLES, kinds))
        kinds = kinds[len(ROLES):]
        begin = server.log_size()
        server.plan(*('%s malformed %s' % x for x in now.items()))
        # each start is another attempt, until the plan is another
        while first:
            os.kill(first.pop(), signal.SIGKILL)
        for role, kind in now.items():
            why = MALFORMED[kind]
            ok(wait(lambda: server.logged(
                '(?m)^dstmd: %s: .*%s' % (role, why) if why else
                'rogue: malformed half', begin), 40),
               '%s, %s: ended, for the reason' % (role, kind) if why else
               '%s, %s: it is waited for the rest' % (role, kind))
    ok(server.process.poll() is None and lease_of('alice') == alices,
       'the parent lives, and all leases')
    server.plan('nobody is')
    server.kill(role)           # the half one, which is quiet
    ok(wait(lambda: served(5), 40), 'all are honest again, and serve')


def load():
    """What a store says of the leases that there are, at the start."""
    print('# load')
    server.end()
    server.plan('store load')
    ok(server.start(), 'the store lies in the load: the parent starts')
    begin = server.log_size()
    ok(server.slowest(lambda: server.logged('leases are back'), 60) < SLOW,
       'and answers meanwhile')
    ok(wait(lambda: login(source(700)), 10), 'it serves')
    got, codes = many(1300, 40)
    held = [l['address'] for l in leases() if l['state'] == 'bound']
    ok(len(got) == 40 and len(set(got.values())) == 40 and
       len(held) == len(set(held)), 'nobody gets what somebody has: %d' %
       len(held))
    ok(server.log_size() - begin < LOG, 'the log grew by %d octets' %
       (server.log_size() - begin))
    server.end()
    server.plan('store count')
    begin = server.log_size()
    server.start()
    ok(wait(lambda: server.logged('(?i)store: says 1000 leases, sent 0',
                                  begin), 10), 'a load that is short is '
       'refused')
    ok(server.process.poll() is None and server.answers(),
       'and the parent lives')
    ok(not wait(lambda: login(source(701)), 1), 'nobody is served yet')
    server.plan('nobody is')
    ok(served(6), 'with an honest store all is well')
    server.end()


def never_read():
    """Started first: it takes up to a minute."""
    print('# deaf')
    ok(wait(lambda: deaf.logged('session \\(pid [0-9]+\\) has read nothing'),
            75), 'a session that never reads is ended')
    ok(deaf.process.poll() is None and deaf.answers(), 'by a parent that '
       'lives')
    grown = kib(deaf.process.pid, 'VmHWM') - quiet
    ok(grown < MEMORY, 'whose memory grew by %d KiB' % grown)
    deaf.end()


signal.signal(signal.SIGTERM, lambda *x: sys.exit(1))
try:
    for d in (server, node, deaf):
        d.plan('nobody is')
    deaf.plan('session deaf')
    ok(deaf.start(), 'one for the deaf, too')
    quiet = kib(deaf.process.pid, 'VmRSS')
    ok(server.start() and wait(lambda: login(source(0)), 10),
       'the daemon is there')
    c = login(ALICE, 'alice')
    ok(c.create().code == 200, 'alice has a lease')
    c.close()
    alices, memory = lease_of('alice'), kib(server.process.pid, 'VmRSS')
    at_node()
    for part in (session, parser, auth, tunnel, store):
        part()
    malformed()
    load()
    never_read()
finally:
    for d in (server, node, deaf):
        d.end()
end()
