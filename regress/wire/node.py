"""Run by node.t in a server's namespace: TAP."""
import ipaddress
import json
import subprocess
import sys

from tap import Ctl, end, ok, wait
from tspd import Listener

address, dstmctl, control, namespace = sys.argv[1:]
show = Ctl(dstmctl, control).show
node6 = '2001:db8:11::10'
OFFER = b'CAPABILITY NEW=1 TUNNEL=V6V4 TUNNEL=V4V6 AUTH=X-NEW AUTH=anonymous'


def ip(*args):
    return json.loads(subprocess.check_output(
        ('ip', '-n', namespace, '-j', '-4') + args) or '[]')


def has(v4):
    """The node has this address, and by it the default route."""
    have = [(a['local'], a['prefixlen']) for i in ip('addr', 'show')
            for a in i.get('addr_info', []) if i['ifname'] == 'dstm0']
    route = [r.get('prefsrc') for r in ip('route', 'show', 'default')
             if r['dev'] == 'dstm0']
    return have == [(v4, 32)] and route == [v4] if v4 else not have + route


def remaining():
    return ([l['remaining'] for l in show('leases')] or [0])[0]


def answer(v4, action='info', lifetime=''):
    """As the draft writes it: line ends, length 30, eight groups and ::."""
    return ('200 OK\r\n <tunnel action="%s" type="v4v6"%s>\r\n <server>\r\n'
            ' <address type="ipv4" length="30">206.123.31.2</address>\r\n'
            ' <address type="ipv6" length="64">2001:db8:2:0:\r\n'
            '0000:0000:0000:0003</address>\r\n </server>\r\n <client>\r\n'
            ' <address type="ipv4" length="30">%s</address>\r\n <address\r\n'
            'type="ipv6">2001:db8:11:0::0000:0000:0000:0010</address>\r\n'
            ' </client>\r\n </tunnel>\r\n' % (action, lifetime, v4))


def connect():
    """Logged in, and what the node said for that."""
    c = listener.accept()
    said = [c.line()]
    c.send(OFFER + b'\r\n')
    said.append(c.line())
    c.send(b'OK Authentication successful\r\n')
    return c, said


listener = Listener(address)
c, said = connect()
ok(said[0] == b'VERSION=1.0', 'the node speaks the draft\'s version')
ok(said[1] == b'AUTHENTICATE ANONYMOUS',
   'what it does not know of the offer is ignored')
m = c.message()
ok(m['action'] == 'create' and m['type'] == 'v4v6' and m['elements'] == ['client'],
   'it asks by create, type v4v6, with a client element')
ok([(a[0], a[1]) for a in m['all'][:2]] == [('ipv6', None)] * 2 and
   ipaddress.ip_address(m['all'][0][2]).is_link_local and
   m['all'][1][2] == node6, 'with its link-local and its global IPv6')
ok(len(m['all']) == 2 and 'lifetime' not in m, 'and nothing else')
c.frame(answer('206.123.31.1'))
ok(wait(lambda: has('206.123.31.1')),
   'its stack has the address and the default route')
ok(1400 < remaining() <= 1440, 'a lease without lifetime is 1440 s')

c.frame(answer('206.123.31.9', 'delete'))
c.frame(answer('206.123.31.1', 'delete'))
m = c.message()
ok(m['action'] == 'info' and ('ipv4', '32', '206.123.31.1') in m['all'],
   'a delete of its own lease alone is acknowledged')
ok(wait(lambda: has(None)), 'and obeyed')

m = c.message()
ok(m['action'] == 'create' and m['ipv4'] is None, 'it asks for another one')
c.frame(answer('206.123.31.5', lifetime=' lifetime="4"'))
ok(wait(lambda: has('206.123.31.5')), 'which may have a short lifetime')
m = c.message()
ok(m['action'] == 'create' and m['ipv6'] == node6 and
   m['all'][2:] == [('ipv4', '32', '206.123.31.5')], 'renewal names the IPv4, before the end')
c.frame(answer('206.123.31.5', lifetime=' lifetime="8"'))
ok(wait(lambda: remaining() > 4) and has('206.123.31.5'),
   'the timer is set to the new lifetime, the stack is not touched')
m = c.message()
c.frame('308 Requested Address Unavailable\r\n')
ok(wait(lambda: has(None)), 'renewal refused by 308: the address is gone')
m = c.message()
ok(m['action'] == 'create' and m['ipv4'] is None, 'and any other one is asked for')
c.frame(answer('206.123.31.5', lifetime=' lifetime="3"'))
ok(wait(lambda: has('206.123.31.5')), 'granted')
c.message()
ok(wait(lambda: has(None), 6), 'no answer to its renewal: it ends itself')
c.close()

c, said = connect()
c.message()
c.frame(answer('206.123.31.1').replace('type="v4v6"', 'type="v6v4"'))
ok(c.ended() and has(None), 'a tunnel of another type is not taken')
c.close()
c, said = connect()
c.message()
c.frame(answer('206.123.31.1').replace('206.123.31.2', '2001:db8::1'))
ok(c.ended() and has(None), 'nor one without all of its addresses')
c.close()
end()
