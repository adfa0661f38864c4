"""Run by limits.t in a node's namespace: TAP. 30 connections, 8 handshakes at a
time, 6 failed logins a minute, 10 requests a second; a source is a /64."""
import sys
import time

from tap import Ctl, end, ok, wait
from tsp import Client, Closed

server, dstmctl, control, password_file = sys.argv[1:]
ctl = Ctl(dstmctl, control)
with open(password_file) as f:
    password = f.read().strip()
first, sibling = '2001:db8:11::10', '2001:db8:11::11'
second, third, fourth = ('2001:db8:11:%d::1' % n for n in (12, 13, 14))


def login(source, secret=password):
    c = Client(server, source=source)
    try:
        line = c.scram('alice', secret)
    except (Closed, ValueError):        # 530 is no SASL step
        line = b'530'
    return c, line.split(b' ')[0]


def served(source):
    """Does one more connection get a word that is not 530?"""
    c = Client(server, source=source)
    try:
        line = c.version()
    except (Closed, ConnectionResetError):
        line = b''
    c.close()
    return line.startswith(b'CAPABILITY')


def handshakes():
    print('# handshakes')
    begin = time.monotonic()
    idle = [Client(server, source=first) for i in range(4)]
    for i in range(4):
        c = Client(server, source=second)
        c.version()                     # and then nothing
        idle.append(c)
    c = Client(server, source=third)
    ok(c.line().startswith(b'530') or time.monotonic() - begin > 3,
       'one too many is refused, while those before it are new')
    c.close()
    ok(wait(lambda: served(third)), 'later it is served')
    ok(3 <= time.monotonic() - begin < 8,
       'as the others have had their time: %.1f s' %
       (time.monotonic() - begin))
    ok(idle[0].line().startswith(b'530') and idle[0].at_end(),
       'the oldest made room, with a word')
    c, code = login(third)
    ok(code == b'OK', 'who logs in, does')
    quiet = [i for i in idle[2:] if not i.buf]
    more = [Client(server, source=fourth) for i in range(8)]
    ok(c.create().code == 200, 'and is not in the way of others')
    for x in idle + more + [c]:
        x.close()
    ok(len(quiet) == 6, 'no more of them than were in the way')
    ok(wait(lambda: ctl.show('sessions') == []), 'no connection is left')


def failures():
    print('# failed logins')
    codes = []
    for i in range(6):
        c, code = login(first, 'wrong')
        codes.append(code)
        c.close()
    ok(codes == [b'300'] * 6, 'six are judged: %r' % codes)
    c, code = login(first)
    ok(code == b'530', 'then not even the right password is: %r' % code)
    c.close()
    c, code = login(sibling)
    ok(code == b'530', 'nor from another address of the prefix')
    c.close()
    c, code = login(third)
    ok(code == b'OK', 'another source logs in')
    c.close()

    def again():
        c, code = login(first)
        c.close()
        return code == b'OK'
    begin = time.monotonic()
    ok(wait(again, 20), 'after its time the source may again')
    ok(time.monotonic() - begin > 5, 'not before: %.1f s' %
       (time.monotonic() - begin))


def requests():
    print('# requests')
    c = Client(server, source=second)
    c.anonymous()
    begin = time.monotonic()
    for i in range(30):
        c.ask('info', v6=second)
    other = Client(server, source=third)
    other.anonymous()
    lag = time.monotonic()
    ok(other.create().code == 200 and time.monotonic() - lag < 1,
       'somebody else is answered at once')
    at = []
    codes = set()
    for i in range(30):
        codes.add(c.reply().code)
        at.append(time.monotonic() - begin)
    ok(len(codes) == 1, 'every one is answered: %r' % codes)
    ok(at[5] < 1, 'the first at once')
    ok(1.5 < at[-1] < 6, 'the last in its turn: %.1f s' % at[-1])
    ok(at[-1] - at[-6] > 0.3, 'a tenth of a second each')
    d = Client(server, source=second)
    d.anonymous()
    for i in range(5):
        d.ask('info', v6=second)
        c.ask('info', v6=second)
    begin = time.monotonic()
    for i in range(5):
        d.reply()
        c.reply()
    ok(time.monotonic() - begin > 0.5, 'connections of a source share')
    begin = time.monotonic()
    for i in range(3):
        d.close()
        d = Client(server, source=second)
        d.anonymous()
        for i in range(5):
            d.ask('info', v6=second)
        for i in range(5):
            d.reply()
    ok(time.monotonic() - begin > 1, 'to come again is no way out: %.1f s' %
       (time.monotonic() - begin))
    c.close()
    d.close()
    other.close()


def guests():
    print('# who is logged in, and has no lease')
    holder = Client(server, source=third)
    holder.anonymous()
    ok(holder.create().code == 200, 'one has a lease')
    idle = []
    for i in range(29):
        c = Client(server, source=(first, second, fourth)[i % 3])
        c.anonymous()
        idle.append(c)
    ok(len(ctl.show('sessions')) == 30, 'with the others there is no room')
    ok(wait(lambda: served(third)), 'room is made for who comes later')
    ok(idle[0].reply().code == 530 and idle[0].at_end(),
       'by the one that was there longest, with a word')
    ok(holder.create().code == 200, 'who has a lease keeps its connection')
    for c in idle + [holder]:
        c.close()


handshakes()
failures()
requests()
guests()
ok(wait(lambda: ctl.show('sessions') == []), 'no connection is left')
end()
