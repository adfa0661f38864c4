"""Run by queues.t: TAP. The TEP has a plane with four queues; at the node are
raw sockets, which send for many leases, and see what comes for them.

A flow is a lease and a port of it; its packets are numbered.
"""
import ctypes
import os
import select
import socket
import struct
import sys
import time

from plane import Plane, ns, on
from tap import end, ok, wait

QUEUES = 4
LEASES = ['198.51.100.%d' % i for i in range(20, 36)]
PORTS = range(5000, 5008)
FLOWS = [(v4, port) for v4 in LEASES for port in PORTS]
HERE, SERVICE = '198.51.100.1', 9000    # behind the TEP
OUTER_NODE, OUTER_TEP = '2001:db8::1', '2001:db8::2'
SO_RCVBUFFORCE = 33
CLONE_NEWNET = 0x40000000


def socket_at(host, *kind):
    """A socket of that namespace: it stays there, whoever has it."""
    ours = os.open('/proc/self/ns/net', os.O_RDONLY)
    theirs = os.open('/run/netns/%s-%s' % (ns, host), os.O_RDONLY)
    libc = ctypes.CDLL(None, use_errno=True)
    try:
        assert libc.setns(theirs, CLONE_NEWNET) == 0
        s = socket.socket(*kind)
    finally:
        assert libc.setns(ours, CLONE_NEWNET) == 0
        os.close(ours)
        os.close(theirs)
    s.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 16 << 20)
    s.setblocking(False)
    return s


def udp(src, sport, dst, dport, data):
    p = struct.pack('!BBHHHBBH4s4s', 0x45, 0, 28 + len(data), 0, 0, 64,
                    socket.IPPROTO_UDP, 0, socket.inet_aton(src),
                    socket.inet_aton(dst))
    s = sum(struct.unpack('!10H', p))
    s = ~((s & 0xffff) + (s >> 16)) & 0xffff
    return p[:10] + struct.pack('!H', s) + p[12:] + struct.pack(
        '!HHHH', sport, dport, 8 + len(data), 0) + data


class Ends:
    """What nodes send arrives at a socket; what it sends, at the nodes."""

    def __init__(self):
        self.raw = socket_at('node', socket.AF_INET6, socket.SOCK_RAW, 4)
        self.raw.bind((OUTER_NODE, 0))
        self.udp = socket_at('tep', socket.AF_INET, socket.SOCK_DGRAM)
        self.udp.bind((HERE, SERVICE))
        self.number = 0
        self.got = []           # (way, flow, number), as they came

    def send_in(self, flow):
        self.number += 1
        self.raw.sendto(udp(*flow, HERE, SERVICE,
                            struct.pack('!I', self.number)), (OUTER_TEP, 0))

    def send_out(self, flow):
        self.number += 1
        self.udp.sendto(struct.pack('!I', self.number), flow)

    def read(self):
        """Of what has come, all."""
        while True:
            try:
                data, name = self.udp.recvfrom(2048)
            except BlockingIOError:
                break
            self.got.append(('in', name[:2], struct.unpack('!I', data)[0]))
        while True:
            try:
                p = self.raw.recv(2048)
            except BlockingIOError:
                break
            if p[9] == socket.IPPROTO_UDP:
                flow = (socket.inet_ntoa(p[16:20]),
                        struct.unpack('!H', p[22:24])[0])
                self.got.append(('out', flow,
                                 struct.unpack('!I', p[28:32])[0]))

    def round(self, times=1, flows=FLOWS):
        """Packets of each flow, both ways: what of them has come."""
        for _ in range(times):
            for flow in flows:
                self.send_in(flow)
                self.send_out(flow)
            self.read()

    def settle(self, want, seconds=10):
        """Until so many have come; or none comes any more."""
        limit = time.monotonic() + seconds
        while len(self.got) < want and time.monotonic() < limit:
            select.select([self.raw, self.udp], [], [], 0.2)
            self.read()
        time.sleep(0.1)         # should there be one too many
        self.read()

    def take(self):
        got, self.got = self.got, []
        return got


def in_order(got):
    last = {}
    for way, flow, number in got:
        if last.get((way, flow), 0) >= number:
            return False
        last[way, flow] = number
    return True


def counters():
    """By lease: packets in, octets in, packets out, octets out."""
    return {row[0]: tuple(map(int, row[2:6]))
            for row in tep.do('list', 0, 0, 200)[:-1]}


tep = Plane('tep', ())
n = int(tep.do('queues', QUEUES)[-1][1])
if n == 1:
    print('1..0 # SKIP this kernel does not take the program that spreads '
          'packets')
    tep.end()
    sys.exit(0)


