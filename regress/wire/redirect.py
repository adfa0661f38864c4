"""Run by redirect.t in a node's namespace: TAP."""
import subprocess
import sys

from tap import Ctl, end, ok
from tsp import Client

server, dstmctl, control = sys.argv[1:4]
passwords = dict(zip(('alice', 'bob'), (open(f).read().strip()
                                        for f in sys.argv[4:])))
ctl = Ctl(dstmctl, control)
others = ['2001:db8:9::1', '2001:db8:9::2']


def login(user, version='1.0'):
    c = Client(server)
    line = c.scram(user, passwords[user], version)
    assert line.startswith((b'OK', b'200')), line
    return c


def drain(how):
    subprocess.check_call(ctl.start + ['drain', how])


def redirected(r, code):
    return (r.code == code and r.type == 'broker' and r.action == 'list' and
            r.brokers == others)


c = Client(server)
ok(c.version('9.9') == b'1302 Unsupported client version',
   'another version: 1302')
ok(c.line() == b'<tunnel action="list" type="broker">' + b''.join(
    b'<broker><address type="ipv6">%s</address></broker>' % o.encode()
    for o in others) + b'</tunnel>', 'with a list, not framed')
ok(c.at_end(), 'then closed')

alice = login('alice')
first = alice.create()
ok(first.code == 200, 'the only address is leased')
for version in '1.0', '2.0.0', '2.0.2':
    bob = login('bob', version)
    ok(redirected(bob.create(), 1306), version + ': pool exhausted: 1306')
    ok(bob.request('info', v6=bob.address).code == 308,
       version + ': the connection goes on')
    bob.close()

drain('new')
ok(ctl.show('pools')[0]['drain'] == 'new', 'dstmctl shows that it drains')
bob = login('bob')
ok(redirected(bob.create(), 1530), 'draining: 1530 for a new lease')
r = alice.create(v4=first.client_ipv4)
ok(r.code == 200, 'and a lease that there is is renewed')
drain('all')
ok(redirected(alice.create(v4=first.client_ipv4), 1530),
   'draining all: nor is that')
ok(alice.request('info', v6=alice.address).code == 200, 'though it is there')
ok(alice.request('delete', v6=alice.address,
                 v4=first.client_ipv4).code == 200, 'and can be given back')
drain('off')
ok(alice.create().code == 200, 'no longer draining: a new lease')
ok(subprocess.call(ctl.start + ['drain', 'x'], stderr=subprocess.DEVNULL) ==
   2, 'dstmctl drain x is no command')
end()
