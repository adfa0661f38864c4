"""A plane with many leases, with tunnels that come and go, and under forged
packets. The daemon grants by TSP, so what is measured is all of it."""
import os
import re
import selectors
import subprocess
import sys
import threading
import time

from lab import WEB4, maps, rss, wait

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)),
                                '../regress/wire'))
CONNS, WINDOW, HELD = 8, 64, 200
SERVER6, LOCAL6 = '2001:db8:2::2', '2001:db8:2::3'
NODE6 = '2001:db8:11::10'


def frame(action, n, v4=''):
    """A request about 2001:db8:b::n, without spaces."""
    if v4:
        v4 = '<address type="ipv4" length="32">%s</address>' % v4
    xml = ('<tunnel action="%s" type="v4v6"><client><address type="ipv6">'
           '2001:db8:b::%x:%x</address>%s</client></tunnel>' %
           (action, n >> 16, n & 0xffff, v4)).encode()
    return b'Content-length: %d\r\n' % len(xml) + xml


class Load:
    """Run as a program in the node's namespace: grants, then changes."""

    def __init__(self, password):
        from tsp import Client
        self.sel = selectors.DefaultSelector()
        self.conns = []
        self.done = self.waiting = 0
        self.held, self.n = [], 1 << 20
        for _ in range(CONNS):
            c = Client(SERVER6)
            assert c.scram('bench', password).startswith(b'OK')
            c.asked = []
            self.sel.register(c.sock, selectors.EVENT_READ, c)
            self.conns.append(c)

    def read(self, seconds):
        for key, _ in self.sel.select(seconds):
            c = key.data
            c.more()
            while True:
                m = re.match(rb'Content-length: (\d+)\r\n', c.buf)
                if not m or len(c.buf) < m.end() + int(m.group(1)):
                    break
                body = c.buf[m.end():m.end() + int(m.group(1))]
                c.buf = c.buf[m.end() + len(body):]
                assert body.startswith(b'200'), body
                action, n = c.asked.pop(0)
                if action == 'create':
                    v4 = re.search(rb'<client>.*?ipv4"[^>]*>([\d.]+)', body,
                                   re.S)
                    self.held.append((n, v4.group(1).decode()))
                self.done += 1
                self.waiting -= 1

    def ask(self, action, n, v4=''):
        c = min(self.conns, key=lambda conn: len(conn.asked))
        if len(c.asked) >= WINDOW:
            return False
        c.asked.append((action, n))
        c.send(frame(action, n, v4))
        self.waiting += 1
        return True

    def grant(self, first, last):
        for n in range(first, last):
            while not self.ask('create', n):
                self.read(1)
        while self.waiting:
            self.read(10)

    def change(self, rate, seconds):
        begin, asked = time.monotonic(), 0
        while (now := time.monotonic() - begin) < seconds:
            while asked < now * rate:
                if len(self.held) > HELD:
                    ok = self.ask('delete', *self.held[0]) and \
                        self.held.pop(0)
                else:
                    ok = self.ask('create', self.n)
                    self.n += bool(ok)
                if not ok:
                    break
                asked += 1
            self.read(.0005)
        while self.waiting:
            self.read(10)
        rate = self.done / (time.monotonic() - begin)
        while self.held:
            while self.held and self.ask('delete', *self.held[0]):
                self.held.pop(0)
            self.read(1)
        while self.waiting:
            self.read(10)
        return rate


def load(c, *words):
    return c.popen('node', sys.executable, os.path.abspath(__file__),
                   c.tmp + '/bench.password', *map(str, words), stderr=None)


def memory(c):
    """The tunnel process's, octets."""
    pid = c.process('tunnel')
    return rss(pid) if pid else 0


