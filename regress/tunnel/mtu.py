"""Run by mtu.t: TAP. Packets that are too big, and large ones of the host."""
import ctypes
import errno
import os
import socket
import struct
import subprocess
import threading
import time

from plane import Plane, KIND, ns, on
from tap import end, ok, wait

NODE4, WEB4, STRANGER4 = '198.51.100.20', '192.0.2.80', '198.51.100.99'
NODE6, TEP6 = '2001:db8:1::1', '2001:db8:2::2'
WIDE = 9000             # of every cable but the narrow one
OUTER = 40
IP_MTU_DISCOVER, IP_MTU, DONT, DO = 10, 14, 0, 2
UDP_SEGMENT = 103       # of the protocol's options
CLONE_NEWNET = 0x40000000
OCTETS = 3000000
NEED_FRAG = ('-p', 'icmp', '--icmp-type', 'fragmentation-needed', '-j',
             'DROP')
TOO_BIG = ('-p', 'icmpv6', '--icmpv6-type', 'packet-too-big', '-j', 'DROP')

libc = ctypes.CDLL(None, use_errno=True)


def socket_of(host, *args):
    """A socket in the network of a host."""
    ours = os.open('/proc/self/ns/net', os.O_RDONLY)
    theirs = os.open('/run/netns/%s-%s' % (ns, host), os.O_RDONLY)
    try:
        if libc.setns(theirs, CLONE_NEWNET) != 0:
            raise OSError(ctypes.get_errno(), 'setns')
        return socket.socket(*args)
    finally:
        libc.setns(ours, CLONE_NEWNET)
        os.close(ours)
        os.close(theirs)


def good(host, *cmd):
    done = on(host, *cmd)
    assert done.returncode == 0, '%s: %s: %s' % (host, cmd, done.stdout)


ends = {'node': ('node', NODE4, 'web', WEB4),
        'web': ('web', WEB4, 'node', NODE4)}


class Udp:
    """Datagrams from one host to the other."""

    def __init__(self, host, discover):
        self.host, ours, self.other, theirs = ends[host]
        self.tx = socket_of(self.host, socket.AF_INET, socket.SOCK_DGRAM)
        self.rx = socket_of(self.other, socket.AF_INET, socket.SOCK_DGRAM)
        self.rx.bind((theirs, 0))
        self.rx.settimeout(0.2)
        self.tx.bind((ours, 0))
        self.tx.setsockopt(socket.IPPROTO_IP, IP_MTU_DISCOVER, discover)
        self.tx.connect(self.rx.getsockname())
        self.n = 0

    def arrives(self, octets):
        """One IPv4 packet of so many: does it come?"""
        self.n += 1
        data = struct.pack('!I', self.n) + b'u' * (octets - 32)
        try:
            self.tx.send(data)
        except OSError as e:
            assert e.errno in (errno.EMSGSIZE, errno.ECONNREFUSED)
            return False
        try:
            while True:
                got = self.rx.recv(65536)
                if got == data:
                    return True
        except TimeoutError:
            return False

    def learns(self, mtu):
        """Sends what its own cable takes, and what the tunnel does."""
        self.arrives(WIDE)
        self.arrives(WIDE - OUTER)
        return self.mtu() == mtu

    def mtu(self):
        return self.tx.getsockopt(socket.IPPROTO_IP, IP_MTU)

    def close(self):
        self.tx.close()
        self.rx.close()


