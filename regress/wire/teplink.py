"""Run by teplink.t in a node's namespace, which is the TEP's too: TAP."""
import sys

from tap import Ctl, end, ok, wait
from tsp import Client, Reply
from tspd import Listener

server, dstmctl, control = sys.argv[1:4]
dstm1, alice = (open(f).read().strip() for f in sys.argv[4:])
show = Ctl(dstmctl, control).show
node6, other6 = '2001:db8:11::10', '2001:db8:11::20'
strange = ('192.0.2.77', '2001:db8:99::7')      # neither is configured


def said(action):
    """What the TEP is told next, but for the keeping of notes."""
    while True:
        m = tep.message()
        if m['action'] == 'list':
            tep.status('200 OK')
            continue
        assert m['action'] == action, m
        return m


def answer(m):
    tep.info(strange, [m['ipv4'], m['ipv6']])


def state(v4):
    return next((l['state'] for l in show('leases') if l['address'] == v4),
                None)


listener = Listener(other6)
tep = listener.accept()
ok(tep.scram(dstm1) == 'dstm1', 'the server proves itself to its TEP')
c = Client(server, source=node6)
c.scram('alice', alice)
c.ask('create', v6=node6, ll='fe80::1', lifetime=60)
m = said('create')
mine = m['ipv4']
ok(m['type'] == 'v4v6' and m['elements'] == ['client'] and
   m['all'] == [('ipv6', None, node6), ('ipv4', '32', mine)],
   'the TEP is told the node\'s global IPv6 and its IPv4')
c.sock.settimeout(0.5)
try:
    c.more()
    waits = False
except TimeoutError:
    waits = state(mine) == 'reserved'
ok(waits, 'the node waits for the TEP')
c.sock.settimeout(10)
answer(m)
r = c.reply()
ok(r.code == 200 and (r.server_ipv4, r.server_ipv6) == strange,
   'the node is told of the TEP what the TEP said')
ok((r.client_ipv4, r.client_ipv6, r.lifetime) == (mine, node6, 60),
   'with its own addresses and the lifetime')

ok(c.create(v4=mine, lifetime=40).lifetime == 40,
   'a renewal does not wait for the TEP')
m = said('create')
ok(m['ipv4'] == mine and m['lifetime'] == '40',
   'which is told the new lifetime, as its entries end by themselves')
answer(m)

c.create(v4=mine, lifetime=2)
answer(said('create'))
d = Reply(c.frame())
m = said('delete')
ok(d.action == 'delete' and
   m['all'] == [('ipv6', None, node6), ('ipv4', '32', mine)],
   'at the end node and TEP are told, with the node\'s IPv4 and IPv6')
ok((d.server_ipv4, d.server_ipv6) == strange,
   'the node is told which TEP it was')
ok(c.create().code == 521 and state(mine) == 'closing',
   'until the TEP has confirmed the address is nobody\'s')
answer(m)
ok(wait(lambda: state(mine) == 'quarantine'),
   'the TEP\'s info acknowledges the delete')

c.ask('create', v6=node6)
said('create')
tep.status('307 Configuration Error at TEP')
ok(c.reply().status == b'307 Configuration Error at TEP',
   'the TEP\'s error 307 is forwarded to the node')
answer(said('delete'))
c.ask('create', v6=node6)
said('create')
tep.status('310 IPv4 Invalid Address')
ok(c.reply().code == 307, 'another error of the TEP is 307 to the node')
answer(said('delete'))
c.close()
tep.close()
end()
