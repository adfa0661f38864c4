"""Run by fuzz.t in the namespace of a node: TAP. Sessions of a client that
knows how to log in and what to ask, each with mistakes at random places."""
import os
import random
import socket
import sys
import threading
import time

from tap import Ctl, end, ok, wait
from tsp import Client

dstmctl, folder, server, tep, node = sys.argv[1:]
SESSIONS = int(os.environ.get('DSTMD_SESSIONS', '2000'))
SEED = int(os.environ.get('DSTMD_SEED', '0')) or \
    int.from_bytes(os.urandom(4), 'big')
THREADS = 24
HOSTS = ('server', 'tep', 'node1')
CORPUS = [os.path.join(root, f) for name in ('tsp', 'xml', 'sasl')
          for root, _, files in os.walk('fuzz/corpus/' + name) for f in files]
WORDS = [b'VERSION=2.0.0\r\n', b'VERSION=1.0\r\n', b'\r\n', b'\n', b'\0',
         b'AUTHENTICATE ANONYMOUS\r\n', b'AUTHENTICATE PLAIN\r\n',
         b'Content-length: 0\r\n', b'Content-length: 8192\r\n',
         b'Content-length: 99999999999\r\n', b'Content-length: -1\r\n',
         b'<tunnel action="list" type="v4v6"/>', b'<!DOCTYPE a []>', b'&amp;',
         b'<?xml version="1.0" encoding="ISO-2022-KR"?>', b'</tunnel>',
         b'200 Success\r\n', b'<client>' * 40, b'\xff' * 300, b'A' * 9000,
         b'=', b'biwsbj0=\r\n', b' lifetime="4294967296"', b'0.0.0.0', b'::']
ctls = {h: Ctl(dstmctl, '%s/%s.sock' % (folder, h)) for h in HOSTS}


def mutated(rnd, data):
    """With some mistakes in it."""
    data = bytearray(data)
    for i in range(rnd.choice((1, 1, 1, 2, 4, 16))):
        at = rnd.randrange(len(data) + 1)
        n = rnd.choice((1, 1, 2, 8, 64))
        what = rnd.randrange(6)
        if what == 0 and at < len(data):
            data[at] ^= 1 << rnd.randrange(8)
        elif what == 1:
            del data[at:at + n]
        elif what == 2:
            data[at:at] = data[at:at + n] * rnd.choice((1, 2, 50))
        elif what == 3:
            data[at:at] = rnd.choice(WORDS)
        elif what == 4:
            data[at:at + n] = rnd.randbytes(n)
        else:
            with open(rnd.choice(CORPUS), 'rb') as f:
                piece = f.read(4000)
            cut = rnd.randrange(len(piece) + 1)
            data[at:at + n] = piece[cut:cut + rnd.choice((16, 200, 4000))]
    return bytes(data)


class Wrong(Client):
    """A client that sends some of it wrong, and cuts it anyhow."""

    def __init__(self, rnd, host):
        self.rnd = rnd
        self.often = rnd.choice((0, 0.1, 0.3, 1))
        super().__init__(host, timeout=0.5)

    def send(self, data):
        if self.rnd.random() < self.often:
            data = mutated(self.rnd, data)
        if self.rnd.random() < 0.3:
            for i in range(self.rnd.randrange(1, 5)):
                at = self.rnd.randrange(len(data) + 1)
                self.sock.sendall(data[:at])
                data = data[at:]
        self.sock.sendall(data)

    def leave(self):
        """With a FIN, a RST, or half of it first."""
        what = self.rnd.randrange(4)
        if what == 0:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER,
                                 b'\1\0\0\0\0\0\0\0')
        elif what == 1:
            self.sock.shutdown(socket.SHUT_WR)
        self.close()


def at_server(rnd, c):
    version = rnd.choice(('1.0', '2.0.0', '2.0.2'))
    rnd.choice((lambda: c.anonymous(version),
                lambda: c.scram('bob', 'bob-password', version),
                lambda: c.digest('bob', 'bob-password', version),
                lambda: c.plain('bob', 'bob-password', version)))()
    for i in range(rnd.randrange(1, 6)):
        c.ask(rnd.choice(('create', 'create', 'delete', 'info', 'list',
                          'accept', 'reject')),
              v6=rnd.choice((c.address, c.address, None, node)),
              v4=rnd.choice((None, None, '198.51.100.20', '224.0.0.1')),
              lifetime=rnd.choice((None, 0, 2, 4294967295)))
        if rnd.random() < 0.7:
            c.reply()