def tcp(host, seconds=20):
    """A stream from one host to the other; seconds, or None: it stopped."""
    name, ours, other, theirs = ends[host]
    data = os.urandom(1000) * (OCTETS // 1000)
    listener = socket_of(other, socket.AF_INET, socket.SOCK_STREAM)
    listener.bind((theirs, 0))
    listener.listen()
    listener.settimeout(seconds)
    tx = socket_of(name, socket.AF_INET, socket.SOCK_STREAM)
    tx.bind((ours, 0))
    tx.settimeout(seconds)
    begin = time.monotonic()

    def send():
        try:
            tx.sendall(data)
            tx.shutdown(socket.SHUT_WR)
        except OSError:
            pass

    got = bytearray()
    try:
        tx.connect(listener.getsockname())
        rx = listener.accept()[0]
        rx.settimeout(seconds)
        sender = threading.Thread(target=send)
        sender.start()
        while time.monotonic() < begin + seconds:
            piece = rx.recv(1 << 20)
            if not piece:
                break
            got += piece
        rx.close()
        sender.join()
    except OSError:
        return None
    finally:
        tx.close()
        listener.close()
    return time.monotonic() - begin if bytes(got) == data else None


tep, node = Plane('tep'), Plane('node')


def path(octets):
    good('core1', 'ip', 'link', 'set', 'eth1', 'mtu', str(octets))
    good('core2', 'ip', 'link', 'set', 'eth1', 'mtu', str(octets))


def fresh(mtu):
    """Both ends anew: what was learned of paths is forgotten."""
    for host, plane in (('node', node), ('tep', tep), ('web', None)):
        if plane is not None:
            plane.do('close', 0)
        on(host, 'ip', 'route', 'flush', 'cache')
        on(host, 'ip', '-6', 'route', 'flush', 'cache')
        on(host, 'ip', 'tcp_metrics', 'flush', 'all')
    assert node.good('open', 0, 1, mtu, 'tun0', NODE6), node.said()
    assert tep.good('open', 0, 0, mtu, 'tun0', TEP6), tep.said()
    node.do('add', 0, 1, NODE4, TEP6)
    tep.do('add', 0, 1, NODE4, NODE6)
    good('tep', 'ip', 'route', 'add', '198.51.100.0/24', 'dev', 'tun0')
    good('node', 'ip', 'addr', 'add', NODE4 + '/32', 'dev', 'tun0')
    good('node', 'ip', 'route', 'add', 'default', 'dev', 'tun0')
    assert wait(lambda: on('node', 'ping', '-c', '1', '-W', '1',
                           WEB4).returncode == 0), 'no packet moves'


def row(plane):
    return list(map(int, plane.do('list', 0, 0, 10)[0][2:]))


def counters(inner):
    """Both ends count the same packets, as they are on the wire."""
    out, come = row(node), row(tep)
    return (out[2:] == come[:2] and out[:2] == come[2:] and
            out[3] / out[2] <= inner)


def with_icmp(octets):
    inner = octets - OUTER
    what = 'path of %d: ' % octets
    path(octets)
    fresh(WIDE - OUTER)
    for host in 'node', 'web':
        udp = Udp(host, DO)
        ok(wait(lambda: udp.learns(inner)),
           what + '%s learns that %d fit, by UDP' % (host, inner))
        ok(wait(lambda: udp.arrives(inner)), what + 'and so many arrive')
        ok(udp.arrives(inner + 1) is False, what + 'and no more')
        udp.close()
        udp = Udp(host, DONT)
        ok(wait(lambda: udp.arrives(4000)),
           what + 'without DF more do, in fragments')
        udp.close()
    lost = [p.drops()['too_big'] for p in (node, tep)]
    ok(lost == [0, 0] if octets == WIDE else min(lost) > 0,
       what + 'what did not fit is counted: %s' % lost)
    fresh(WIDE - OUTER)
    for host in 'node', 'web':
        took = tcp(host)
        ok(took is not None, what + 'TCP of %s: %s s' % (host, took))
    if octets == WIDE:
        ok(wait(lambda: counters(inner)), what + 'both ends count the same: '
           '%s, %s' % (row(node), row(tep)))


def without_inner_icmp(octets):
    what = 'path of %d, senders that hear no ICMP: ' % octets
    path(octets)
    fresh(WIDE - OUTER)
    for host in 'node', 'web':
        good(host, 'iptables', '-I', 'INPUT', *NEED_FRAG)
    for host in 'node', 'web':
        took = tcp(host)
        ok(took is not None, what + 'TCP of %s: %s s' % (host, took))
    ok([p.drops()['too_big'] for p in (node, tep)] == [0, 0],
       what + 'nothing of it was dropped')
    for host in 'node', 'web':
        good(host, 'iptables', '-D', 'INPUT', *NEED_FRAG)


def without_outer_icmp(octets):
    """Nobody tells us: the MTU must be configured."""
    inner = octets - OUTER
    what = 'path of %d, no ICMPv6, MTU %d: ' % (octets, inner)
    path(octets)
    for host in 'core1', 'core2':
        good(host, 'ip6tables', '-I', 'OUTPUT', *TOO_BIG)
    fresh(inner)
    for host in 'node', 'web':
        took = tcp(host)
        ok(took is not None, what + 'TCP of %s: %s s' % (host, took))
        udp = Udp(host, DO)
        ok(udp.arrives(inner), what + 'UDP of %d octets' % inner)
        ok(not udp.arrives(inner + 1) and wait(lambda: udp.mtu() == inner or
                                               udp.arrives(inner + 1)) and
           udp.mtu() == inner, what + 'larger ones are refused')
        udp.close()
    for host in 'core1', 'core2':
        good(host, 'ip6tables', '-D', 'OUTPUT', *TOO_BIG)


def forge(mtu, inner_to, outer_to=NODE6, length=8000):
    """Packet Too Big to the TEP, about a packet that it may have sent."""
    quote = struct.pack('!IHBB', 6 << 28, length, 4, 60)
    quote += socket.inet_pton(socket.AF_INET6, TEP6)
    quote += socket.inet_pton(socket.AF_INET6, outer_to)
    quote += struct.pack('!BBHHHBBH', 0x45, 0, length, 1, 0x4000, 60, 17, 0)
    quote += socket.inet_aton(WEB4) + socket.inet_aton(inner_to) + bytes(500)
    s = socket_of('core2', socket.AF_INET6, socket.SOCK_RAW,
                  socket.IPPROTO_ICMPV6)
    s.sendto(struct.pack('!BBHI', 2, 0, 0, mtu) + quote, (TEP6, 0))
    s.close()


def forged():
    path(WIDE)
    fresh(WIDE - OUTER)
    tep.do('add', 0, 1, '198.51.100.21', '2001:db8:1::21')
    for args, what in (
            ((1300, STRANGER4), 'about an address without a lease'),
            ((1300, '198.51.100.21'), 'about another far end\'s lease'),
            ((1279, NODE4), 'of less than IPv6 has'),
            ((1300, NODE4, NODE6, 1000), 'about a packet that is small')):
        forge(*args)
        udp = Udp('web', DO)
        ok(all(udp.arrives(WIDE - OUTER - i) for i in range(3)) and
           udp.mtu() >= WIDE - OUTER, 'a Packet Too Big ' + what)
        udp.close()
    forge(1300, NODE4)
    udp = Udp('web', DO)
    ok(wait(lambda: not udp.arrives(WIDE - OUTER) and udp.mtu() == 1260),
       'one about a lease is believed')
    udp.close()


def datagrams():
    """Datagrams that the host gives as one (UDP_SEGMENT) leave one by one."""
    path(1500)
    fresh(1460)
    udp = Udp('node', DO)
    udp.tx.setsockopt(socket.IPPROTO_UDP, UDP_SEGMENT, 1200)
    data = os.urandom(5 * 1200 + 77)
    udp.tx.send(data)
    udp.rx.settimeout(5)
    sizes, got = [], b''
    while len(got) < len(data):
        got += udp.rx.recv(65536)
        sizes.append(len(got))
    ok(got == data and sizes == [1200 * i for i in range(1, 6)] + [6077],
       'six datagrams that the host gives as one')
    udp.close()


def superpackets():
    """The host gives and gets packets that are larger than any wire's."""
    path(1500)
    fresh(1460)
    for host, other in (('node', 'tep'), ('web', 'node')):
        sniffers = [subprocess.Popen(
            ['ip', 'netns', 'exec', '%s-%s' % (ns, h), 'timeout', '20',
             'tcpdump', '-ni', 'tun0', '-c', '1', '-w', '/dev/null',
             'tcp and greater 2900'],
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
            for h in ('node', 'tep')]
        for s in sniffers:
            wait(lambda: 'listening' in s.stderr.readline())
        ok(wait(lambda: tcp(host) and
                all(s.poll() == 0 for s in sniffers), 20),
           'TCP of %s is bundled before and behind the tunnel' % host)
        for s in sniffers:
            s.kill()
            s.wait()
    ok(wait(lambda: counters(1460)), 'both ends count packets of the wire: '
       '%s, %s' % (row(node), row(tep)))
    ok(sum(node.drops().values()) == sum(tep.drops().values()) == 0,
       'and nothing is dropped: %s, %s' % (node.drops(), tep.drops()))


def undone():
    """The node's packets come as its interface would have got them."""
    global node
    assert node.end() == 0, node.said()
    node = Plane('node', ['bpf'])
    if not node.good('start'):
        print('# no plane bpf: not seen with one at the node')
        node = Plane('node')
        node.good('start')
        return
    path(1500)
    for host, cable in ('web', 'eth0'), ('tep', 'v4'), ('node', 'eth0'):
        good(host, 'ip', 'link', 'set', cable, 'mtu', '1500')
    fresh(1460)
    for host in 'node', 'web':
        took = tcp(host)
        ok(took is not None, 'a node with plane bpf, TCP of %s: %s s' %
           (host, took))
    packets, octets = row(tep)[:2]
    ok(octets / packets > 1460, 'packets of the node came joined')
    ok(sum(tep.drops().values()) == 0, 'none was dropped: %s' % tep.drops())


assert tep.good('start') and node.good('start')
for size in 1280, 1400, 1500, WIDE:
    with_icmp(size)
for size in 1280, 1400, 1500:
    without_inner_icmp(size)
for size in 1280, 1400, 1500, WIDE:
    without_outer_icmp(size)
forged()
datagrams()
if not KIND:            # what user space does of the kernel's work
    superpackets()
    undone()
ok((tep.end(), node.end()) == (0, 0), 'both end')
end()
