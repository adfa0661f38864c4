"""Run by badtep.t in the TEP's namespace: TAP. The TEP is this program."""
import ctypes
import os
import sys

from tap import Ctl, end, ok, wait
from tsp import Client
from tspd import Gone, Listener

ns, tep6, server6, dstmctl, control, password_file = sys.argv[1:]
password = open(password_file).read().strip()
node = '2001:db8:11::10'
own = [tep6, '198.51.100.1']
show = Ctl(dstmctl, control).show
libc = ctypes.CDLL(None, use_errno=True)


def at_node(call):
    """In the node's namespace, where its sockets stay."""
    here = os.open('/proc/self/ns/net', os.O_RDONLY)
    there = os.open('/run/netns/%s-node1' % ns, os.O_RDONLY)
    assert libc.setns(there, 0) == 0
    try:
        return call()
    finally:
        assert libc.setns(here, 0) == 0
        os.close(here)
        os.close(there)


def login():
    c = at_node(lambda: Client(server6, timeout=20))
    assert c.scram('alice', password).startswith(b'OK')
    return c


def good(t, r):
    t.info(own, [r['ipv4'], r['ipv6']])


def resync(t):
    """What it is told when it comes: leases, deletes, then the list."""
    seen = []
    while True:
        r = t.request()
        seen.append(r['action'])
        if r['action'] == 'list':
            t.status('200 OK')
            return seen
        good(t, r)


def up():
    t = listener.accept()
    t.scram('dstm1-password')
    resync(t)
    return t


def nothing():
    """No lease, and no address that waits for the TEP."""
    return wait(lambda: not any(
        l['state'] in ('bound', 'reserved', 'closing')
        for l in show('leases')))


listener = Listener(tep6)


def impostors():
    for what, act in (
            ('that does not know the password',
             lambda t: t.scram('dstm1-password', lie=True)),
            ('that wants one iteration',
             lambda t: t.scram('dstm1-password', iterations=1)),
            ('that offers no SCRAM',
             lambda t: t.capability(('ANONYMOUS', 'PLAIN', 'DIGEST-MD5'))),
            ('that has other tunnels', lambda t: t.capability(tunnel='V6V4')),
            ('that does not speak TSP', lambda t: t.send(b'\0' * 9000)),
            ('that says success at once',
             lambda t: (t.capability(), t.line(), t.line(),
                        t.send(b'OK Authentication successful\r\n')))):
        t = listener.accept()
        try:
            act(t)
            ended = t.ended()
        except Gone:
            ended = True
        ok(ended, 'a TEP ' + what)
        t.close()
    c = login()
    ok(c.request('create', v6=node).code == 307, 'none of them was believed')
    c.close()


def works():
    t = up()
    c = login()
    c.ask('create', v6=node)
    r = t.request()
    ok(r['action'] == 'create' and r['ipv6'] == node, 'the TEP is asked')
    good(t, r)
    a = c.reply()
    ok(a.code == 200 and a.server_ipv6 == tep6 and
       a.server_ipv4 == '198.51.100.1' and a.client_ipv4 == r['ipv4'],
       'its addresses go to the node as it gave them')
    c.ask('delete', v6=node, v4=r['ipv4'])
    ok(c.reply().code == 200, 'the node gives it back')
    d = t.request()
    ok(d['action'] == 'delete' and d['ipv4'] == r['ipv4'],
       'the TEP is told')
    good(t, d)
    ok(nothing(), 'it is over')
    c.close()
    return t


def refused(t, what, act, ends, code=307):
    """A bad answer to a create: what the node gets, and the TEP."""
    c = login()
    c.ask('create', v6=node)
    r = t.request()
    try:
        act(t, r)
    except Gone:
        pass
    got = c.reply().code
    ok(got == code, '%s: the node gets %d' % (what, got))
    c.close()
    if ends:
        ok(t.ended(), what + ': its connection is ended')
        t.close()
        t = up()
    else:
        d = t.request()
        assert d['action'] == 'delete', d
        good(t, d)
    ok(nothing(), what + ': nothing is left of it')
    return t


