"""Run by conformance.t in a node's namespace: TAP."""
import re
import socket
import sys
import xml.etree.ElementTree as ET

from tap import Ctl, end, ok, wait
from tsp import PORT, Client, Reply

server, dstmctl, control = sys.argv[1:4]
passwords = dict(zip(('alice', 'bob'), (open(f).read().strip()
                                        for f in sys.argv[4:])))
show = Ctl(dstmctl, control).show
tep4, tep6 = '198.51.100.1', '2001:db8:2::3'


def login(user=None, version='1.0'):
    c = Client(server)
    line = c.scram(user, passwords[user], version) if user else \
        c.anonymous(version)
    assert line.startswith((b'OK', b'200')), line
    return c


def xml(client, action='create', more='', kind='v4v6'):
    return ('<tunnel action="%s" type="%s"%s><client>%s</client></tunnel>\r\n'
            % (action, kind, more, client))


def v6(text):
    return '<address type="ipv6">%s</address>' % text


def say(c, text):
    """A message as it is, and its answer."""
    c.command(text)
    return c.reply()


def lease(v4):
    return next((l for l in show('leases') if l['address'] == v4), None)


def state(v4):
    return (lease(v4) or {}).get('state')


def forwarded(v4):
    return next((t['outer'] for t in show('tunnels')
                 if t.get('address') == v4), None)


class Capture:
    """What really came on the wire: TCP payloads of the server."""

    def __init__(self):
        self.sock = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM,
                                  socket.htons(0x86dd))
        self.sock.bind(('eth0', 0x86dd))
        self.sock.setblocking(False)

    def segments(self, port):
        found = {}
        while True:
            try:
                p = self.sock.recv(65536)
            except BlockingIOError:
                return [found[seq] for seq in sorted(found)]
            if p[6] != 6 or p[40:44] != PORT.to_bytes(2, 'big') + \
                    port.to_bytes(2, 'big'):
                continue
            data = p[40 + (p[52] >> 4) * 4:40 + int.from_bytes(p[4:6], 'big')]
            if data:
                found[int.from_bytes(p[44:48], 'big')] = data


def is_whole(segment):
    """One line, or one frame with the length that it says, no more."""
    line, rest = segment.split(b'\r\n', 1)
    m = re.fullmatch(rb'Content-length: ([0-9]+)', line)
    return len(rest) == (int(m.group(1)) if m else 0)


def segments():
    capture = Capture()
    for version in '1.0', '2.0.2':
        c = login('alice', version)
        c.create()
        c.request('info', v4='198.51.100.250')
        c.command('<tunnel')
        c.reply()
        c.request('delete', v6=c.address)
        got = capture.segments(c.sock.getsockname()[1])
        ok(len(got) == 8 and all(is_whole(s) for s in got),
           'each message is one segment, VERSION=%s' % version)
        c.close()


def words():
    """Codes mean what the draft says, in both dialects."""
    for version, success in (('1.0', b'200 OK'), ('2.0.0', b'200 Success'),
                             ('2.0.1', b'200 Success'),
                             ('2.0.2', b'200 Success')):
        c = login('alice', version)
        mine = c.create()
        got = [r.status for r in (
            mine, c.create(v4='198.51.100.250'),
            c.request('create', v6='ff02::1'), c.create(v4='192.0.2.1'),
            say(c, xml('', kind='v6anyv4')), say(c, '<tunnel'))]
        ok(got == [success, b'308 Requested Address Unavailable',
                   b'309 Invalid IPv6 address', b'310 IPv4 Invalid Address',
                   b'303 Unsupported tunnel type',
                   b'500 Invalid request format'],
           'the words of each code, VERSION=%s' % version)
        c.close()
    c = login()
    for kind in 'v6v4', 'v6udpv4', 'v6anyv4', 'broker':
        ok(say(c, xml(v6(c.address), kind=kind)).code == 303,
           '%s: 303' % kind)
    ok(c.create().code == 200, 'behind a 303 the connection goes on')
    c.close()


