"""Run by wire.t in a node's namespace: TAP."""
import os
import re
import sys
import threading

from tap import Ctl, end, ok, wait
from tsp import Client, Closed, Reply

server, dstmctl, control, password_file = sys.argv[1:]
password = open(password_file).read().strip()
here = os.path.dirname(os.path.abspath(__file__))
show = Ctl(dstmctl, control).show


def anonymous(version='1.0'):
    c = Client(server)
    c.anonymous(version)
    return c


def alice(version='1.0'):
    c = Client(server)
    line = c.scram('alice', password, version)
    assert line.startswith((b'OK', b'200')), line
    return c


def raw(data, what, want, close=True):
    """A hostile connection: the answer, and that the server lives."""
    c = Client(server)
    try:
        c.send(data)
        got = c.line()
        ok(got.startswith(want), '%s: %s' % (what, got.decode()[:60]))
        if close:
            ok(c.at_end(), what + ': then closed')
    except (Closed, ConnectionResetError, TimeoutError) as e:
        ok(False, '%s: %r' % (what, e))
    c.close()


def framed(data, what, want, stays=True):
    c = anonymous('2.0.0')
    try:
        c.send(data)
        got = c.frame()
        ok(got.startswith(want), '%s: %s' % (what, got.decode().splitlines()[0]))
        if stays:
            ok(c.create().code == 200, what + ': the connection goes on')
        else:
            ok(c.at_end(), what + ': then closed')
    except (Closed, ConnectionResetError, TimeoutError, AssertionError) as e:
        ok(False, '%s: %r' % (what, e))
    c.close()


def xml(text):
    text = text if isinstance(text, bytes) else text.encode()
    return b'Content-length: %d\r\n' % len(text) + text


def transcripts():
    """C: is sent, S: must come, byte for byte; {name} are of this test."""
    names = {'NODE': Client(server).address}
    for name in sorted(os.listdir(here)):
        if not name.endswith('.transcript'):
            continue
        c = Client(server)
        good = True
        for line in open(os.path.join(here, name), newline=''):
            line = line.rstrip('\n')
            if line.startswith('#') or not line:
                continue
            who, text = line[:2], line[3:]
            for k, v in names.items():
                text = text.replace('{' + k + '}', v)
            data = text.encode().decode('unicode_escape').encode('latin-1')
            if who == 'C:':
                c.send(data)
                continue
            while len(c.buf) < len(data):
                try:
                    c.more()
                except (Closed, TimeoutError):
                    break
            if c.buf[:len(data)] != data:
                print('# want %r\n# have %r' % (data, c.buf))
                good = False
                break
            c.buf = c.buf[len(data):]
        ok(good, 'transcript ' + name)
        c.close()


def dialects():
    c = Client(server)
    ok(c.version('1.0') == b'CAPABILITY TUNNEL=V4V6 AUTH=SCRAM-SHA-256 '
       b'AUTH=ANONYMOUS', 'CAPABILITY')
    c.send(b'AUTHENTICATE anonymous\r\n')
    ok(c.line() == b'OK Authentication successful', 'the draft\'s success')
    r = c.create(ll='fe80::1')
    ok(r.code == 200 and r.status == b'200 OK', 'create: 200 OK')
    ok(r.action == 'info' and r.lifetime == 30, 'its lifetime')
    ok(r.client_ipv6 == c.address and r.server_ipv6 == '2001:db8:2::3',
       'its addresses')
    first = r.client_ipv4
    r = c.create(v4=first)
    ok(r.code == 200 and r.client_ipv4 == first, 'renewal')
    ok(c.create().client_ipv4 == first, 'create again: the same lease')
    c2 = anonymous('2.0.2')
    r = c2.create(v4=first)
    ok(r.status == b'200 Success' and r.client_ipv4 == first,
       'renewal on another connection')
    r = c2.request('info', v4=first)
    ok(r.code == 200 and r.client_ipv4 == first and 0 < r.lifetime <= 30,
       'info')
    ok(c2.request('delete', v6=c2.address, v4=first).code == 200, 'delete')
    ok(c2.request('info', v4=first).code == 308, 'info of what is gone: 308')
    ok(c2.create().client_ipv4 == first, 'sticky')
    for version in ('2.0.0', '2.0.1', '2.0.2'):
        c3 = Client(server)
        ok(c3.anonymous(version) == b'200 Success', 'VERSION=' + version)
        c3.close()
    c.close()
    c2.close()


