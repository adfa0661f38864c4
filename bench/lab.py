"""What bench/data's measurements are made of: commands in the namespaces that
it has made, loads, clocks."""
import glob
import json
import os
import re
import statistics
import subprocess
import time

WEB4, NODE4 = '192.0.2.80', '198.51.100.77'
HOSTS = ('web', 'tep', 'core', 'node')
SMALL, LARGE = 64, 1400         # octets of an IPv4 packet
TICK = os.sysconf('SC_CLK_TCK')


def busy():
    """Seconds that all processors together have worked since the boot."""
    with open('/proc/stat') as f:
        user, nice, system, _, _, irq, softirq = map(
            int, f.readline().split()[1:8])
    return (user + nice + system + irq + softirq) / TICK


class Chain:
    """web - tep - core - node of one contender. Where the kernel alone moves
    packets, loads spin, each on a processor of its own (blast.c says why).
    Processes that move packets need the processors: their loads sleep."""

    def __init__(self, ns, tmp, build, name, spin):
        self.ns, self.tmp, self.build, self.name = ns, tmp, build, name
        self.how = 'spin' if spin else 'sleep'
        self.features = {}
        self.blast = os.path.join(build, 'bench/blast')

    def argv(self, host, *cmd):
        return ['ip', 'netns', 'exec',
                '%s-%s_%s' % (self.ns, self.name, host)] + list(cmd)

    def popen(self, host, *cmd, stderr=subprocess.DEVNULL):
        return subprocess.Popen(self.argv(host, *cmd), text=True,
                                stdout=subprocess.PIPE, stderr=stderr)

    def on(self, host, *cmd, timeout=60):
        return subprocess.run(self.argv(host, *cmd), text=True,
                              stdout=subprocess.PIPE, timeout=timeout,
                              stderr=subprocess.DEVNULL).stdout

    def ctl(self, host, *words):
        out = subprocess.run(
            [self.build + '/sbin/dstmctl', '-s',
             '%s/%s_%s.sock' % (self.tmp, self.name, host), '-j', *words],
            text=True, stdout=subprocess.PIPE, timeout=30).stdout
        return json.loads(out or '[]')

    def device(self, host='tep'):
        """The tunnel interface's object: entries, drops."""
        return next((o for o in self.ctl(host, 'show', 'tunnels')
                     if 'drops' in o), {'entries': 0, 'drops': {}})

    def process(self, name, host='tep'):
        return next((o['pid'] for o in self.ctl(host, 'show', 'processes')
                     if o['name'] == name), 0)

    def segments(self, single):
        """Single segments on every interface; else as they were."""
        script = 'for i in /sys/class/net/*; do i=${i##*/}; echo "@ $i"; ' \
            'ethtool -k $i; done'
        for h in HOSTS:
            if h not in self.features:
                self.features[h] = parse_features(self.on(h, 'sh', '-c',
                                                          script))
            todo = ';'.join(
                'ethtool -K %s %s' % (i, ' '.join(
                    '%s %s' % (f, 'off' if single else was)
                    for f, was in features.items()))
                for i, features in self.features[h].items() if features)
            self.on(h, 'sh', '-c', todo)

    def wire(self):
        """Octets and packets that the switch has received."""
        out = self.on('core', 'sh', '-c', 'cd /sys/class/net; for i in tep node; '
                      'do cat $i/statistics/rx_bytes '
                      '$i/statistics/rx_packets; done')
        n = list(map(int, out.split()))
        return n[:2], n[2:]

    def load(self, host, cpu, how, *words):
        place = ['taskset', '-c', str(cpu)] if how == 'spin' else []
        return self.popen(host, *place, self.blast, *words)

    def receiver(self, host, kind, how, *words):
        p = self.load(host, os.cpu_count() - 1, how, kind, how, *words)
        assert p.stdout.readline() == 'ready\n', 'no receiver'
        return p

    def tcp(self, streams, seconds, down, how=None):
        """bit/s, CPU seconds per octet, octets of a packet on the wire."""
        to, source, address = ends(down)
        how = how or self.how
        before, begin = self.wire(), busy()
        sink = self.receiver(to, 'sink', how, '7002', str(streams))
        pour = self.load(source, 0, how, 'pour', how, address, '7002',
                         str(seconds), str(streams))
        octets, took = map(float, sink.communicate()[0].split())
        pour.communicate()
        used, after = busy() - begin, self.wire()
        size = max((b[0] - a[0]) / max(b[1] - a[1], 1)
                   for a, b in zip(before, after))
        return 8 * octets / took, used / max(octets, 1), size

    def flow(self, down, port, octets, rate, seconds, how, flows=4):
        """Starts one: ends with flow_end."""
        to, source, address = ends(down)
        receiver = self.receiver(to, 'recv', how, str(port))
        return receiver, self.load(source, 0, how, 'send', address, str(port),
                                   str(octets), str(rate), str(seconds),
                                   str(flows))

    def udp(self, down, octets, seconds):
        """Packets received a second, of as many as go."""
        flow = self.flow(down, 7000, octets, 0, seconds, self.how)
        return flow_end(flow)[2]

    def paced(self, rate, seconds):
        """Both ways: packets sent, lost, CPU seconds per packet."""
        begin = busy()
        flows = [self.flow(down, 7001, SMALL, rate // 2, seconds, 'sleep')
                 for down in (0, 1)]
        ends = [flow_end(f) for f in flows]
        sent = sum(e[0] for e in ends)
        return (sent, sent - sum(e[1] for e in ends),
                (busy() - begin) / max(sent, 1))

    def rtt(self, count):
        """Median and 99th percentile, microseconds."""
        out = self.on('node', 'ping', '-n', '-i', '0.002', '-c', str(count),
                      WEB4)
        times = sorted(1000 * float(t)
                       for t in re.findall(r'time=([0-9.]+)', out))
        if len(times) < 10:
            return 0, 0
        return statistics.median(times), times[int(len(times) * .99)]


def ends(down):
    """Who receives, who sends, to which address."""
    return ('node', 'web', NODE4) if down else ('web', 'node', WEB4)


def flow_end(flow):
    """Packets sent, received, received a second."""
    sent = int(flow[1].communicate()[0].split()[0])
    packets, _, seconds = flow[0].communicate()[0].split()
    return sent, int(packets), int(packets) / max(float(seconds), .001)


def parse_features(text):
    known = {'tcp-segmentation-offload': 'tso',
             'generic-segmentation-offload': 'gso',
             'generic-receive-offload': 'gro'}
    found, device = {}, None
    for line in text.splitlines():
        if line.startswith('@ '):
            device = found.setdefault(line[2:], {})
            continue
        m = re.match(r'([a-z-]+): (on|off)$', line)
        if m and m.group(1) in known:
            device[known[m.group(1)]] = m.group(2)
    return found


def rss(pid):
    """Anonymous memory of a process, octets."""
    with open('/proc/%d/status' % pid) as f:
        return 1024 * int(re.search(r'RssAnon:\s+(\d+)', f.read()).group(1))


def maps(pids):
    """Octets a lease of the BPF maps that processes hold, each map once.
    They are made for all the leases that the configuration allows."""
    found = {}
    for pid in pids:
        for path in glob.glob('/proc/%d/fdinfo/*' % pid):
            try:
                with open(path) as f:
                    fields = dict(re.findall(r'(\w+):\s+(\d+)', f.read()))
            except OSError:
                continue
            if int(fields.get('max_entries', 0)) > 1000:
                found[fields['map_id']] = (int(fields['memlock']) /
                                           int(fields['max_entries']))
    return sum(found.values())


def wait(condition, seconds=60):
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(.05)
    return True
