"""Run by call.t in a server's namespace: TAP."""
import socket
import sys

from tap import Ctl, end, ok, wait
from tsp import Client
from tspd import Listener

address, other, dstmctl, control = sys.argv[1:]
show = Ctl(dstmctl, control).show
node = '2001:db8:11::10'
MINE = '198.51.100.20'
OFFERED = '198.51.100.77'


def ends(a, b):
    return ('dstmd-call', socket.inet_pton(socket.AF_INET6, a) +
            socket.inet_pton(socket.AF_INET6, b))


def call(name='dstm1', authzid='dstm1+reverse', binding=ends(address, node),
         source=address, mech='SCRAM-SHA-256-PLUS', password='call-password'):
    c = Client(node, source=source)
    return c, c.scram(name, password, mech=mech, authzid=authzid,
                      binding=binding)


def held():
    return [l['address'] for l in show('leases')]


def lease(action, v4, lifetime=60):
    """Of a server to this node, as the draft's 4.3 has it."""
    c.info(['198.51.100.1', '2001:db8:2::3'], [v4, node], lifetime, action)


def strangers():
    d = Client(node)
    ok(d.version() == b'CAPABILITY TUNNEL=V4V6 AUTH=SCRAM-SHA-256-PLUS',
       'a node offers one mechanism, by which both sides prove themselves')
    d.close()
    ok(Client(node).anonymous().startswith(b'300'), 'ANONYMOUS is nobody')
    ok(Client(node).plain('dstm1', 'call-password').startswith(b'300'),
       'PLAIN is not started')
    for what, more in (
            ('a login as at a TEP', {'mech': 'SCRAM-SHA-256', 'authzid': '',
                                     'binding': None}),
            ('the same, relabelled', {'authzid': '', 'binding': None}),
            ('as a call, but unbound', {'binding': None}),
            ('no call by its name', {'authzid': ''}),
            ('another name\'s', {'authzid': 'mallory+reverse'}),
            ('the name alone', {'authzid': 'dstm1'}),
            ('somebody with a secret, but no server of this node',
             {'name': 'mallory', 'authzid': 'mallory+reverse'}),
            ('bound to another node', {'binding': ends(address, other)}),
            ('bound to another server', {'binding': ends(other, node)}),
            ('bound the other way round', {'binding': ends(node, address)}),
            ('bound to nothing', {'binding': ('dstmd-call', b'')}),
            ('another kind of binding',
             {'binding': ('tls-unique', ends(address, node)[1])}),
            ('from where no server is',
             {'source': other, 'binding': ends(other, node)}),
            ('a wrong password', {'password': 'x'})):
        d, line = call(**more)
        ok(line.startswith(b'300') and d.at_end(), what)
    ok(held() == [MINE], 'the lease is untouched')


def obeys():
    d, line = call()
    ok(line.startswith(b'OK'), 'its server, which checks the node\'s proof')
    d.command('<tunnel action="delete"')
    ok(d.reply().code == 500, 'what is no XML: 500')
    ok(d.request('info', v6=node, v4=MINE).code == 500, 'no request for a '
       'node: 500')
    ok(d.request('list').code == 500, 'nor is list')
    ok(d.request('delete', v6=node, v4=OFFERED).code == 308,
       'a delete of what it does not hold: 308')
    ok(d.request('delete', v6=other, v4=MINE).code == 308,
       'of another node\'s: 308')
    ok(d.request('delete', v4=MINE).code == 309, 'without an IPv6: 309')
    ok(d.request('delete', v6=node).code == 310, 'without an IPv4: 310')
    ok(d.request('create', v6=node, v4=OFFERED).code == 308,
       'an offer while it holds a lease: 308')
    ok(held() == [MINE], 'the lease is there yet')
    r = d.request('delete', v6=node, v4=MINE)
    ok(r.code == 200 and r.action == 'info' and r.client_ipv4 == MINE and
       r.client_ipv6 == node, 'a delete of its lease is acknowledged')
    ok(held() == [], 'and obeyed')
    return d


def offers(d):
    m = c.message()
    ok(m['action'] == 'create' and m['ipv4'] is None,
       'it asks its server for another lease')
    c.status('306 Address Pool Exhausted')
    ok(d.request('create', v6=other, v4=OFFERED).code == 309,
       'an offer for another node: 309')
    ok(d.request('create', v6=node, v4='224.0.0.1').code == 308,
       'of what nobody can have: 308')
    r = d.request('create', v6=node, v4=OFFERED)
    ok(r.code == 200 and r.client_ipv4 == OFFERED, 'an offer: it is taken')
    ok(held() == [], 'by the call alone it has nothing')
    m = c.message()
    ok(m['action'] == 'create' and m['ipv4'] == OFFERED,
       'it asks its server for the address')
    lease('info', OFFERED)
    ok(wait(lambda: held() == [OFFERED]), 'and has it')
    d.close()
    # The same on the connection that the node keeps.
    lease('create', MINE)
    m = c.message()
    ok(m['action'] == 'reject' and m['ipv4'] == MINE and m['ipv6'] == node,
       'an offer on its connection while it holds a lease: reject')
    lease('delete', OFFERED)
    ok(c.message()['action'] == 'info', 'a delete on its connection')
    m = c.message()
    ok(m['action'] == 'create', 'it asks again')
    c.status('306 Address Pool Exhausted')
    lease('create', MINE)
    m = c.message()
    ok(m['action'] == 'create' and m['ipv4'] == MINE,
       'an offer on its connection: it asks for the address')
    lease('info', MINE)
    ok(wait(lambda: held() == [MINE]), 'and has it')


listener = Listener(address)
c = listener.accept()
c.capability(['ANONYMOUS'])
assert c.line() == b'AUTHENTICATE ANONYMOUS'
c.send(b'OK Authentication successful\r\n')
assert c.message()['action'] == 'create'
lease('info', MINE)
assert wait(lambda: held() == [MINE])
strangers()
offers(obeys())
end()