def scram():
    c = Client(server)
    ok(c.scram('alice', password) == b'OK Authentication successful',
       'SCRAM-SHA-256, the server proves itself')
    mine = c.create().client_ipv4
    c2 = anonymous()
    ok(c2.create(v4=mine).code == 308, 'another user\'s address: 308')
    ok(c2.request('delete', v6=c2.address, v4=mine).code == 308,
       'nor may he delete it')
    ok(c.request('info', v4=mine).code == 200, 'and nothing has changed')
    ok(c.create(v4='192.0.2.99').code == 310, 'outside every pool: 310')
    ok(c.create(v4='224.0.0.5').code == 310, 'multicast: 310')
    ok(c.request('create', v6='2001:db8:ffff::1').code == 309,
       'another\'s IPv6: 309')
    for bad in ('::1', 'ff02::1', '::ffff:192.0.2.1', server, 'fe80::1',
                'garbage'):
        ok(c.request('create', v6=bad).code == 309, bad + ': 309')
    ok(Client(server).scram('alice', 'wrong') ==
       b'300 Authentication failed', 'wrong password: 300')
    ok(Client(server).scram('nobody', 'wrong') ==
       b'300 Authentication failed', 'unknown user: 300')
    c3 = Client(server)
    ok(c3.scram('alice', password, '2.0.0', nul=b'\0') == b'200 Success',
       'NUL behind AUTHENTICATE, as in the field')
    c3.send(b'\0\0')
    ok(c3.create().code == 200, 'NULs between messages')
    salts = set()
    for i in range(3):
        c4 = Client(server)
        c4.version()
        c4.send(b'AUTHENTICATE SCRAM-SHA-256\r\nbiwsbj1ub2JvZHkscj1h\r\n')
        import base64
        salts.add(re.search(rb's=([^,]*)',
                  base64.b64decode(c4.line())).group(1))
        c4.close()
    ok(len(salts) == 1, 'an unknown user has one salt, as a known one')
    for x in (c, c2, c3):
        x.close()


def bad_lines():
    raw(b'VERSION=3.0\r\n', 'version', b'302 Unsupported client version')
    raw(b'GET / HTTP/1.0\r\n', 'HTTP', b'302')
    raw(b'A' * 9000, 'a line without end', b'500')
    c = Client(server)
    c.version()
    c.send(b'AUTHENTICATE PLAIN\r\n')
    ok(c.line().startswith(b'300'), 'a mechanism that is not offered: 300')
    c.close()
    c = Client(server)
    c.version()
    c.send(b'AUTHENTICATE SCRAM-SHA-256\r\n!!!!\r\n')
    ok(c.line().startswith(b'300'), 'base64 that is none: 300')
    c.close()
    c = Client(server)
    c.version()
    c.send(b'HELLO\r\n')
    ok(c.line().startswith(b'500'), 'no AUTHENTICATE: 500')
    c.close()
    c = Client(server)
    ok(c.line().startswith(b'300'), 'who says nothing is told 300')
    ok(c.at_end(), 'and closed')
    c.close()