def forged(c, kind, src6, dst6, src4, dst4, host, count):
    """Of so many, how many were dropped and counted; which got through."""
    reason = kind + '_source'

    def counted():
        return c.device(host)['drops'].get(reason, 0)

    def arrived():
        with_udp = c.on('web' if host == 'tep' else 'node', 'sh', '-c',
                        'grep ^Udp: /proc/net/snmp').split()
        return int(with_udp[len(with_udp) // 2 + 2])     # NoPorts
    before, old = counted(), arrived()
    sent = int(c.on('node' if host == 'tep' else 'tep', c.blast, 'forge',
                    kind, src6, dst6, src4, dst4, str(count), '50000',
                    timeout=300).strip() or 0)
    wait(lambda: counted() - before >= sent, 5)
    return {'what': '%s source forged, to the %s' % (kind, host),
            'sent': sent, 'counted': counted() - before,
            'through': arrived() - old}


def batch(c, count):
    """Microseconds a tunnel of a batch, by a plane without a daemon."""
    import pwd
    root = c.tmp + '/empty'
    os.makedirs(root, exist_ok=True)
    p = subprocess.Popen(
        ['ip', 'netns', 'exec', c.ns + '-spare',
         c.build + '/regress/tunnel/plane', c.build + '/libexec/dstmd/tunnel',
         root, str(pwd.getpwnam('_dstmd_tunnel').pw_uid)] +
        ([] if c.name == 'tun' else [c.name]), text=True,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL)

    def do(*words):
        p.stdin.write(' '.join(map(str, words)) + '\n')
        p.stdin.flush()
        while not (line := p.stdout.readline()).startswith(('ok', 'error')):
            if not line:
                return 'error'
        return line
    took = None
    killer = threading.Timer(90, p.kill)
    killer.start()
    # A driver that does not know the plane has ended.
    if wait(lambda: p.poll() is not None, .3) is False and \
            do('open', 0, 0, 1460, 'bench0', '2001:db8:9::1').startswith('ok'):
        do('start')
        begin = time.monotonic()
        do('add', 0, count, '100.64.0.1', '2001:db8:b::1')
        if wait(lambda: do('list', 0, 0, 0).split()[2:3] == [str(count)]):
            took = (time.monotonic() - begin) / count * 1e6
    killer.cancel()
    p.stdin.close()
    p.wait()
    return took


def measure(c, pace, each, quick):
    got = {'leases': {}, 'changes': {}, 'forged': []}
    have = c.device()['entries']
    first = memory(c)
    for want in (1, 1000, 60000):
        if want > have:
            out = load(c, 'grant', have, want).communicate()[0]
            assert out.startswith('ok'), 'no leases'
            have = want
        wait(lambda: c.device()['entries'] == want)
        rate, _, _ = c.tcp(1, each, True)
        sent, lost, _ = c.paced(pace, each)
        got['leases'][want] = {
            'tcp': rate / 1e6, 'packets': c.udp(True, 64, each),
            'sent': sent, 'lost': lost, 'entries': c.device()['entries']}
    pids = [o['pid'] for o in c.ctl('tep', 'show', 'processes') if o['pid']]
    got['memory'] = {'kernel': maps(pids),
                     'user': (memory(c) - first) / (have - 1)}
    for rate in (1000, 10000):
        p = load(c, 'change', rate, 2 * each + 1)
        said = []
        reader = threading.Thread(target=lambda: said.append(
            p.communicate()[0]))
        reader.start()
        time.sleep(.5)
        sent, lost, _ = c.paced(pace, 2 * each)
        reader.join()
        got['changes'][rate] = {'sent': sent, 'lost': lost, 'achieved':
                                float((said[0].split() or [0, 0])[1])}
    got['batch'] = batch(c, 60000)
    n = 30000 if quick else 340000
    for args in (('inner', NODE6, LOCAL6, '203.0.113.1', WEB4, 'tep'),
                 ('outer', '2001:db8:11::1:0', LOCAL6, '198.51.100.77', WEB4,
                  'tep'),
                 ('outer', '2001:db8:77::1', NODE6, WEB4, '198.51.100.77',
                  'node')):
        got['forged'].append(forged(c, *args, n))
    return got


if __name__ == '__main__':
    with open(sys.argv[1]) as password_file:
        the_load = Load(password_file.read().strip())
    if sys.argv[2] == 'grant':
        the_load.grant(int(sys.argv[3]), int(sys.argv[4]))
        print('ok')
    else:
        print('ok %.0f' % the_load.change(int(sys.argv[3]),
                                          float(sys.argv[4])))
