"""Run by tunnel.t: TAP. Two hosts, "node" and "tep", and a plane in each."""
import os
import signal
import subprocess
import sys
import time

from plane import Plane, KIND, ns, on
from tap import end, ok, wait

MANY = 100000


def cpu(pid):
    with open('/proc/%d/stat' % pid) as f:
        fields = f.read().rsplit(')', 1)[1].split()
    return int(fields[11]) + int(fields[12])


def dress(node_v4='198.51.100.20'):
    on('tep', 'ip', 'addr', 'add', '198.51.100.1/32', 'dev', 'tun0')
    on('tep', 'ip', 'route', 'add', '198.51.100.0/24', 'dev', 'tun0')
    on('node', 'ip', 'addr', 'add', node_v4 + '/32', 'dev', 'tun0')
    on('node', 'ip', 'route', 'add', 'default', 'dev', 'tun0')


def ping(host='node', to='198.51.100.1', *more):
    return on(host, 'ping', '-c', '1', '-W', '1', *more, to).returncode == 0


tep, node = Plane('tep'), Plane('node')


def moves():
    ok(tep.good('open', 0, 0, 1460, 'tun0', '2001:db8::2'), 'the TEP opens')
    ok(node.good('open', 0, 1, 1460, 'tun0', '2001:db8::1'),
       'the node opens, both without a tunnel process')
    tep.do('add', 0, 1, '198.51.100.20', '2001:db8::1')
    node.do('add', 0, 1, '198.51.100.20', '2001:db8::2')
    dress()
    ok(ping() == bool(KIND), 'packets move in the kernel alone, or not yet')
    ok(tep.good('start') and node.good('start'), 'the processes start')
    ok(wait(ping), 'packets move')
    ok(ping('tep', '198.51.100.20', '-s', '1432', '-M', 'do'),
       'of the whole inner MTU')
    ok(ping('tep', '198.51.100.20', '-s', '8000'), 'and fragments')
    rows = tep.do('list', 0, 0, 10)
    ok(rows[0][:2] == ['198.51.100.20', '2001:db8::1'] and
       int(rows[0][2]) >= 3 and int(rows[0][4]) >= 3, 'and are counted')
    ok(not tep.good('open', 1, 0, 1460, 'tun0', '2001:db8::2') and
       'is there already' in tep.said(), 'an interface that is there: refused')
    ok(not tep.good('open', 1, 0, 1460, 'tun1', '2001:db8::99') and
       'is not on this host' in tep.said(), 'so is an address that is not')


def drops():
    before = tep.drops()
    on('node', 'ip', 'addr', 'add', '198.51.100.66/32', 'dev', 'tun0')
    ok(not ping('node', '198.51.100.1', '-I', '198.51.100.66'),
       'an inner source that is not the node\'s')
    ok(node.drops()['inner_source'] == 1, 'is dropped by itself already')
    on('node', 'ip', 'addr', 'del', '198.51.100.66/32', 'dev', 'tun0')
    ok(not ping('tep', '198.51.100.77'), 'an address without a lease')
    ok(tep.drops()['no_lease'] == before['no_lease'] + 1, 'is counted')
    tep.do('add', 0, 1, '198.51.100.20', '2001:db8::5')
    ok(not ping(), 'an outer source that is not the lease\'s')
    ok(tep.drops()['outer_source'] == before['outer_source'] + 1,
       'is counted')
    tep.do('add', 0, 1, '198.51.100.20', '2001:db8::1')
    ok(ping(), 'and it moves again')
    tep.do('del', 0, 1, '198.51.100.20')
    ok(not ping() and tep.drops()['inner_source'] == before['inner_source'] +
       1, 'after the delete nothing does')
    tep.do('add', 0, 1, '198.51.100.20', '2001:db8::1')
    martians()