def set_up():
    ok(n == QUEUES, 'a TEP with %d queues' % n)
    ok(tep.good('open', 0, 0, 1460, 'tun0', OUTER_TEP), 'it opens')
    tep.do('add', 0, len(LEASES), LEASES[0], OUTER_NODE)
    # each of these leases is at the same node
    for v4 in LEASES:
        tep.do('add', 0, 1, v4, OUTER_NODE)
    dress()
    ok(tep.good('start'), 'its processes start')


def dress():
    on('tep', 'ip', 'addr', 'add', HERE + '/32', 'dev', 'tun0')
    on('tep', 'ip', 'route', 'add', '198.51.100.0/24', 'dev', 'tun0')


def moves():
    times = 40
    before = counters()
    ends.round(times)
    want = 2 * times * len(FLOWS)
    ends.settle(want)
    got = ends.take()
    ok(len(got) == want and len(set(got)) == want,
       'each packet of %d flows both ways comes, and once: %d of %d' %
       (len(FLOWS), len(got), want))
    ok(in_order(got), 'none overtakes another of its flow')
    each = times * len(PORTS)
    now = counters()
    ok(sorted(now) == sorted(LEASES), 'each lease is shown, once')
    ok(all(tuple(a - b for a, b in zip(now[v4], before[v4])) ==
           (each, 32 * each, each, 32 * each) for v4 in LEASES),
       'and its packets and octets are what was sent')


def quiet():
    """Reads until nothing comes any more."""
    wait(lambda: ends.read() or not select.select(
        [ends.raw, ends.udp], [], [], 0.3)[0])


def new_flows():
    """Of which the host has the first word: the answers have its queue."""
    flows = [(v4, port) for v4 in LEASES for port in range(7000, 7004)]
    waits = []
    tep.do('queue', 0)
    for send in (ends.send_out, ends.send_in):
        tep.do('freeze')
        for flow in flows:
            send(flow)
        quiet()
        waits.append(set(flows) - {g[1] for g in ends.take()})
        tep.do('thaw')
        ends.settle(len(waits[-1]))
        ends.take()
    ok(waits[0] == waits[1] and waits[0],
       'answers go by the queue of the first word: %d and %d of %d' %
       (*map(len, waits), len(flows)))


def shares():
    """Stopped one after the other: whose packets wait for it."""
    parts = []
    for q in range(QUEUES):
        tep.do('queue', q)
        tep.do('freeze')
        ends.round()
        quiet()
        missing = {way: set(FLOWS) - {g[1] for g in ends.got if g[0] == way}
                   for way in ('in', 'out')}
        ok(missing['in'] == missing['out'] and
           len(FLOWS) // 16 < len(missing['in']) < len(FLOWS) // 2,
           'while process %d stands still %d flows do, both ways' %
           (q + 1, len(missing['in'])))
        parts.append(missing['in'])
        tep.do('thaw')
        ends.settle(2 * len(FLOWS))
        ok(len(set(ends.take())) == 2 * len(FLOWS), 'then they go on')
    ok(sum(map(len, parts)) == len(FLOWS) and
       set().union(*parts) == set(FLOWS), 'each flow is one of theirs')
    return parts


def drops():
    before = tep.drops()
    for i in range(50):
        ends.raw.sendto(udp('198.51.100.99', i, HERE, SERVICE, b''),
                        (OUTER_TEP, 0))
        ends.raw.sendto(b'E' * (i % 20 + 1), (OUTER_TEP, 0))
    ok(wait(lambda: tep.drops()['inner_source'] == before['inner_source'] + 50
            and tep.drops()['malformed'] == before['malformed'] + 50),
       'what is dropped is counted, by whichever')
    tep.do('del', 0, 1, LEASES[0])
    before = tep.drops()
    ends.round(flows=[f for f in FLOWS if f[0] == LEASES[0]])
    ok(wait(lambda: tep.drops()['inner_source'] == before['inner_source'] +
            len(PORTS) and tep.drops()['no_lease'] == before['no_lease'] +
            len(PORTS)), 'a lease that is over is over with all of them')
    ok(LEASES[0] not in counters() and not ends.take(),
       'it is not shown, and nothing came')
    tep.do('add', 0, 1, LEASES[0], OUTER_NODE)


