"""Run by badserver.t in the server's namespace: TAP. The server is this
program, the node is real."""
import subprocess
import sys

from tap import Ctl, end, ok, wait
from tspd import Gone, Listener

ns, server6, tep6, dstmctl, control = sys.argv[1:]
node6 = '2001:db8:11::10'
tep = [tep6, '198.51.100.1']
ctl = Ctl(dstmctl, control)


def at_node(*cmd):
    return subprocess.run(('ip', 'netns', 'exec', ns + '-node1') + cmd,
                          stdout=subprocess.PIPE,
                          stderr=subprocess.DEVNULL, text=True).stdout


def held():
    """Its IPv4 address, None, or '?' while lease and host differ."""
    leases = ctl.show('leases')
    out = at_node('ip', '-4', '-o', 'addr', 'show', 'dev', 'dstm0')
    if not leases:
        return '?' if 'inet' in out else None
    address = leases[0]['address']
    return address if address in out else '?'


listener = Listener(server6, timeout=40)


def up():
    s = listener.accept()
    s.scram('alice-password')
    return s


def asked(s, action='create'):
    r = s.request()
    assert r['action'] == action, r
    return r


def fresh():
    """A connection of a node that has just lost its lease, so that it does
    not wait long before it calls again."""
    s = up()
    asked(s)
    s.info(tep, ['198.51.100.20', node6], 600)
    assert wait(lambda: held() == '198.51.100.20')
    s.info(tep, ['198.51.100.20', node6], action='delete')
    asked(s, 'info')
    return s


def impostors():
    for what, act in (
            ('that does not know the password',
             lambda s: s.scram('alice-password', lie=True)),
            ('that wants one iteration',
             lambda s: s.scram('alice-password', iterations=1)),
            ('that wants a million',
             lambda s: s.scram('alice-password', iterations=1000000)),
            ('that offers ANONYMOUS alone',
             lambda s: s.capability(('ANONYMOUS',)))):
        s = listener.accept()
        try:
            act(s)
            ended = s.ended()
        except Gone:
            ended = True
        ok(ended, 'a server ' + what)
        s.close()
    ok(held() is None, 'none of them was believed')


def bad_grants():
    """What is no lease: the host is not touched, the node asks again."""
    s = fresh()
    for what, server, client, lifetime in (
            ('a multicast address', tep, ['224.0.0.5', node6], 60),
            ('the loopback', tep, ['127.0.0.1', node6], 60),
            ('another node\'s outer address', tep,
             ['198.51.100.9', '2001:db8:66::6'], 60),
            ('a TEP that is the node', [node6, '198.51.100.1'],
             ['198.51.100.9', node6], 60),
            ('a TEP that is 6to4', ['2002:c633:6401::1', '198.51.100.1'],
             ['198.51.100.9', node6], 60),
            ('the TEP\'s own address', tep, ['198.51.100.1', node6], 60),
            ('no address', tep, [node6], 60),
            ('no TEP', [], ['198.51.100.9', node6], 60),
            ('a lifetime of 0', tep, ['198.51.100.9', node6], 0)):
        asked(s)
        s.info(server, client, lifetime)
        ok(s.ended() and held() is None, what)
        s.close()
        s = fresh()
    for what, act in (
            ('a delete for an answer', lambda: s.info(
                tep, ['198.51.100.9', node6], action='delete')),
            ('a DOCTYPE', lambda: s.frame('200 OK\r\n<!DOCTYPE x><tunnel/>')),
            ('not a frame', lambda: s.send(b'hello\r\n')),
            ('silence', lambda: None)):
        asked(s)
        act()
        ok(s.ended() and held() is None, what)
        s.close()
        s = fresh()
    return s


def works(s):
    r = asked(s)
    ok(r['ipv6'] == node6 and b'fe80::' in r['body'],
       'it asks with its link-local and its global address')
    s.send(b'\0\0')
    s.info(tep, ['198.51.100.20', node6], 600)
    ok(wait(lambda: held() == '198.51.100.20'), 'a lease')
    # another's delete, then its own
    s.info(tep, ['198.51.100.99', node6], action='delete')
    s.info(tep, ['198.51.100.20', node6], action='delete')
    asked(s, 'info')
    ok(wait(lambda: held() is None), 'a delete is obeyed and acknowledged')
    asked(s)
    s.info(tep, ['198.51.100.21', node6], 600)
    ok(wait(lambda: held() == '198.51.100.21'), 'and it asks again')
    s.info(tep, ['198.51.100.22', node6], 600)
    ok(s.ended() and held() == '198.51.100.21',
       'a lease that it did not ask for is none')
    s.close()


def renewals():
    """A short lease: renewed in time, with its address; then refused."""
    s = up()
    r = asked(s)
    ok(r['ipv4'] == '198.51.100.21', 'on a new connection it asks for its own')
    s.info(tep, ['198.51.100.21', node6], 4)
    r = asked(s)
    ok(r['ipv4'] == '198.51.100.21' and held() == r['ipv4'],
       'it renews before the end')
    s.info(tep, ['198.51.100.30', node6], 4)
    ok(wait(lambda: held() == '198.51.100.30'), 'another address is taken')
    asked(s)
    s.status('308 Requested Address Unavailable')
    r = asked(s)
    ok(r['ipv4'] is None and wait(lambda: held() is None),
       'refused with 308 it gives it up, and asks for any')
    s.info(tep, ['198.51.100.31', node6], 4)
    ok(wait(lambda: held() == '198.51.100.31'), 'which it gets')
    s.close()
    listener.sock.close()
    ok(wait(lambda: held() is None, 15),
       'a server that never returns: IPv4 ends with the lease')


impostors()
renewed = bad_grants()
works(renewed)
renewals()
ok(all(p['restarts'] == 0 for p in ctl.show('processes')),
   'no process has died')
end()
