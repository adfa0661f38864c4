"""Run by mechs.t in a node's namespace: TAP."""
import base64
import json
import subprocess
import sys
import time

from tsp import Client, Closed, digest_md5

server, dstmctl, control, alice_file, bob_file, log = sys.argv[1:]
alice = open(alice_file).read().strip()
bob = open(bob_file).read().strip()
DENIED = b'300 Authentication failed'
count = failed = 0


def ok(good, what):
    global count, failed
    count += 1
    failed += not good
    print('%sok %d - %s' % ('' if good else 'not ', count, what), flush=True)


def digest():
    ok(digest_md5('username1', 'hexos', 'password', '1113908968',
                  '1113923311', 'tsp/hexos') ==
       ('f8e42b3c50c59771853f6274fcffd1ca',
        '70d5cabc9235568be380ba2c907381fe'),
       'RFC 5572, figure 12: this client is right')
    c = Client(server)
    ok(c.digest('alice', alice) == b'OK Authentication successful',
       'VERSION=1.0')
    ok(c.create().code == 200, 'then a request')
    ok(' ' not in c.challenge and all(
        w in c.challenge for w in ('realm="hexos"', 'nonce="', 'qop="auth"',
                                   'charset=utf-8')),
       'the challenge is one that field clients can read')
    for version in ('2.0.0', '2.0.1', '2.0.2'):
        c = Client(server)
        begin = time.monotonic()
        line = c.digest('alice', alice, version, nul=b'\0',
                        uri='tsp/[%s]:3653' % server)
        ok(line == b'200 Success' and c.at_rspauth == b'' and
           0.25 < time.monotonic() - begin < 2,
           'VERSION=%s: rspauth, a pause, success' % version)
    ok(c.create().code == 200, 'then a request')
    nonces = set()
    for i in range(20):
        c = Client(server)
        c.version()
        c.send(b'AUTHENTICATE DIGEST-MD5\r\n')
        text = base64.b64decode(c.line())
        nonces.add(text.split(b'nonce="')[1].split(b'"')[0])
        c.close()
    ok(len(nonces) == 20, 'nonces differ')
    for what, change in (
            ('another response', lambda s: s[:-1] + ('0' if s[-1] != '0'
                                                     else '1')),
            ('another nonce', lambda s: s.replace(',nonce="', ',nonce="x')),
            ('another realm', lambda s: s.replace('hexos', 'heros')),
            ('a nonce twice', lambda s: s + ',nonce="x"'),
            ('nc 2', lambda s: s.replace('nc=00000001', 'nc=00000002')),
            ('another user', lambda s: s.replace('alice', 'bob')),
            ('an authzid', lambda s: s + ',authzid="bob"'),
            ('nothing', lambda s: '')):
        c = Client(server)
        ok(c.digest('alice', alice, tamper=change) == DENIED and c.at_end(),
           'DIGEST-MD5, %s: 300' % what)


def pipelined():
    """A client that sends its request within the pause."""
    c = Client(server)
    c.version('2.0.0')
    c.send(b'AUTHENTICATE DIGEST-MD5\r\n')
    fields = base64.b64decode(c.line()).decode()
    nonce = fields.split('nonce="')[1].split('"')[0]
    answer, _ = digest_md5('alice', 'hexos', alice, nonce, 'abc', 'tsp/x')
    xml = b'<tunnel action="info" type="v4v6"></tunnel>'
    c.send(base64.b64encode(
        ('username="alice",realm="hexos",nonce="%s",cnonce="abc",'
         'nc=00000001,qop=auth,digest-uri="tsp/x",response=%s' %
         (nonce, answer)).encode()) + b'\r\n')
    c.send(b'Content-length: %d\r\n' % len(xml) + xml)
    c.line()
    ok(c.line() == b'200 Success' and c.frame().startswith(b'200'),
       'a request within the pause is answered behind it')
    c = Client(server)
    c.version('2.0.0')
    c.send(b'AUTHENTICATE DIGEST-MD5\r\n')
    c.line()
    c.send(b'!!!\r\n')
    ok(c.line() == DENIED, 'base64 that is none: 300')