def martians():
    """Of the lease, and from or to what is no host's address."""
    was = tep.drops()['martian'], node.drops()['martian']
    odd = '127.0.0.1', '224.0.0.1', '0.1.2.3', '169.254.1.1', '255.255.255.255'
    for a in odd:
        spoof('node', 1, '198.51.100.20', a, '2001:db8::2', '2001:db8::1')
        spoof('tep', 1, a, '198.51.100.20', '2001:db8::1', '2001:db8::2')
    ok(wait(lambda: tep.drops()['martian'] == was[0] + len(odd) and
            node.drops()['martian'] == was[1] + len(odd), 5),
       'addresses that are no host\'s are dropped and counted at both ends')
    on('node', sys.executable, '-c', 'import socket; socket.socket('
       'socket.AF_INET, socket.SOCK_DGRAM).sendto(b"x", ("224.9.9.9", 9))')
    ok(wait(lambda: node.drops()['martian'] == was[1] + len(odd) + 1, 5),
       'and so is what the node itself sends to one')


SPOOF = """
import socket, struct, sys
n, inner, to, dst, outer = int(sys.argv[1]), *sys.argv[2:]
s = socket.socket(socket.AF_INET6, socket.SOCK_RAW, 4)
s.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
s.bind((outer, 0))
p = struct.pack('!BBHHHBBH4s4s8x', 0x45, 0, 28, 0, 0, 64, 17, 0,
                socket.inet_aton(inner), socket.inet_aton(to))
for i in range(n):
    s.sendto(p, (dst, 0))
"""


def spoof(host, n, inner, to, dst, outer):
    """n packets, without the tunnel, with those inner and outer addresses."""
    on(host, sys.executable, '-c', SPOOF, str(n), inner, to, dst, outer)


def kernel():
    """What is dropped and carried without the tunnel process."""
    n = 100000
    before = tep.drops()
    ok(tep.good('freeze'), 'a tunnel process that is stopped')
    cpu_before = cpu(tep.pid())

    on('node', 'ip', 'addr', 'add', '2001:db8::66/64', 'dev', 'eth0', 'nodad')
    for inner, outer in (('198.51.100.99', '2001:db8::1'),
                         ('198.51.100.20', '2001:db8::66')):
        spoof('node', n, inner, '198.51.100.1', '2001:db8::2', outer)
    ok(ping(), 'packets of the lease move beside a flood of others')
    ok(cpu(tep.pid()) == cpu_before, 'without that process')
    ok(tep.good('thaw'), 'it goes on')
    now = tep.drops()
    ok(now['inner_source'] - before['inner_source'] == n and
       now['outer_source'] - before['outer_source'] == n,
       '%d false inner and %d false outer sources are dropped and counted' %
       (n, n))
    rows = tep.do('list', 0, 0, 10)[0]
    server = subprocess.Popen(
        ['ip', 'netns', 'exec', ns + '-tep', 'iperf3', '-s', '-1'],
        stdout=subprocess.DEVNULL)
    for direction in ([], ['-R']):
        if direction:
            server = subprocess.Popen(
                ['ip', 'netns', 'exec', ns + '-tep', 'iperf3', '-s', '-1'],
                stdout=subprocess.DEVNULL)
        out = []

        def client():
            out.append(on('node', 'iperf3', '-c', '198.51.100.1', '-t', '2',
                          '-f', 'm', *direction))
            return out[-1].returncode == 0
        ok(wait(client), 'TCP %s' % ('back' if direction else 'there'))
        print('# ' + '\n# '.join(line for line in out[-1].stdout.split('\n')
                                 if 'receiver' in line))
        server.wait(timeout=20)
    after = tep.do('list', 0, 0, 10)[0]
    ok(int(after[3]) - int(rows[3]) > 100 << 20 and
       int(after[5]) - int(rows[5]) > 100 << 20, 'and all of it is counted')


def restarts():
    old = tep.pid()
    ok(tep.good('kill'), 'kill -9 of the tunnel process')
    ok(wait(lambda: tep.pid() == 0), 'is seen')
    ok(tep.do('list', 0, 0, 1)[-1][0] == 'error:', 'a list fails meanwhile')
    tep.do('add', 0, 1, '198.51.100.21', '2001:db8::21')
    ok(tep.good('start') and tep.pid() != old, 'another one starts')
    ok(wait(ping), 'packets move')
    ok(tep.count() == (2, 2), 'it has what was said meanwhile')