def reply_form():
    """What a field client can read, and all that it needs."""
    c = login()
    body = c.create(ll='fe80::1').body
    text = body.split(b'\r\n', 1)[1].decode()
    ok(not re.search(r">\s+<|'|<\?|<!|[\r\n]<", text) and
       text.endswith('</tunnel>\r\n') and text.count('\n') == 1,
       'no prolog, comment, single quote, nor white space')
    root = ET.fromstring(text)
    have = [[(a.get('type'), a.get('length'), a.text) for a in side]
            for side in (root.find('server'), root.find('client'))]
    ok(have == [[('ipv4', '32', tep4), ('ipv6', None, tep6)],
                [('ipv4', '32', have[1][0][2]), ('ipv6', None, c.address)]],
       'four addresses, each with its type, IPv4 with length 32')
    c.close()


def addresses():
    """How an address may be written, and which ones may be sent."""
    c = login()
    a = c.address                       # 2001:db8:11::10
    full = ':'.join(('%04X' % int(g or '0', 16)) for g in
                    a.replace('::', ':0:0:0:0:').split(':'))
    draft = full.replace(':', '!', 3).replace(':', '::', 1).replace('!', ':')
    first = c.create().client_ipv4
    for text, what in ((full, 'eight groups, upper case'),
                       (full[:20] + '\r\n ' + full[20:],
                        'an address broken by a line end'),
                       ('\r\n  ' + a + '\t\r\n ', 'white space around it'),
                       (draft, 'the draft\'s eight groups and ::')):
        r = say(c, xml(v6(text)))
        ok(r.code == 200 and r.client_ipv4 == first and r.client_ipv6 == a,
           what)
    ok(say(c, xml(v6(draft.replace('::', ':0::')))).code == 309,
       'nine groups and ::')
    r = say(c, xml(v6(a) + '<address type="ipv4" length="30">%s</address>' %
                   first))
    ok(r.code == 200 and b'length="30"' not in r.body,
       'length 30 is taken, 32 is said')
    for ll in 'fe80::1', 'fe80:0000:0000:0000:0000:0000:0000:0001', 'febf::1':
        ok(c.create(ll=ll).code == 200, 'link-local %s: 200' % ll)
    ok(say(c, xml(v6(a) + v6('fe80::1'))).code == 200,
       'link-local behind the global one: 200')
    ok(c.create().code == 200, 'no link-local: 200')
    for ll in 'fec0::1', '2001:db8:11::99', 'ff02::1', '::1':
        ok(c.create(ll=ll).code == 309, 'link-local %s: 309' % ll)
    ok(say(c, xml(v6('fe80::1') + v6('fe80::2') + v6(a))).code == 309,
       'two link-local ones: 309')
    ok(c.request('info', v4=first).code == 200, 'which changes nothing')
    ok(c.request('create', v6='2001:db8:77::1').code == 309,
       'an outer address of another host: 309')
    bob = login('bob')
    r = bob.request('create', v6='2001:db8:77::1')
    ok(r.code == 200 and forwarded(r.client_ipv4) == '2001:db8:77::1',
       'an outer address of the user\'s prefix: 200')
    ok(bob.create(v4=r.client_ipv4).code == 308,
       'renewal by the same user, another IPv6: 308')
    ok(bob.request('delete', v6='2001:db8:77::1',
                   v4=r.client_ipv4).code == 200, 'and its delete')
    bob.close()
    c.close()


