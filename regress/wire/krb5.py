"""Run by krb5.t in a node's namespace: TAP."""
import base64
import ctypes
import json
import os
import subprocess
import sys
import time

import gssapi
from gssapi import RequirementFlag as Flag

from tsp import Client

server, dstmctl, control, top, pid = sys.argv[1:]
DENIED = b'300 Authentication failed'
MUTUAL = [Flag.mutual_authentication, Flag.integrity]
count = failed = 0


def ok(good, what):
    global count, failed
    count += 1
    failed += not good
    print('%sok %d - %s' % ('' if good else 'not ', count, what), flush=True)


def credentials(principal, password, enctype=None):
    """A ticket, in a cache of its own."""
    cache = 'FILE:%s/cc.%s%s' % (top, principal.replace('/', '_'),
                                 enctype or '')
    env = dict(os.environ, KRB5CCNAME=cache)
    for i in range(50):
        p = subprocess.run(['kinit', principal], input=password.encode(),
                           env=env, stdout=subprocess.DEVNULL,
                           stderr=subprocess.PIPE)
        if p.returncode == 0:
            break
        time.sleep(0.1)
    else:
        print('# kinit %s: %s' % (principal, p.stderr))
    if enctype:
        p = subprocess.run(['kvno', '-e', enctype, 'tsp/server.test'],
                           env=env, capture_output=True)
        if p.returncode != 0:
            print('# kvno: %s' % p.stderr)
    return gssapi.Credentials(usage='initiate', store={'ccache': cache})


def blob(data):
    return base64.b64encode(data) + b'\r\n'


def login(c, creds, service='tsp@server.test', flags=None, authzid=b'',
          layer=b'\1\0\0\0', sent=None, version='1.0'):
    """GSSAPI (RFC 4752); the last line."""
    name = gssapi.Name(service, gssapi.NameType.hostbased_service)
    ctx = gssapi.SecurityContext(name=name, creds=creds, usage='initiate',
                                 mech=gssapi.MechType.kerberos,
                                 flags=MUTUAL if flags is None else flags)
    c.version(version)
    c.send(b'AUTHENTICATE GSSAPI\r\n')
    token = ctx.step(None)
    while True:
        if sent is not None:
            sent.append(token or b'')
        c.send(blob(token or b''))
        line = c.line()
        if line.startswith(b'300'):
            return line
        if ctx.complete:
            break
        token = ctx.step(base64.b64decode(line))
        if ctx.complete and not token:
            # the server has the last word of the context: an empty step
            c.send(blob(b''))
            line = c.line()
            if sent is not None:
                sent.append(b'')
            break
    if line.startswith(b'300'):
        return line
    offer = ctx.unwrap(base64.b64decode(line)).message
    assert offer == b'\1\0\0\0', offer
    last = ctx.wrap(layer + authzid, False).message
    if sent is not None:
        sent.append(last)
    c.send(blob(last))
    return c.line()


def good(alice):
    c = Client(server)
    ok(c.version() == b'CAPABILITY TUNNEL=V4V6 AUTH=GSSAPI '
       b'AUTH=SCRAM-SHA-256', 'CAPABILITY')
    for version, want in (('1.0', b'OK Authentication successful'),
                          ('2.0.1', b'200 Success')):
        c = Client(server)
        ok(login(c, alice, version=version) == want,
           'alice logs in, VERSION=' + version)
        ok(c.create().code == 200, 'and gets a lease')
    rows = json.loads(subprocess.check_output(
        [dstmctl, '-s', control, '-j', 'show', 'sessions']))
    ok([(r['user'], r['mechanism']) for r in rows if r['user']][-1] ==
       ('alice', 'GSSAPI'), 'she is alice@DSTM.TEST, by GSSAPI')
    c = Client(server)
    ok(login(c, alice, authzid=b'alice').startswith(b'OK'), 'for herself')


def cyrus():
    """The client that others have: libsasl2 and its own plugin."""
    sasl = ctypes.CDLL('libsasl2.so.2')
    out, size = ctypes.c_char_p(), ctypes.c_uint()
    conn, mech = ctypes.c_void_p(), ctypes.c_char_p()
    os.environ['KRB5CCNAME'] = 'FILE:%s/cc.alice' % top
    assert sasl.sasl_client_init(None) == 0
    assert sasl.sasl_client_new(b'tsp', b'server.test', None, None, None, 0,
                                ctypes.byref(conn)) == 0

    def result(r):
        assert r in (0, 1), r
        return blob(ctypes.string_at(out, size.value) if size.value else b'')
    c = Client(server)
    c.version()
    c.send(b'AUTHENTICATE GSSAPI\r\n' + result(sasl.sasl_client_start(
        conn, b'GSSAPI', None, ctypes.byref(out), ctypes.byref(size),
        ctypes.byref(mech))))
    line = c.line()
    while b' ' not in line:
        data = base64.b64decode(line)
        c.send(result(sasl.sasl_client_step(
            conn, data, len(data), None, ctypes.byref(out),
            ctypes.byref(size))))
        line = c.line()
    ok(line.startswith(b'OK'), 'libsasl2\'s client logs in: %r' % line)
    sasl.sasl_dispose(ctypes.byref(conn))