def lies(t):
    t = refused(t, '307', lambda t, r: t.status(
        '307 Configuration Error at TEP'), False)
    t = refused(t, '530', lambda t, r: t.status(
        '530 System too busy, retry later'), True)
    t = refused(t, 'a code that nobody knows', lambda t, r: t.status(
        '742 Well'), False)
    for address in ('224.0.0.1', '127.0.0.1', '198.51.100.99'):
        t = refused(t, 'an inner address that is not its own, ' + address,
                    lambda t, r: t.info([tep6, address]), False)
    for address in ('::1', 'ff02::1', '2002:c633:6401::1'):
        t = refused(t, 'an outer address that can not be, ' + address,
                    lambda t, r: t.info([address, '198.51.100.1']), False)
    t = refused(t, 'no address', lambda t, r: t.info([], []), False)
    t = refused(t, 'no XML', lambda t, r: t.status('200 OK'), False)
    t = refused(t, 'an answer about another node', lambda t, r: t.info(
        own, ['198.51.100.77', '2001:db8:66::6']), True)
    t = refused(t, 'a request for an answer', lambda t, r: t.info(
        own, [r['ipv4'], r['ipv6']], action='create'), True)
    t = refused(t, 'a DOCTYPE', lambda t, r: t.frame(
        '200 OK\r\n<!DOCTYPE x><tunnel/>'), True)
    t = refused(t, 'not a frame', lambda t, r: t.send(b'hello\r\n'), True)
    t = refused(t, 'a frame without end', lambda t, r: t.send(
        b'Content-length: 9999999\r\n'), True)
    t = refused(t, 'silence', lambda t, r: None, True)
    t = refused(t, 'an end', lambda t, r: t.sock.shutdown(2), True)
    return t


def twice(t):
    c = login()
    c.ask('create', v6=node)
    r = t.request()
    good(t, r)
    ok(c.reply().code == 200, 'an answer that comes twice is one for once')
    good(t, r)
    ok(t.ended(), 'and nobody\'s the second time')
    t.close()
    t = listener.accept()
    t.scram('dstm1-password')
    seen = resync(t)
    ok(seen == ['create', 'list'], 'the lease is said again: %s' % seen)
    c.ask('delete', v6=node, v4=r['ipv4'])
    ok(c.reply().code == 200, 'it can be given back')
    good(t, t.request())
    c.close()
    return t


def stumbles(t):
    """A renewal of which its parser dies is no reason to end the lease."""
    c = login()
    c.ask('create', v6=node)
    r = t.request()
    good(t, r)
    ok(c.reply().code == 200, 'a lease')
    for code in ('500 Invalid request format', '530 System too busy'):
        c.ask('create', v6=node, v4=r['ipv4'])
        ok(c.reply().code == 200, 'it is renewed')
        t.request()
        t.status(code)
        ok(t.ended(), 'the TEP says %s: its connection is made anew' % code)
        t.close()
        t = listener.accept()
        t.scram('dstm1-password')
        seen = resync(t)
        ok(seen == ['create', 'list'], 'it is told again: %s' % seen)
        ok(c.request('info', v6=node).code == 200, 'the lease lives')
    c.ask('delete', v6=node, v4=r['ipv4'])
    c.reply()
    good(t, t.request())
    c.close()
    return t


def slow(t):
    """Octet by octet: whole in time, and nobody else waits."""
    c, d = login(), login()
    c.ask('create', v6=node)
    r = t.request()
    body = ('200 OK\r\n<tunnel action="info" type="v4v6"><server><address '
            'type="ipv4">198.51.100.1</address><address type="ipv6">%s'
            '</address></server></tunnel>\r\n' % tep6).encode()
    for octet in b'Content-length: %d\r\n%s' % (len(body), body):
        t.send(bytes((octet,)))
    ok(c.reply().code == 200, 'an answer octet by octet')
    ok(d.request('info', v6=node).code == 200, 'others are answered')
    c.ask('delete', v6=node, v4=r['ipv4'])
    c.reply()
    good(t, t.request())
    c.close()
    d.close()


impostors()
tep = works()
tep = lies(tep)
tep = twice(tep)
tep = stumbles(tep)
slow(tep)
ok(all(p['restarts'] == 0 for p in show('processes')), 'no process has died')
end()