def beyond_the_dtd():
    """What the field sends beyond the draft's DTD."""
    c = login(version='2.0.2')
    ping = '<keepalive interval="30">%s</keepalive>' % v6('::')
    r = say(c, xml(v6(c.address) + ping, more=' proxy="no"'))
    ka = ET.fromstring(r.xml).find('client/keepalive')
    ok(r.code == 200 and ka is not None and ka.get('interval') == '30' and
       [(a.get('type'), a.text) for a in ka] == [('ipv4', tep4)],
       'keepalive is answered with the TEP\'s IPv4')
    r = c.create()
    ok(r.code == 200 and b'keepalive' not in r.body,
       'who does not ask for it gets none')
    ok(say(c, xml(v6(c.address), more=' proxy="no" new="x"')).code == 200,
       'unknown attributes are ignored')
    router = '<router protocol="bgp"><prefix length="48">2001:db8::</prefix>' \
        '<dns_server>%s</dns_server><as number="1"/></router>' % v6('::1')
    ok(say(c, xml(v6(c.address) + router)).code == 200,
       'a router element is read and not obeyed')
    ok(say(c, xml(v6(c.address) + '<new/>')).code == 500,
       'an unknown element: 500')
    ok(say(c, '<tunnel action="create"><client>%s</client></tunnel>' %
           v6(c.address)).code == 500, 'no type: 500')
    ok(say(c, xml(v6(c.address), action='destroy')).code == 500,
       'an unknown action: 500')
    ok(say(c, xml('', action='list')).code == 500, 'list of a node: 500')
    ok(say(c, '<tunnel action="list" type="broker"></tunnel>').code == 303,
       'list of brokers: 303')
    ok(c.create().code == 200, 'and the connection goes on')
    c.close()


def lengths():
    """A frame's limits, and NULs around it."""
    c = login()
    request = xml(v6(c.address))
    for n, code in ((8192, 200), (8193, 500)):
        r = say(c, request.replace('<client>', '<client>' + ' ' *
                                   (n - len(request))))
        ok(r.code == code, 'a message of %d octets: %d' % (n, code))
    ok(c.at_end(), 'too long a message: closed behind the status')
    c.close()
    c = Client(server)
    c.send(b'\0\0VERSION=2.0.0\r\n\0')
    c.line()
    c.send(b'\0AUTHENTICATE ANONYMOUS\r\n\0')
    ok(c.line() == b'200 Success', 'NULs in front of lines')
    c.send(b'\0\0')
    c.ask('create', v6=c.address)
    c.send(b'\0')
    c.ask('info')
    ok([c.reply().code, c.reply().code] == [200, 200],
       'NULs in front of frames')
    c.close()


def accept_reject():
    c = login('alice')
    mine = c.create().client_ipv4
    for body in '<tunnel action="accept" type="v4v6"/>', \
            xml(v6(c.address), action='accept'):
        c.command(body)
        r = c.request('info', v4=mine)
        ok(r.code == 200 and r.action == 'info',
           'accept is not answered, the lease stays')
    other = login()
    other.ask('reject', v6=other.address, v4=mine)
    ok(other.request('info', v4=mine).code == 308 and
       state(mine) == 'bound', 'a foreign reject frees nothing')
    other.close()
    for body, what in ((xml(v6(c.address) + '<address type="ipv4">%s'
                            '</address>' % mine, action='reject'),
                        'a lease\'s addresses'),
                       ('<tunnel action="reject" type="v4v6"/>', 'nothing')):
        c.command(body)
        ok(wait(lambda: c.request('info', v4=mine).code == 308),
           'the lease is over by a reject that holds %s' % what)
        ok(wait(lambda: state(mine) == 'quarantine' and
                forwarded(mine) is None),
           'the rejected address is freed at the TEP')
        # Were the reject answered, this were the answer to the last info.
        ok(c.create().code == 200, 'reject is not answered')
    c.request('delete', v6=c.address)
    c.close()