def at_tep(rnd, c):
    c.scram('dstm2', 'dstm2-password')
    for i in range(rnd.randrange(1, 6)):
        c.ask(rnd.choice(('create', 'delete', 'info', 'list')),
              v6=rnd.choice((c.address, '2001:db8::1', '::', None)),
              v4=rnd.choice(('203.0.113.1', '203.0.113.2', None,
                             '198.51.100.20')),     # another server's
              lifetime=rnd.choice((None, 1, 2, 60)))
        if rnd.random() < 0.7:
            c.reply()


def at_node(rnd, c):
    ends = socket.inet_pton(socket.AF_INET6, c.address) + \
        socket.inet_pton(socket.AF_INET6, node)
    c.scram('dstm1', 'call-password', mech='SCRAM-SHA-256-PLUS',
            authzid='dstm1+reverse', binding=('dstmd-call', ends))
    c.create()


KINDS = ((server, at_server), (server, at_server), (tep, at_tep),
         (node, at_node))
counts = {'sessions': 0, 'answered': 0}
lock = threading.Lock()


def session(number):
    """One by its number: the seed and that say what it does."""
    rnd = random.Random(SEED * 1000003 + number)
    host, does = rnd.choice(KINDS)
    try:
        c = Wrong(rnd, host)
    except OSError:
        return
    got = 0
    try:
        does(rnd, c)
    except Exception:           # what an honest client would not accept
        pass
    try:
        got = bool(c.buf) or bool(c.sock.recv(100))
    except OSError:
        pass
    c.leave()
    with lock:
        counts['sessions'] += 1
        counts['answered'] += bool(got)


def worker(first):
    for number in range(first, SESSIONS, THREADS):
        try:
            session(number)
        except OSError:
            pass


def honest():
    """Somebody who makes no mistakes, all the time."""
    while not done.is_set():
        begin = time.monotonic()
        c = Client(server)
        try:
            if not c.anonymous().startswith(b'OK'):
                bad.append('not logged in')
            # A wrong one of the same host may have done the same.
            r = c.request('info', v6=c.address)
            if r.code not in (200, 308):
                bad.append('%d' % r.code)
        except Exception as e:
            bad.append(repr(e))
        c.close()
        slowest.append(time.monotonic() - begin)
        done.wait(0.05)


def processes():
    return {(h, p['name']): (p['pid'], p['restarts']) for h in HOSTS
            for p in ctls[h].show('processes')}


print('# seed %d' % SEED)
before = processes()
done, bad, slowest = threading.Event(), [], []
watch = threading.Thread(target=honest)
watch.start()
threads = [threading.Thread(target=worker, args=(i,)) for i in range(THREADS)]
for t in threads:
    t.start()
for t in threads:
    t.join()
done.set()
watch.join()
ok(counts['sessions'] > SESSIONS * 0.9, '%(sessions)d sessions, %(answered)d '
   'of them were said something at their end' % counts)
ok(len(slowest) > 10 and not bad, 'an honest client does not notice: %d '
   'times, %.0f ms at most, %s' % (len(slowest), 1e3 * max(slowest), bad[:3]))
after = processes()
ok(after == before, 'no process has died: %s' %
   [(k, before[k], after.get(k)) for k in before if before[k] != after.get(k)])
for h in HOSTS:
    left = {'server': 1, 'tep': 1, 'node1': 0}[h]
    ok(wait(lambda: len([s for s in ctls[h].show('sessions')
                         if s['user'] in ('bob', 'anonymous')]) == 0, 20) and
       len(ctls[h].show('sessions')) <= left + 1,
       '%s: no connection of theirs is left' % h)
leases = ctls['server'].show('leases')
addresses = [l['address'] for l in leases]
ok(len(addresses) == len(set(addresses)), 'no address twice, of %d' %
   len(addresses))
ok([l['node'] for l in leases if l['user'] == 'alice'] == [node],
   'the lease of the honest node is there')
end()
