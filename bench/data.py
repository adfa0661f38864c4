"""Measures the data plane, for bench/data. Runs are short and interleaved, and
each is divided by what plain forwarding did in that round: what else the host
has to do hits both alike. Writes data.json into the temporary folder.

usage: data.py NAMESPACES TEMPORARY BUILD plain plane:NAME ... peer:NAME ...
"""
import json
import os
import platform
import re
import statistics
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from lab import Chain, LARGE, SMALL, busy  # noqa: E402
import leases  # noqa: E402

ns, tmp, build = sys.argv[1:4]
names = sys.argv[4:]
QUICK = bool(os.environ.get('QUICK'))
RUNS = 3 if QUICK else int(os.environ.get('RUNS', 7))
EACH = .5 if QUICK else float(os.environ.get('SECONDS_EACH', .5))
PACE = int(os.environ.get('PACE', 20000))
PROCESSES = ('tun', 'wg', 'ovpn')
SLEEPING = 'plain, sleeping'
WAYS = (('to the node', True),) if QUICK else \
    (('to the node', True), ('from the node', False))


def tests():
    """(what, function of a chain: {row: value})"""
    for single in (False, True):
        kind = 'single segments' if single else 'GSO'
        for streams in (1, 4):
            for way, down in WAYS:
                row = 'TCP, %s, %d stream%s, %s' % (
                    kind, streams, 's'[:streams - 1], way)

                def run(c, row=row, single=single, streams=streams,
                        down=down):
                    c.segments(single)
                    try:
                        rate, _, size = c.tcp(streams, EACH, down)
                        got = {row + ', Mbit/s': rate / 1e6}
                        if streams == 1 and down:
                            _, cpu, _ = c.tcp(1, EACH, down, 'sleep')
                            got['CPU, TCP, %s, ns per kB' % (
                                'single segments' if single else 'GSO')] = \
                                cpu * 1e12
                    finally:
                        c.segments(False)
                    if single and size > 1514.5:
                        c.warn.add('segments of %d octets on the wire' % size)
                    return got
                yield run
    for what, octets in (('64-octet packets', SMALL),
                         ('1400-octet packets', LARGE)):
        for way, down in WAYS:
            yield lambda c, w=what, o=octets, y=way, d=down: {
                '%s, %s, a second' % (w, y): c.udp(d, o, EACH)}

    def paced(c):
        _, lost, cpu = c.paced(PACE, 2 * EACH)
        return {'paced, %d a second: lost' % PACE: lost,
                'CPU, paced, ns per packet': cpu * 1e9}
    yield paced

    def rtt(c):
        median, p99 = c.rtt(300)
        return {'round-trip time, median, us': median,
                'round-trip time, 99 %, us': p99}
    yield rtt


def machine():
    with open('/proc/cpuinfo') as f:
        model = re.search(r'model name\s*: (.*)', f.read())
    begin = busy()
    time.sleep(1)
    return {'cpu': model.group(1) if model else platform.machine(),
            'cores': os.cpu_count(), 'kernel': platform.release(),
            'busy': (busy() - begin) / os.cpu_count(), 'runs': RUNS,
            'seconds': EACH, 'date': time.strftime('%Y-%m-%d')}


result = {'machine': machine(), 'rows': {}, 'planes': {}, 'warnings': [],
          'names': [n.split(':')[-1] for n in names],
          'ours': [n[6:] for n in names if n.startswith('plane:')]}
with open(tmp + '/missing') as missing:
    result['missing'] = missing.read().splitlines()
chains = [Chain(ns, tmp, build, n, n not in PROCESSES)
          for n in result['names']]
# What plain forwarding does for loads that sleep, for those that have them.
chains.append(Chain(ns, tmp, build, 'plain', False))
for c in chains:
    c.warn = set()
for i in range(RUNS):
    for test in tests():
        for c in chains:
            for row, value in test(c).items():
                result['rows'].setdefault(row, {}).setdefault(
                    SLEEPING if c is chains[-1] else c.name, []).append(value)
    print('run %d of %d done' % (i + 1, RUNS), flush=True)
result['ratios'] = {
    row: {name: statistics.median(v / p if p else 0
                                  for v, p in zip(values, by[
                                      SLEEPING if name in PROCESSES
                                      else 'plain']))
          for name, values in by.items()}
    for row, by in result['rows'].items()}
for values in result['rows'].values():
    for name in values:
        values[name] = statistics.median(values[name])
for c in chains:
    if c.name in result['ours'] and c.name != 'interface':
        print('leases, changes, forged packets: ' + c.name, flush=True)
        result['planes'][c.name] = leases.measure(c, PACE, 4 * EACH, QUICK)
    result['warnings'] += ['%s: %s' % (c.name, w) for w in sorted(c.warn)]
with open(tmp + '/data.json', 'w') as out:
    json.dump(result, out, indent=1)