def renewal():
    c = login('alice')
    first = c.create(lifetime=10)
    mine = first.client_ipv4
    ok(first.code == 200 and forwarded(mine) == c.address,
       'the tunnel is set up before the answer')
    before = lease(mine)
    other = login()
    ok(other.create(v4=mine).code == 308, 'another user\'s renewal: 308')
    ok(other.request('info', v4=mine).code == 308, 'another user\'s info: 308')
    after = lease(mine)
    ok(all(after[k] == before[k] for k in before if k != 'remaining') and
       after['remaining'] <= before['remaining'] and
       forwarded(mine) == c.address, 'the lease and the tunnel are as before')
    other.close()
    again = login('alice', '2.0.2')
    r = again.create(v4=mine, lifetime=100)
    ok(r.code == 200 and r.client_ipv4 == mine and r.lifetime == 100 and
       (r.server_ipv4, r.server_ipv6) == (tep4, tep6),
       'the same user renews on another connection')
    ok(lease(mine)['renewals'] == before['renewals'] + 1 and
       90 < lease(mine)['remaining'] <= 100, 'for the time that it is told')
    r = c.request('info', v4=mine)
    ok(r.code == 200 and 90 < r.lifetime <= 100,
       'info tells the time that is left')
    ok(c.create(v4='198.51.100.250').code == 308,
       'renewal of an address that is nobody\'s: 308')
    c.close()
    again.close()
    c = login('alice')
    ok(c.create().client_ipv4 == mine,
       'a create without IPv4 gets the address that there is')
    r = c.request('delete', v6=c.address, v4=mine)
    ok(r.code == 200 and r.action == 'info' and
       b'lifetime' not in r.body, 'delete is answered by info')
    ok(wait(lambda: forwarded(mine) is None), 'and the tunnel is gone')
    ok(c.request('delete', v6=c.address, v4=mine).code == 308,
       'delete of what is gone: 308')
    c.close()
    c = login('alice', '2.0.0')
    ok(c.create().client_ipv4 == mine,
       'sticky to user and IPv6, also after the end')
    c.request('delete', v6=c.address)
    c.close()


def lifetimes():
    c = login()
    ok(c.create().lifetime == 30, 'no lifetime asked for: the server\'s')
    ok(c.create(lifetime=77).lifetime == 77, 'one within bounds: that')
    ok(c.create(lifetime=1).lifetime == 2, 'one too short: the shortest')
    ok(c.create(lifetime=4294967295).lifetime == 3000,
       'one too long: the longest')
    r = say(c, xml(v6(c.address), more=' lifetime="soon"'))
    ok(r.code == 500, 'one that is no number: 500')
    c.request('delete', v6=c.address)
    c.close()


def end_of_lease():
    """Each is told on its connection; nothing waits for what it answers."""
    for ack, what in ((xml('', action='info'), 'info'),
                      ('200 OK\r\n' + xml('', action='info'),
                       'a status and info'),
                      ('200 Success\r\n', 'a status alone'),
                      (None, 'nothing')):
        c = login('alice')
        r = c.create(lifetime=2)
        d = Reply(c.frame())
        ok(d.code == 200 and d.type == 'v4v6' and d.action == 'delete' and
           (d.client_ipv4, d.client_ipv6) == (r.client_ipv4, c.address) and
           (d.server_ipv4, d.server_ipv6) == (tep4, tep6),
           'delete at the end, with all addresses')
        ok(wait(lambda: state(r.client_ipv4) == 'quarantine', 2) and
           forwarded(r.client_ipv4) is None,
           'server and TEP do not wait for the node')
        if ack:
            c.command(ack)
        again = c.create()
        ok(again.code == 200 and again.client_ipv4 == r.client_ipv4,
           'delete is acknowledged by %s' % what)
        c.request('delete', v6=c.address)
        c.close()
    c = login('alice')
    c.create(lifetime=2)
    c.frame()
    ok(c.request('info', v4='198.51.100.200').code == 308,
       'an info about another address acknowledges no delete')
    c.close()


segments()
words()
reply_form()
addresses()
beyond_the_dtd()
lengths()
accept_reject()
renewal()
lifetimes()
end_of_lease()
ok(all(p['restarts'] == 0 for p in show('processes') if p['name'] != 'priv'),
   'no process has died')
ok(wait(lambda: len(show('sessions')) == 0), 'no connection is left')
end()
