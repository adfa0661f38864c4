"""Run by crash.sh in a node's namespace: TAP. Clients work without a pause,
a real node has traffic through its lease, and processes are killed.

usage: crash.py WHERE NAMESPACES DIRECTORY SBIN SERVER WEB
"""
import binascii
import os
import random
import signal
import subprocess
import sys
import threading
import time

from books import Books, Node
from daemon import Daemon
from pinger import Pinger
from tap import end, ok, wait
from tsp import Client, Closed

where, ns, tmp, sbin, server, web = sys.argv[1:]
CYCLES = int(os.environ.get('DSTMD_CYCLES', 15))
SEED = int(os.environ.get('DSTMD_SEED', time.time_ns() // 1000 % 1000000))
QUARANTINE = 3          # as configured by crash.sh
THREADS, EACH = 14, 4
CHILDREN = ['parser', 'auth', 'store', 'session', 'tunnel']
RECOVERY = 15           # s, beside the pause before a process's restart
TEP_RECOVERY = 30       # the server connects to its TEP again
TUNNEL_LOSS = 50        # packets, 100 a second: what was in its buffers
PASSWORD = open(tmp + '/crowd.password').read().strip()

books = Books(QUARANTINE)
stop = threading.Event()
rng = random.Random(SEED)
daemons = {h: Daemon(h, ns, tmp, sbin) for h in
           (['server', 'tep', 'node1'] if where == 'remote' else
            ['server', 'node1'])}
problems = books.wrong


class Worker(threading.Thread):
    """Speaks for a few nodes, each with a connection of its own."""

    def __init__(self, number):
        super().__init__(daemon=True)
        self.rng = random.Random(SEED * 1000 + number)
        # every fifth has a password
        user = 'anonymous' if number % 5 else 'crowd'
        self.nodes = [Node(user, '2001:db8:12:0:1:0:%x:%x' %
                           (number + 1, i + 1)) for i in range(EACH)]
        self.conns = {}

    def connect(self, node):
        c = Client(server, source=node.address, timeout=30)
        if node.user == 'anonymous':
            line = c.anonymous()
        else:
            line = c.scram(node.user, PASSWORD)
        if line.startswith(b'OK'):
            self.conns[node] = c
            return c
        if not line.startswith(b'530'):
            books.fault(node, 'login: %s' % line.decode(errors='replace'))
        c.close()
        return None

    def drop(self, node):
        c = self.conns.pop(node, None)
        if c:
            c.close()

    def do(self, node, op, lifetime=None, v4=None):
        try:
            c = self.conns.get(node) or self.connect(node)
        except (Closed, OSError, binascii.Error):   # the last: 530
            c = None
        if c is None:
            stop.wait(self.rng.uniform(0.05, 0.3))
            return 0
        begun = books.begin(node, op, lifetime)
        reply = None
        try:
            c.ask(op, v6=node.address, v4=v4, lifetime=lifetime)
            reply = answer(c, op)
        except (Closed, OSError):
            pass
        books.end(node, op, lifetime, begun, reply)
        # A delete of the server's own may have crossed ours.
        if reply is None or reply.code in (500, 530) or op == 'delete':
            self.drop(node)
        return reply.code if reply else 0

    def step(self):
        node = self.rng.choice(self.nodes)
        luck = self.rng.random()
        if not node.sure(time.monotonic()):
            op = 'create' if luck < 0.9 else 'info'
            v4 = None
        elif luck < 0.45:
            op, v4 = 'create', self.rng.choice([None, node.v4])
        elif luck < 0.75:
            op, v4 = 'info', self.rng.choice([None, node.v4])
        else:
            op, v4 = 'delete', node.v4
        lifetime = None
        if op == 'create':
            lifetime = self.rng.choice([4, 8, 60, 60])
        self.do(node, op, lifetime, v4)
        if self.rng.random() < 0.05:
            self.drop(node)

    def run(self):
        while not stop.is_set():
            try:
                self.step()
            except Exception as e:      # of the test itself
                problems.append('%s: %r' % (self.nodes[0].address, e))
                return
            stop.wait(self.rng.uniform(0, 0.05))


def answer(c, op):
    """The next answer; that a lease is over the server says unasked."""
    while True:
        reply = c.reply()
        if op == 'delete' or getattr(reply, 'action', op) != 'delete':
            return reply


workers = [Worker(i) for i in range(THREADS)]
nodes = [n for w in workers for n in w.nodes]
probe = Worker(THREADS)
probe.nodes[0].user = 'crowd'


def served():
    return probe.do(probe.nodes[0], 'create', 60) == 200


def check_leases():
    """Those that are sure are there, and those that are not are not."""
    for _ in range(10):
        before = books.snapshot(nodes)
        try:
            rows = daemons['server'].ctl.show('leases')
            return books.compare(before, rows)
        except subprocess.CalledProcessError:   # slow, or gone
            time.sleep(0.5)
    problems.append('the server does not show its leases')
    return 0


class Kill:
    """What was killed, when, and when the service was whole again."""

    def __init__(self, host, what):
        self.host, self.what = host, what
        self.at = time.time()
        self.back = None

    def __str__(self):
        return '%s of %s' % (self.what, self.host)

    def interrupts(self):
        return self.what in ('tunnel', 'all', 'parent')


kills = []


def pick():
    host = rng.choice(list(daemons) + ['server'])
    what = rng.choice(CHILDREN + ['all', 'parent'])
    if where == 'remote' and host == 'server' and what == 'tunnel':
        what = 'store'          # it has none
    # Its pause doubles each time: not longer than a few seconds here.
    if what in CHILDREN and daemons[host].pause(what) > 1.6:
        what = 'all'
    return host, what


def strike(host, what):
    d = daemons[host]
    kill = Kill(host, what)
    kills.append(kill)
    if what in CHILDREN:
        limit = d.pause(what) + RECOVERY
        old = d.kill(what)
        return kill, lambda: d.is_back(what, old), limit
    d.kill_all() if what == 'all' else d.kill_parent()
    if not wait(d.is_gone, 5):
        problems.append('%s: processes outlive it' % kill)
    if not d.start():
        problems.append('%s: it does not start again' % kill)
    return kill, d.is_up, RECOVERY


def has_lease():
    rows = daemons['node1'].ctl.show('leases')
    return rows and rows[0]['state'] == 'bound' and \
        rows[0]['address'] == node_address


def whole():
    return served() and has_lease()


def cycle():
    """One blow, sometimes two at once; then all must be well again."""
    struck = []
    for i in range(1 if rng.random() < 0.75 else 2):
        time.sleep(rng.uniform(0, 0.5 if i == 0 else 0.3))
        struck.append(strike(*pick()))
    for kill, is_back, limit in struck:
        if not wait(is_back, limit):
            problems.append('%s: not back within %d s' % (kill, limit))
    limit = TEP_RECOVERY if where == 'remote' else RECOVERY
    if not wait(whole, limit):
        problems.append('%s: no service after %d s' % (struck[-1][0], limit))
    for kill, _, _ in struck:
        kill.back = time.time()
    for host, d in daemons.items():
        if d.process.poll() is not None:
            problems.append('%s has died' % host)
            d.start()
    return check_leases()


def finish():
    """Nobody asks any more: everyone is asked once for what it has."""
    stop.set()
    for w in workers:
        w.join(60)
    lost, kept = len(problems), 0
    check_leases()
    for w in workers + [probe]:
        for node in w.nodes:
            if not node.sure(time.monotonic()):
                continue
            for op, lifetime in (('info', None), ('create', 60)):
                for _ in range(5):
                    code = w.do(node, op, lifetime, node.v4)
                    if code:
                        break
            kept += code == 200
    ok(len(problems) == lost, 'at the end each of %d leases is there, and '
       'is renewed' % kept)


def entries():
    """Of the TEP: exactly the server's leases."""
    mine = {(r['address'], r['node']) for r in
            daemons['server'].ctl.show('leases') if r['state'] == 'bound'}
    tep = {(r['address'], r['node']) for r in
           daemons['tep'].ctl.show('leases')}
    return mine == tep


def traffic(pinger):
    """Which packets were lost, and whether anything excuses it."""
    most = {}
    for t, n in pinger.lost():
        near = [k for k in kills if k.at - 0.3 <= t <= k.back + 1.5]
        excuse = [k for k in near if k.interrupts()]
        if not excuse:
            problems.append('%d packets lost %s' % (n, 'after the kill of ' +
                            str(near[-1]) if near else 'without a reason'))
            continue
        worst = max(excuse, key=lambda k: k.what != 'tunnel')
        most[worst] = most.get(worst, 0) + n
    for k, n in most.items():
        if k.what == 'tunnel' and n > TUNNEL_LOSS:
            problems.append('%s: %d packets lost' % (k, n))
    for what in ('tunnel', 'parent', 'all'):
        some = [n for k, n in most.items() if k.what == what]
        print('# %s: %d kills, lost at most %d packets of 100 a second' %
              (what, sum(k.what == what for k in kills), max(some, default=0)))
    print('# %d packets sent, %d lost in all' % (pinger.sent,
                                                 sum(most.values())))


def main():
    global node_address
    print('# seed %d, %d cycles: DSTMD_SEED=%d DSTMD_CYCLES=%d prove -e "" '
          '-v regress/fault/crash%s.t' %
          (SEED, CYCLES, SEED, CYCLES, '-remote' if where == 'remote' else ''),
          flush=True)
    for h in ([h for h in daemons if h != 'node1'] + ['node1']):
        ok(daemons[h].start(), '%s starts' % h)
    if not wait(served, TEP_RECOVERY):
        sys.exit('no client gets a lease: %s' % problems[:3])
    ok(wait(lambda: daemons['node1'].ctl.show('leases') != [] and
            daemons['node1'].ctl.show('leases')[0]['state'] == 'bound', 30),
       'the node has a lease')
    node_address = daemons['node1'].ctl.show('leases')[0]['address']
    pinger = Pinger(ns + '-node1', web)
    ok(wait(pinger.runs, 10), 'its traffic passes')
    for w in workers:
        w.start()
    begin = time.monotonic()
    sure, i = [], 0
    while i < CYCLES and len(problems) < 10:
        sure.append(cycle())
        i += 1
        if i % 100 == 0:
            print('# %d cycles, %d s' % (i, time.monotonic() - begin),
                  flush=True)
    took = time.monotonic() - begin
    finish()
    if where == 'remote':
        ok(wait(entries, 30), "the TEP has the server's leases, no others")
    time.sleep(0.5)
    pinger.stop()
    before = len(problems)
    traffic(pinger)
    ok(len(problems) == before, 'no packet is lost but by the end of a '
       'tunnel process or of a whole daemon')
    report(sure, took)
    end()


def report(sure, took):
    for p in problems[:20]:
        print('# ' + p)
    by_code = {}
    for (op, code), n in sorted(books.counts.items()):
        by_code.setdefault(op, []).append('%s %d' % (code or 'none', n))
    for op, text in by_code.items():
        print('# %s: %s' % (op, ', '.join(text)))
    slow = max(kills, key=lambda k: k.back - k.at)
    print('# slowest to be whole: %s, %.1f s' % (slow, slow.back - slow.at))
    ok(len(sure) == CYCLES, '%d kills in %d cycles, %d s' %
       (len(kills), len(sure), took))
    ok(sum(sure) > 0 and
       books.counts.get(('create', 200), 0) > CYCLES,
       'clients were served: %d leases sure after a cycle, of %d' %
       (sum(sure) // len(sure), len(nodes)))
    ok(not problems, 'nothing that was answered is lost, no address has two '
       'owners')
    bad = [line for d in daemons.values() for line in d.complaints()]
    for line in bad[:10]:
        print('# ' + line)
    ok(not bad, 'no process ended by itself')


def quit_on(signo, frame):
    sys.exit(1)


signal.signal(signal.SIGTERM, quit_on)
try:
    main()
finally:
    stop.set()
    for d in daemons.values():
        d.end()
