"""data.json as a table on the screen and in a file, and as an SVG plot.

usage: report.py data.json FOLDER
"""
import json
import os
import shutil
import sys

with open(sys.argv[1]) as f:
    d = json.load(f)
folder = sys.argv[2]
m, names, ours = d['machine'], d['names'], d['ours']
FULL = {'plain': 'plain IPv4', 'vxlan': 'VXLAN (kernel)',
        'seg6': 'seg6 (kernel)', 'wg': 'wireguard-go', 'ovpn': 'OpenVPN, clear'}


def full(name):
    if name == 'interface':
        return 'bpf interface'
    return 'plane ' + name if name in ours else FULL.get(name, name)


def table():
    yield '%s, %d cores shared with the load generators; Linux %s' % (
        m['cpu'], m['cores'], m['kernel'])
    yield '%s; medians of %d interleaved rounds of %g s; %.0f %% busy before' % (
        m['date'], m['runs'], m['seconds'], 100 * m['busy'])
    if m['busy'] > .1:
        yield 'WARNING: the machine was not idle, the figures are noisy'
    for line in d['missing']:
        yield 'missing: ' + line
    for line in d['warnings']:
        yield 'WARNING: ' + line
    yield ''
    yield 'Ratios to plain forwarding (of RTT and CPU: less is better). ' \
        'Where the kernel alone'
    yield 'moves packets loads spin on processors of their own; for tun, ' \
        'wireguard-go and OpenVPN,'
    yield 'and the plain forwarding that they are compared to, they sleep.'
    yield ''
    yield '%-52s %10s' % ('', 'plain') + ''.join(
        '%16s' % full(n) for n in names[1:])
    for row, v in d['rows'].items():
        if 'lost' in row:
            cells = ['%16d' % v[n] for n in names[1:]]
        else:
            cells = ['%16.2f' % d['ratios'][row][n] for n in names[1:]]
        yield '%-52s %10.0f' % (row, v['plain']) + ''.join(cells)
    for name, p in d['planes'].items():
        yield ''
        yield 'plane %s, TCP with GSO and 64-octet packets to the node' % name
        for n, v in p['leases'].items():
            yield '%9s leases %12.0f Mbit/s %10.0f a second; paced: %d ' \
                'sent, %d lost' % (n, v['tcp'], v['packets'], v['sent'],
                                   v['lost'])
        for n, v in p['changes'].items():
            yield '%9s changes a second (%.0f achieved), 60000 leases; ' \
                'paced: %d sent, %d lost' % (n, v['achieved'], v['sent'],
                                             v['lost'])
        yield '%9.0f octets a lease in the kernel, %.0f in the tunnel ' \
            'process' % (p['memory']['kernel'], p['memory']['user'])
        yield '%9s us a tunnel, of a batch of 60000' % (
            'unknown' if p['batch'] is None else '%.2f' % p['batch'])
        for v in p['forged']:
            yield '%9d packets, %s: %d dropped and counted, %d got through%s' \
                % (v['sent'], v['what'], v['counted'], v['through'],
                   '' if v['sent'] == v['counted'] and not v['through']
                   else '  NOT EQUAL')


def plot():
    rows = [r for r in d['rows'] if 'lost' not in r]
    high, label, bar = 16 * len(names) + 34, 150, 230
    columns = 2
    height = 60 + (len(rows) + 1) // columns * high
    yield '<svg xmlns="http://www.w3.org/2000/svg" width="960" height="%d" ' \
        'font-family="sans-serif" font-size="11">' % height
    yield '<rect width="100%" height="100%" fill="white"/>'
    yield '<text x="10" y="20" font-size="14">Data planes, as ratios to ' \
        'plain IPv4 forwarding (line: 1.0)</text>'
    yield '<text x="10" y="38">%s, %d cores shared with the load; Linux %s' \
        '</text>' % (m['cpu'], m['cores'], m['kernel'])
    for i, row in enumerate(rows):
        x = 10 + i % columns * 475
        y = 60 + i // columns * high
        ratios = d['ratios'][row]
        scale = bar / max(max(ratios.values()), 1)
        less = row.startswith(('CPU', 'round'))
        yield '<text x="%d" y="%d" font-weight="bold">%s%s</text>' % (
            x, y + 10, row.rsplit(',', 1)[0],
            ' (less is better)' if less else '')
        for k, n in enumerate(names):
            top = y + 18 + 16 * k
            yield '<text x="%d" y="%d" text-anchor="end">%s</text>' % (
                x + label - 6, top + 10, full(n))
            yield '<rect x="%d" y="%d" width="%.1f" height="12" fill="%s"/>' \
                % (x + label, top, ratios[n] * scale,
                   '#1b6ca8' if n in ours else
                   '#555' if n == 'plain' else '#bbb')
            yield '<text x="%.1f" y="%d">%.2f</text>' % (
                x + label + ratios[n] * scale + 4, top + 10, ratios[n])
        yield '<path d="M%.1f %dv%d" stroke="#c33" stroke-dasharray="3 2"/>' \
            % (x + label + scale, y + 16, 16 * len(names))
    yield '</svg>'


os.makedirs(folder, exist_ok=True)
text = '\n'.join(table()) + '\n'
print(text)
for name, what in (('data.txt', text), ('data.svg', '\n'.join(plot()))):
    with open(os.path.join(folder, name), 'w') as out:
        out.write(what)
shutil.copy(sys.argv[1], os.path.join(folder, 'data.json'))
