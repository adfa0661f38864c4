"""Run by restart.t in a node's namespace: TAP."""
import os
import signal
import sys

from tap import Ctl, end, ok, wait
from tsp import Client

server, dstmctl, control = sys.argv[1:4]
passwords = dict(zip(('alice', 'bob'), (open(f).read().strip()
                                        for f in sys.argv[4:])))
ctl = Ctl(dstmctl, control)


def login(user):
    c = Client(server)
    line = c.scram(user, passwords[user])
    assert line.startswith(b'OK'), line
    return c


def states():
    return {l['user']: l['state'] for l in ctl.show('leases')}


def session_dies(store):
    """While a grant waits for the store, which is stopped."""
    old = ctl.pid('session')
    c = login('alice')
    os.kill(store, signal.SIGSTOP)
    c.ask('create', v6=c.address)
    ok(wait(lambda: states().get('alice') == 'reserved'),
       'a grant waits for the store')
    os.kill(old, signal.SIGKILL)
    ok(wait(lambda: ctl.pid('session') not in (0, old)),
       'session is killed and started again')
    try:
        ok(c.at_end(), 'its connection ends without an answer')
    except ConnectionResetError:
        ok(True, 'its connection ends without an answer')


store = ctl.pid('store')
session_dies(store)
# The same slot, the first of its life, with a request of its own.
c = login('bob')
c.ask('create', v6=c.address)
ok(wait(lambda: states().get('bob') == 'reserved'),
   'the next connection waits for a grant of its own')
os.kill(store, signal.SIGCONT)
ok(wait(lambda: states() == {'alice': 'bound', 'bob': 'bound'}),
   'both become durable')
r = c.reply()
bob = next(l['address'] for l in ctl.show('leases') if l['user'] == 'bob')
ok(r.code == 200 and r.client_ipv4 == bob, 'it gets its own answer')
r = c.create()
ok(r.code == 200 and r.client_ipv4 == bob, 'and no other')
c.close()
c = login('alice')
r = c.create()
ok(r.code == 200 and r.client_ipv4 != bob,
   'who had no answer asks again, and has one address')
ok(len(ctl.show('leases')) == 2, 'each has one lease')
end()
