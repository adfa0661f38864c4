"""Run by tep.t in a server's namespace: TAP."""
import sys

from tap import Ctl, end, ok, wait
from tsp import Client

tep, dstmctl, control = sys.argv[1:]
show = Ctl(dstmctl, control).show
node = '2001:db8:11::10'


def server(name='dstm1', password=None, check=True):
    c = Client(tep)
    line = c.scram(name, password or name + '-password', check=check)
    assert line.startswith(b'OK'), line
    return c


def entry(v4):
    """Of the TEP: (state of the lease list, the tunnel's entry)."""
    leases = [l for l in show('leases') if l['address'] == v4]
    return leases[0] if leases else None


def forwarded(v4):
    return next((t['outer'] for t in show('tunnels')
                 if t.get('address') == v4), None)


def strangers():
    c = Client(tep)
    ok(c.anonymous().startswith(b'300'), 'ANONYMOUS is no server')
    c = Client(tep)
    ok(c.scram('dstm1', 'wrong').startswith(b'300'), 'a wrong password')
    c = Client(tep)
    ok(c.scram('mallory', 'dstm2-password', check=False).startswith(b'300'),
       'a name with a secret, but without a place in the configuration')
    c = Client(tep)
    ok(c.scram('dstm1', 'dstm1-password', authzid='dstm1+reverse')
       .startswith(b'300'), 'what a server says to a node that it calls')
    c = Client(tep)
    ok(c.scram('dstm1', 'dstm1-password', mech='SCRAM-SHA-256-PLUS',
               binding=('dstmd-call', bytes(32))).startswith(b'300'),
       'and the mechanism that it uses there')
    c = Client(tep)
    c.version()
    c.command('<tunnel action="create" type="v4v6"><client>'
              '<address type="ipv6">%s</address><address type="ipv4">'
              '198.51.100.20</address></client></tunnel>\r\n' % node)
    line = c.line()
    ok(line.startswith(b'500'), 'a request before authentication: %r' % line)
    ok(show('leases') == [], 'and nothing is mapped')


def obeys():
    c = server()
    r = c.request('create', v6=node, v4='198.51.100.20', lifetime=60)
    ok(r.code == 200 and r.action == 'info', 'create')
    ok(r.server_ipv6 == tep and r.server_ipv4 == '198.51.100.1',
       'the answer has its addresses')
    ok(forwarded('198.51.100.20') == node, 'its tunnel is there')
    r = c.request('info', v6=node, v4='198.51.100.20')
    ok(r.code == 200 and 50 < r.lifetime <= 60, 'info')
    ok(c.request('create', v6=node, v4='198.51.100.20',
                 lifetime=600).lifetime == 600, 'a longer lifetime')
    ok(c.request('create', v6=node, v4='198.51.100.20').lifetime == 1440,
       'no lifetime: the DTD\'s 1440 s')
    other = node[:-2] + '11'
    c.request('create', v6=other, v4='198.51.100.20', lifetime=60)
    ok(forwarded('198.51.100.20') == other, 'it moves to another node')
    c.request('delete', v6=node, v4='198.51.100.20')
    ok(forwarded('198.51.100.20') == other,
       'a delete of what it was before changes nothing')
    ok(c.request('delete', v6=other, v4='198.51.100.20').code == 200 and
       forwarded('198.51.100.20') is None, 'delete')
    ok(c.request('delete', v6=other, v4='198.51.100.20').code == 200,
       'delete again')
    ok(c.request('info', v6=node, v4='198.51.100.20').code == 308,
       'info of what is not there')
    c.request('create', v6=node, v4='198.51.100.21', lifetime=1)
    ok(wait(lambda: entry('198.51.100.21') is None and
            forwarded('198.51.100.21') is None, 5),
       'an entry dies with its lifetime')
    c.close()


def refuses():
    c = server()
    for v4, v6, code, what in (
            ('203.0.113.7', node, 310, 'another server\'s address'),
            ('192.0.2.1', node, 310, 'an address that nobody may map'),
            ('198.51.100.1', node, 310, 'its own IPv4'),
            ('198.51.100.22', tep, 309, 'its own IPv6'),
            ('198.51.100.22', 'ff02::1', 309, 'a multicast group'),
            ('198.51.100.22', '::1', 309, 'the loopback'),
            ('198.51.100.22', '2002:c633:6401::1', 309, '6to4'),
            ('198.51.100.22', '2001:db8:11:1::10', 309,
             'a node at an address that the TEP does not accept')):
        ok(c.request('create', v6=v6, v4=v4, lifetime=60).code == code,
           '%s: %d' % (what, code))
    ok(forwarded('198.51.100.22') is None, 'and no tunnel leads there')
    ok(c.request('create', v6=node, v4='198.51.100.22', lifetime=60).code ==
       200, 'a node within them')
    ok(c.request('create', v6='2001:db8:11:1::10', v4='198.51.100.22',
                 lifetime=60).code == 309 and
       forwarded('198.51.100.22') == node, 'which does not move out of them')
    c.request('delete', v6=node, v4='198.51.100.22')
    ok(c.request('create', v6=node, lifetime=60).code == 310,
       'no IPv4 at all: 310')
    d = server('dstm2')
    ok(d.request('create', v6=node, v4='203.0.113.7', lifetime=60).code ==
       200, 'the other server maps its own')
    ok(c.request('delete', v6=node, v4='203.0.113.7').code == 310 and
       forwarded('203.0.113.7') == node, 'and this one can not delete it')
    d.request('delete', v6=node, v4='203.0.113.7')
    c.close()
    d.close()


def latest():
    old = server()
    old.request('create', v6=node, v4='198.51.100.30', lifetime=60)
    new = server()
    ok(old.frame().startswith(b'530') and old.at_end(),
       'a server that connects again has one connection')
    ok(new.request('info', v6=node, v4='198.51.100.30').code == 200,
       'the latest, with all its entries')
    other = server('dstm2')
    ok(new.request('info', v6=node, v4='198.51.100.30').code == 200,
       'and another server\'s changes nothing')
    many = 200
    for i in range(many):
        new.ask('create', v6='2001:db8:11::%x' % (i + 1),
                v4='198.51.100.%d' % (i + 40), lifetime=60)
    ok([new.reply().code for i in range(many)] == [200] * many, '%d requests at once' % many)
    n = len(show('leases'))
    ok(n == many + 1, 'are as many entries: %d' % n)
    new.close()
    # Notes are compared: what the next connection does not name is nobody's.
    other.ask('create', v6=node, v4='203.0.113.7', lifetime=60)
    ok(other.reply().code == 200, 'the other server has an entry too')
    new = server()
    for i in (3, 5):
        new.ask('create', v6='2001:db8:11::%x' % (i + 1),
                v4='198.51.100.%d' % (i + 40), lifetime=60)
    new.command('<tunnel action="list" type="v4v6"></tunnel>\r\n')
    codes = [new.reply().code for i in range(3)]
    ok(codes == [200] * 3, 'a server names two of its entries, then lists')
    ok(sorted(l['address'] for l in show('leases')) ==
       ['198.51.100.43', '198.51.100.45', '203.0.113.7'],
       'the others are removed, not those of another server')
    ok(forwarded('198.51.100.44') is None and forwarded('198.51.100.43') ==
       '2001:db8:11::4', 'nor forwarded')
    new.close()
    other.close()
    ok(wait(lambda: show('sessions') == []), 'no connection is left')
    ok(len(show('leases')) == 3, 'and the entries stay')


strangers()
obeys()
refuses()
latest()
end()