def bad(alice):
    for what, more in (('for another', {'authzid': b'bob'}),
                       ('a security layer', {'layer': b'\2\0\0\0'}),
                       ('a size', {'layer': b'\1\0\0\1'}),
                       ('not mutual', {'flags': [Flag.integrity]}),
                       ('another service of the keytab',
                        {'service': 'host@server.test'})):
        c = Client(server)
        ok(login(c, alice, **more) == DENIED and c.at_end(), what + ': 300')
    sent = []
    c = Client(server)
    assert login(c, alice, sent=sent).startswith(b'OK')
    c = Client(server)
    c.version()
    c.send(b'AUTHENTICATE GSSAPI\r\n')
    for token in sent:
        c.send(blob(token))
        line = c.line()
    ok(line == DENIED, 'a login that is replayed: 300')
    for what, change in (('cut off', lambda t: t[:-1]),
                         ('another octet', lambda t: t[:-5] + bytes(
                             [t[-5] ^ 1]) + t[-4:]),
                         ('nothing', lambda t: b''),
                         ('garbage', lambda t: os.urandom(len(t)))):
        c = Client(server)
        c.version()
        c.send(b'AUTHENTICATE GSSAPI\r\n' + blob(change(sent[0])))
        ok(c.line() == DENIED, 'a token, %s: 300' % what)
    c = Client(server)
    c.version()
    c.send(b'AUTHENTICATE GSSAPI\r\n' + blob(sent[0]))
    c.line()
    c.send(blob(b'more'))
    ok(c.line() == DENIED, 'a step that is none: 300')
    c = Client(server)
    c.version()
    c.send(b'AUTHENTICATE GSSAPI\r\n' + blob(sent[0]))
    c.line()
    c.close()
    ok(login(Client(server), alice).startswith(b'OK'), 'who leaves: no harm')


def names():
    for principal, password, what in (
            ('carol', 'carol-krb', 'a principal that is no user here'),
            ('alice/admin', 'admin-krb', 'an instance'),
            ('alice@OTHER.TEST', 'alice-krb', 'another realm\'s alice')):
        creds = credentials(principal, password)
        try:
            ok(login(Client(server), creds) == DENIED, what + ': 300')
        except gssapi.exceptions.GSSError as e:
            ok(False, '%s: %s' % (what, str(e)[:200]))
    # an RC4 ticket, used by a client that knows nothing better
    creds = credentials('alice', 'alice-krb', 'arcfour-hmac')
    ok(login(Client(server), creds).startswith(b'OK'),
       'an RC4 ticket, but the server chooses a key of AES')
    with open(os.environ['KRB5_CONFIG']) as f:
        text = f.read()
    os.environ['KRB5_CONFIG'] = top + '/krb5.rc4'
    with open(os.environ['KRB5_CONFIG'], 'w') as f:
        f.write(text.replace('aes256-cts', ''))
    try:
        ok(login(Client(server), creds) == DENIED, 'RC4 alone: 300')
    except gssapi.exceptions.GSSError as e:
        ok(False, 'RC4 alone: %s' % str(e)[:200])


def reload_keytab():
    """A new key is there after SIGHUP; a keytab that is none changes none."""
    alice = credentials('alice', 'alice-krb')
    keytab = top + '/tsp.keytab'
    with open(keytab, 'rb') as f:
        old = f.read()
    for what, data, want in (('garbage', b'x' * 100, b'OK'),
                             ('the old one', old, b'OK'),
                             ('a big one', b'\5\2' + b'\0' * 70000, b'OK')):
        with open(keytab, 'wb') as f:
            f.write(data)
        os.kill(int(pid), 1)
        time.sleep(0.5)
        ok(login(Client(server), alice).startswith(want),
           'keytab anew, %s' % what)


def quiet():
    with open(top + '/server.log') as f:
        text = f.read()
    ok('not a keytab file' in text, 'a keytab that is none is told of')
    ok('mutual' in text, 'why a login fails, in the verbose log')
    rows = json.loads(subprocess.check_output(
        [dstmctl, '-s', control, '-j', 'show', 'processes']))
    ok(all(p['restarts'] == 0 for p in rows if p['name'] != 'priv'),
       'no process has died')


alice = credentials('alice', 'alice-krb')
good(alice)
cyrus()
bad(alice)
reload_keytab()
names()
quiet()
print('1..%d' % count)
sys.exit(failed > 0)