def dies(share, q):
    tep.do('queue', q)
    ok(tep.good('kill') and wait(lambda: int(tep.do('pid')[-1][1]) == 0),
       'kill -9 of process %d' % (q + 1))
    rest = [f for f in FLOWS if f not in share]
    before = counters()
    ends.round()
    ends.settle(2 * len(rest))
    got = ends.take()
    ok({g[1] for g in got} == set(rest) and len(got) == 2 * len(rest),
       'the other flows go on')
    now = counters()
    ok(sorted(now) == sorted(LEASES) and sum(now[v][0] - before[v][0]
                                             for v in LEASES) == len(rest),
       'no lease is lost, and the others count')
    tep.do('add', 0, 1, '198.51.100.40', OUTER_NODE)
    ok(tep.good('start'), 'it is started again')
    ends.settle(2 * len(share))
    got = ends.take()
    ok({g[1] for g in got} == share and len(got) == 2 * len(share),
       'what waited for it comes')
    ends.round(flows=[('198.51.100.40', port) for port in PORTS])
    ends.settle(2 * len(PORTS))
    ok(len(ends.take()) == 2 * len(PORTS), 'it has what was said meanwhile')
    tep.do('del', 0, 1, '198.51.100.40')


def first_dies():
    tep.do('queue', 0)
    tep.do('kill')
    ok(wait(lambda: int(tep.do('pid')[-1][1]) == 0) and
       tep.do('list', 0, 0, 1)[-1][0] == 'error:',
       'without the first of them a list fails')
    ok(tep.good('start') and wait(lambda: len(counters()) == len(LEASES)),
       'until it is there again')
    ends.round()
    ends.settle(2 * len(FLOWS))
    ok(len(set(ends.take())) == 2 * len(FLOWS), 'all flows move')


def lies():
    """What another than the first says, where nobody has asked it."""
    before = counters()
    tep.do('queue', 1)
    tep.do('lie-entry', 0, 3)
    ok(counters() == before, 'an entry that it was not asked for')
    tep.do('lie-none')
    tep.do('lie-stats', 0, 0)
    ok(counters() == before and
       'tunnel2: an answer to no question (said once)' in tep.said(),
       'and a page are not believed, and said')
    tep.do('lie-none')


def removed():
    on('tep', 'ip', 'link', 'del', 'tun0')
    ok(wait(lambda: tep.said().count('is gone') == QUEUES),
       'each notices that somebody removed the interface')
    ok(tep.good('reopen', 0), 'it is made again')
    dress()
    ends.udp.close()
    ends.raw.close()
    ends.__init__()
    ends.round(4)
    ends.settle(8 * len(FLOWS))
    got = ends.take()
    ok(len(set(got)) == 8 * len(FLOWS) == len(got) and in_order(got),
       'with its queues and entries')


def rate():
    """However many flows a lease has, and however many are its queues."""
    tep.do('rate', 4000000)
    ok(tep.good('close', 0) and
       tep.good('open', 0, 0, 1460, 'tun0', OUTER_TEP),
       'leases with 4 Mbit/s')
    tep.do('rate', 0)
    for v4 in LEASES:
        tep.do('add', 0, 1, v4, OUTER_NODE)
    dress()
    begin = time.monotonic()
    data = bytes(972)
    for i in range(4000):
        flow = (LEASES[i % 2], 6000 + i % 64)
        ends.raw.sendto(udp(*flow, HERE, SERVICE, data), (OUTER_TEP, 0))
        ends.udp.sendto(data, flow)
        if i % 200 == 199:      # what is lost on the way is no drop
            time.sleep(0.005)

    def all_counted():
        now, d = counters(), tep.drops()
        return sum(now[v][0] + now[v][2] for v in LEASES) + d['rate'] >= 8000
    ok(wait(all_counted), 'a flood of 128 flows is carried or counted')
    took = time.monotonic() - begin
    now = counters()
    burst, per_s = 125000, 500000
    print('# %.2f s: %s, %s' % (took, now[LEASES[0]], now[LEASES[1]]))
    ok(all(burst - 1000 <= now[v][k] <= burst + 2000 + per_s * took
           for v in LEASES[:2] for k in (1, 3)),
       'of each of two leases, each way, its rate passes')


set_up()
ends = Ends()
ok(wait(lambda: ends.round(flows=FLOWS[:1]) or
        {g[0] for g in ends.got} == {'in', 'out'}), 'packets move')
ends.settle(1 << 30, 0.5)
ends.take()
new_flows()
moves()
parts = shares()
drops()
dies(parts[2], 2)
first_dies()
lies()
removed()
rate()
ok('link' not in tep.said() and 'signal 9' in tep.said(),
   'no link was broken')
ok(tep.end() == 0, 'it ends')
end()
