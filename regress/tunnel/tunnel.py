"""Run by tunnel.t: TAP. Two hosts, "node" and "tep", and a plane in each."""
from plane import Plane, on
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
    ok(not ping(), 'no packet moves yet')
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
restarts()
many()
lies()
removed()
ok((tep.end(), node.end()) == (0, 0), 'both end')
end()