def many():
    ok(tep.good('freeze'), 'a tunnel process that does not read')
    ok(tep.good('add', 0, MANY, '10.0.0.0', '2001:db8:1::'),
       '%d entries meanwhile' % MANY)
    ok(tep.good('del', 0, MANY // 2, '10.0.0.0'), 'and half of them away')
    ok(tep.good('thaw') and wait(
        lambda: tep.do('list', 0, 0, 0)[-1][2] == str(MANY // 2 + 2)),
       'it has them all when it reads')
    n = tep.count()
    ok(n == (MANY // 2 + 2,) * 2, 'each once: %s' % (n,))
    ok(ping(), 'packets move among them')
    tep.do('kill')
    wait(lambda: tep.pid() == 0)
    ok(tep.good('start') and wait(
        lambda: tep.do('list', 0, 0, 0)[-1][2] == str(MANY // 2 + 2)),
       'so has the next one')
    tep.do('del', 0, MANY // 2, '10.0.195.80')
    ok(tep.count() == (2, 2), 'and all away again')
    ok('link' not in tep.said(), 'its link was never broken')


def expires():
    """An entry ends by its time, whoever hangs; a renewal prolongs it."""
    before = tep.drops()
    tep.do('life', 60000)
    tep.do('add', 0, 1, '198.51.100.20', '2001:db8::1')
    ok(wait(ping), 'an entry that ends in a minute')
    tep.do('life', 1000)
    tep.do('add', 0, 1, '198.51.100.20', '2001:db8::1')
    tep.do('list', 0, 0, 0)
    os.kill(tep.proc.pid, signal.SIGSTOP)
    ok(wait(lambda: not ping()), 'and in a second: it ends, its parent hangs')
    ok(not ping('tep', '198.51.100.20'), 'both ways')
    os.kill(tep.proc.pid, signal.SIGCONT)
    ok(tep.drops()['expired'] >= before['expired'] + 2, 'is counted')
    ok(tep.count() == (2, 2), 'the entry is there until it is deleted')
    tep.do('life', 0)
    tep.do('add', 0, 1, '198.51.100.20', '2001:db8::1')
    ok(wait(ping), 'and lives again when it is renewed')


def lies():
    for dev, n, what in ((0, 3, 'an entry that nobody has'),
                         (0, 400, 'more entries than were asked for'),
                         (5, 1, 'an entry of another device')):
        tep.do('lie-entry', dev, n)
        rows = tep.do('list', 0, 0, 10)
        ok(not any('203.0.113.99' in row for row in rows), what)
        tep.do('lie-none')
    for next_ in (1, 4000000000):
        tep.do('lie-stats', 0, next_)
        first = tep.do('list', 0, 1 if next_ == 1 else 0, 10)
        ok(first[-1][0] == 'error:', 'a page that leads to %d' % next_)
        tep.do('lie-none')
    ok('(said once)' in tep.said(), 'is said')


FLOOD = """
import socket, struct, sys, time
n, inner, dst, src = int(sys.argv[1]), *sys.argv[2:5]
s = socket.socket(socket.AF_INET6, socket.SOCK_RAW, 4)
s.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
s.bind((src, 0))
p = struct.pack('!BBHHHBBH4s4s', 0x45, 0, 1000, 0, 0, 64, 17, 0,
                socket.inet_aton(inner), socket.inet_aton('198.51.100.1'))
p += bytes(980)
for i in range(n):
    s.sendto(p, (dst, 0))
    if i % 200 == 199:      # what is lost on the way is no drop
        time.sleep(0.005)
"""
FLOOD_OUT = """
import socket, sys, time
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
for i in range(int(sys.argv[1])):
    s.sendto(bytes(972), (sys.argv[2], 9))
    if i % 200 == 199:
        time.sleep(0.005)
"""


def flooded(dev, v4, do):
    """What passed of one flood: octets in and out, drops, seconds."""
    row = next(r for r in tep.do('list', dev, 0, 10) if r[0] == v4)
    drops, begin = tep.drops(dev)['rate'], time.monotonic()
    r = do()
    assert r.returncode == 0, r.stdout
    while True:             # until the last packets are through
        now = next(r for r in tep.do('list', dev, 0, 10) if r[0] == v4)
        time.sleep(0.1)
        if next(r for r in tep.do('list', dev, 0, 10) if r[0] == v4) == now:
            break
    return (int(now[3]) - int(row[3]), int(now[5]) - int(row[5]),
            tep.drops(dev)['rate'] - drops, time.monotonic() - begin)


def rates():
    """Each lease has its rate, each way; without one there is no limit."""
    n = 4000                # 4 MB, in a few tenths of a second
    on('tep', 'ip', 'addr', 'add', '2001:db8::3/64', 'dev', 'eth0', 'nodad')
    tep.do('rate', 4000000)
    ok(tep.good('open', 1, 0, 1460, 'tun1', '2001:db8::3'),
       'a TEP whose leases have 4 Mbit/s')
    tep.do('rate', 0)
    tep.do('add', 1, 2, '198.51.100.30', '2001:db8::1')
    tep.do('add', 1, 1, '198.51.100.31', '2001:db8::1')
    on('tep', 'ip', 'route', 'add', '198.51.100.30/31', 'dev', 'tun1')

    def there(v4, dst, n=n):
        return on('node', sys.executable, '-c', FLOOD, str(n), v4, dst,
                  '2001:db8::1')
    ok(wait(lambda: flooded(1, '198.51.100.31', lambda: there(
        '198.51.100.31', '2001:db8::3', 1))[0] == 1000), 'carries them')
    burst, per_s = 125000 + 1000, 500000
    got, _, drops, s = flooded(1, '198.51.100.30', lambda: there(
        '198.51.100.30', '2001:db8::3'))
    print('# in: %d octets in %.1f s, %d packets dropped' % (got, s, drops))
    ok(burst - 1000 <= got <= burst + per_s * s, 'a flood is cut to them')
    ok(0 < drops <= n - got // 1000, 'and what is above is counted')
    ok(flooded(1, '198.51.100.31', lambda: there(
        '198.51.100.31', '2001:db8::3', 50))[0] == 50000,
       'another lease has its own')
    _, got, drops, s = flooded(1, '198.51.100.30', lambda: on(
        'tep', sys.executable, '-c', FLOOD_OUT, str(n), '198.51.100.30'))
    print('# out: %d octets in %.1f s, %d packets dropped' % (got, s, drops))
    ok(burst - 1000 <= got <= burst + per_s * s and
       0 < drops <= n - got // 1000, 'so is one to the node')
    got, _, drops, s = flooded(0, '198.51.100.20', lambda: there(
        '198.51.100.20', '2001:db8::2'))
    print('# without: %d octets in %.1f s' % (got, s))
    ok(got > burst + per_s * s and drops == 0, 'without a rate nothing is')
    ok(tep.good('close', 1), 'it is closed')


def removed():
    """Somebody removes the interface under it."""
    pid = node.pid()
    on('node', 'ip', 'link', 'del', 'tun0')
    ok(wait(lambda: 'is gone' in node.said()), 'ip link del is noticed')
    before = cpu(pid)
    ok(all(node.good('list', 0, 0, 1) for _ in range(2000)) and
       cpu(pid) - before < 50, 'and costs no time')
    ok(node.good('reopen', 0), 'it can be made again')
    on('node', 'ip', 'addr', 'add', '198.51.100.20/32', 'dev', 'tun0')
    on('node', 'ip', 'route', 'add', 'default', 'dev', 'tun0')
    ok(wait(ping), 'with its entries')
    ok(node.good('close', 0) and
       on('node', 'ip', 'link', 'show', 'tun0').returncode != 0,
       'close removes it')
    ok(tep.good('stop') and tep.good('del', 0, 1, '198.51.100.20') and
       tep.good('close', 0), 'what is said without a process is kept')


moves()
drops()
if KIND:
    kernel()
restarts()
many()
expires()
lies()
rates()
removed()
ok((tep.end(), node.end()) == (0, 0), 'both end')
end()