def plain():
    for raw in (False, True):
        for nul in (b'', b'\0'):
            for version, want in (('1.0', b'OK Authentication successful'),
                                  ('2.0.1', b'200 Success')):
                c = Client(server)
                got = c.plain('alice', alice, version, raw, nul)
                ok(got == want and c.create().code == 200,
                   'PLAIN %s%s, VERSION=%s' % ('raw' if raw else 'base64',
                                               ', NUL' if nul else '',
                                               version))
        c = Client(server)
        ok(c.plain('alice', 'wrong', raw=raw) == DENIED and c.at_end(),
           'wrong password: 300')
        ok(Client(server).plain('nobody', 'wrong', raw=raw) == DENIED,
           'unknown user: 300')
        ok(Client(server).plain('alice', alice, raw=raw, authzid='alice')
           .startswith(b'OK'), 'for himself')
        ok(Client(server).plain('alice', alice, raw=raw, authzid='bob') ==
           DENIED, 'for another: 300')
        ok(Client(server).plain('alice', '', raw=raw) == DENIED,
           'no password: 300')
    c = Client(server)
    c.version()
    c.send(b'AUTHENTICATE PLAIN\r\n')
    time.sleep(0.2)
    c.send(b'\0ali')
    time.sleep(0.2)
    c.send(b'ce\0' + alice.encode() + b'\r\n')
    ok(c.line().startswith(b'OK'), 'in pieces')
    for what, line in (('too long', b'a\0' + b'x' * 9000),
                       ('eight NULs', b'a' + b'\0' * 8 + b'b'),
                       ('latin-1', b'\xe4\0\xf6'), ('an empty line', b'')):
        c = Client(server)
        c.version()
        c.send(b'AUTHENTICATE PLAIN\r\n' + line + b'\r\n')
        try:
            ok(c.line()[:3] in (b'300', b'500'), 'PLAIN, ' + what)
        except (Closed, ConnectionResetError):
            ok(False, 'PLAIN, ' + what)


def configured():
    c = Client(server)
    ok(c.version() == b'CAPABILITY TUNNEL=V4V6 AUTH=DIGEST-MD5 AUTH=PLAIN '
       b'AUTH=SCRAM-SHA-256', 'CAPABILITY, in the order of the configuration')
    for mech in ('ANONYMOUS', 'GSSAPI', 'SCRAM-SHA-1', 'SCRAM-SHA-256-PLUS',
                 'PLAIN-PLUS', 'CRAM-MD5', 'LOGIN', 'EXTERNAL', 'NTLM',
                 'DIGEST-MD5 PLAIN', 'PLAIN\0', '', 'X' * 100):
        c = Client(server)
        c.version()
        c.send(b'AUTHENTICATE %s\r\n' % mech.encode())
        ok(c.line()[:3] in (b'300', b'500') and c.at_end(),
           'AUTHENTICATE %r' % mech[:20])


def pools():
    c = Client(server)
    c.scram('alice', alice)
    first = c.create().client_ipv4
    ok(first.startswith('198.51.100.3'), 'SCRAM: the pool that asks for it')
    c2 = Client(server)
    c2.plain('alice', alice)
    ok(c2.request('info', v4=first).code == 200,
       'PLAIN: the same user, the same lease')
    ok(c2.create().code == 308, 'but not its renewal: 308, and it is over')
    r = c2.create()
    for i in range(50):
        if r.code == 200:
            break
        time.sleep(0.1)
        r = c2.create()
    ok(r.code == 200 and r.client_ipv4.startswith('198.51.100.6') and
       len(leases('alice')) == 1, 'PLAIN: the other pool')
    ok(Client(server).plain('bob', bob) == DENIED,
       'a user who has no pool by PLAIN: 300')
    c = Client(server)
    ok(c.scram('bob', bob).startswith(b'OK') and c.create().code == 200,
       'by SCRAM he has')


def leases(user):
    rows = json.loads(subprocess.check_output(
        [dstmctl, '-s', control, '-j', 'show', 'leases']))
    return [r for r in rows if r['user'] == user and r['state'] == 'bound']


def seconds(login, user):
    c = Client(server)
    begin = time.monotonic()
    assert login(c, user) == DENIED
    end = time.monotonic()
    c.close()
    return end - begin


def timing():
    """Who exists cannot be told from the time: by turns, lower quartiles."""
    for name, login in (
            ('DIGEST-MD5', lambda c, user: c.digest(user, 'wrong')),
            ('PLAIN', lambda c, user: c.plain(user, 'wrong')),
            ('SCRAM', lambda c, user: c.scram(user, 'wrong'))):
        times = {'alice': [], 'niobe': []}
        for i in range(150):
            for user in times:
                times[user].append(seconds(login, user))
        a, b = (sorted(t)[len(t) // 4] for t in times.values())
        print('# %s: %.2f and %.2f ms' % (name, 1000 * a, 1000 * b))
        ok(max(a, b) < 1.25 * min(a, b) + 0.0003,
           '%s: an unknown user takes the same time' % name)


def quiet():
    text = open(log).read()
    ok(alice not in text and bob not in text and
       base64.b64encode(b'\0alice\0' + alice.encode()).decode() not in text,
       'no password is in the log')
    ok('authentication failed' in text and
       'a mechanism that is not offered' in text, 'failures are')
    rows = json.loads(subprocess.check_output(
        [dstmctl, '-s', control, '-j', 'show', 'processes']))
    ok(all(p['restarts'] == 0 for p in rows if p['name'] != 'priv'),
       'no process has died')


configured()
pools()
digest()
pipelined()
plain()
timing()
quiet()
print('1..%d' % count)
sys.exit(failed > 0)
