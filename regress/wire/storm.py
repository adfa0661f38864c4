"""Run by storm.t in a node's namespace: TAP. 5 connections a second."""
import sys
import time

from tap import Ctl, end, ok, wait
from tsp import Client

server, dstmctl, control = sys.argv[1:]
show = Ctl(dstmctl, control).show
mine, other = '2001:db8:11::10', '2001:db8:11::99'

begin = time.monotonic()
storm = [Client(server, source=mine) for i in range(60)]
for c in storm:
    c.send(b'VERSION=1.0\r\nAUTHENTICATE ANONYMOUS\r\n')
honest = Client(server, source=other)
ok(honest.anonymous().startswith(b'OK') and time.monotonic() - begin < 2,
   'somebody else is served at once')
r = honest.request('create', v6=other)
ok(r.code == 200, 'and has a lease')

answers = []
for c in storm:
    answers.append((c.line(), time.monotonic() - begin))
served = [t for line, t in answers if line.startswith(b'CAPABILITY')]
refused = [t for line, t in answers if line.startswith(b'530')]
ok(len(served) + len(refused) == 60, 'every one is answered')
ok(len(refused) > 20, 'those whose turn is far are refused: %d' %
   len(refused))
ok(25 <= len(served) <= 40, 'the others are served: %d' % len(served))
ok(4 < served[-1] < 10, 'in their turn, the last after %.1f s' % served[-1])
ok(served[3] < 1, 'the first at once')
for c in storm:
    c.close()
honest.close()
ok(wait(lambda: show('sessions') == []), 'no connection is left')
end()