def bad_frames():
    for length, what in ((b'0', 'length 0'), (b'99999', 'too long'),
                         (b'-5', 'negative'), (b'x', 'no number'),
                         (b'99999999999999999999', 'overflow')):
        framed(b'Content-length: ' + length + b'\r\n', what, b'500',
               stays=False)
    framed(b'nonsense\r\n', 'no frame', b'500', stays=False)
    framed(b'x' * 300, 'a header without end', b'500', stays=False)
    good = '<tunnel action="info" type="v4v6"></tunnel>'
    framed(xml('<!DOCTYPE tunnel [<!ENTITY a "b">]>' + good), 'DOCTYPE',
           b'500')
    framed(xml('<?xml version="1.0" encoding="ISO-2022-KR"?><tunnel/>'),
           'foreign encoding', b'500')
    framed(xml(b'\xff\xfe<\0t\0'), 'UTF-16', b'500')
    framed(xml(b'\x4c\x6f\xa7\x94\x93\x40'), 'EBCDIC', b'500')
    framed(xml('<tunnel action="create" type="v4v6">'), 'truncated XML',
           b'500')
    framed(xml('<a>' * 2000), 'deep nesting', b'500')
    framed(xml('<tunnel action="create" type="v4v6"%s/>' %
               ''.join(' a%d=""' % i for i in range(500))),
           'attributes', b'500')
    framed(xml('<tunnel action="create" type="v6v4"/>'), 'another type',
           b'303')
    framed(xml('<tunnel action="create" type="v4v6"/>'), 'no client', b'309')
    framed(xml('<tunnel action="list" type="v4v6"/>'), 'list', b'500')
    framed(b'content-LENGTH:   %d\r\n' % len(good) + good.encode(),
           'any case and spaces', b'200')


def order():
    """Pipelined requests are answered in their order, split anywhere."""
    c = anonymous()
    create = xml('<tunnel action="create" type="v4v6"><client><address '
                 'type="ipv6">%s</address></client></tunnel>' % c.address)
    bad = xml('<tunnel')
    info = xml('<tunnel action="info" type="v4v6"></tunnel>')
    c.create()
    stream = (create + bad + info) * 5
    for i in range(0, len(stream), 7):
        c.send(stream[i:i + 7])
    codes = [Reply(c.frame()).code for i in range(15)]
    ok(codes == [200, 500, 200] * 5, 'pipelined, in pieces: %s' % codes[:3])
    c.close()


def limits():
    conns = [Client(server) for i in range(45)]
    refused = 0
    for c in conns[-5:]:
        if c.line().startswith(b'530'):
            refused += 1
    ok(refused == 5, 'connections of one source are limited: 530')
    for c in conns:
        c.close()


def expiry():
    c = alice()
    r = c.create(lifetime=2)
    ok(r.lifetime == 2, 'a lifetime that was asked for')
    d = Reply(c.frame())
    ok(d.code == 200 and d.action == 'delete' and
       d.client_ipv4 == r.client_ipv4 and d.server_ipv6 == r.server_ipv6,
       'at its end the node is told on its connection: delete')
    c.command('<tunnel action="info" type="v4v6"><client><address '
              'type="ipv4">%s</address></client></tunnel>' % d.client_ipv4)
    ok(c.request('info', v4=d.client_ipv4).code == 308,
       'its acknowledgement is not answered, its next request is')
    c.close()


def untouched():
    """One honest client, while others misbehave: it must not notice."""
    stop = threading.Event()
    bad = []

    def honest():
        c = alice()
        while not stop.is_set():
            if c.create().code != 200:
                bad.append('refused')
        c.close()
    t = threading.Thread(target=honest)
    t.start()
    for i in range(100):
        c = anonymous()
        c.send(xml('<!DOCTYPE x>') + os.urandom(200))
        c.close()
    stop.set()
    t.join()
    ok(not bad, 'an honest client does not notice the others')
    ok(all(p['restarts'] == 0 for p in show('processes')
           if p['name'] != 'priv'), 'no process has died')


transcripts()
dialects()
scram()
bad_lines()
bad_frames()
order()
limits()
expiry()
untouched()
ok(wait(lambda: len(show('sessions')) == 0), 'no connection is left')
end()
