"""Durable grants per second, by the real daemon. Run by bench/run.

usage: grants.py SERVER PASSWORD-FILE STORE-DIRECTORY

The client asks for leases of addresses out of a prefix that its user may
claim. "batched": many connections, requests pipelined. "alone": the peer,
one connection that waits for each answer, so each grant has a sync of its
own. "fdatasync": one record of the same size, appended and synced, by itself:
what the disk gives. "storm": another host connects, as often as it can, all the
while; it shares the processors with the client, as the server does.
"""
import os
import signal
import selectors
import socket
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), '../regress/wire'))
from tsp import PORT, Client  # noqa: E402

server, password_file, store = sys.argv[1:]
password = open(password_file).read().strip()
GRANTS, ALONE, SYNCS = 12000, 500, 500
KNEE = (8, 60, 480)             # connections: below the knee, at it, behind
STRANGER = '2001:db8:11::99'


def frame(n):
    xml = ('<tunnel action="create" type="v4v6"><client><address type="ipv6">'
           '2001:db8:b::%x:%x</address></client></tunnel>' %
           (n >> 16, n & 0xffff)).encode()
    return b'Content-length: %d\r\n' % len(xml) + xml


def login():
    c = Client(server)
    assert c.scram('bench', password).startswith(b'OK')
    return c


def alone():
    c = login()
    begin = time.monotonic()
    for n in range(ALONE):
        c.send(frame(n + 1))
        assert c.frame().startswith(b'200'), 'refused'
    return ALONE / (time.monotonic() - begin)


def batched(conns, n):
    """GRANTS of addresses from n on, over so many connections."""
    sel = selectors.DefaultSelector()
    each = GRANTS // conns
    for i in range(conns):
        c = login()
        c.out = b''.join(frame(n + k) for k in range(each))
        c.tail = b''
        n += each
        c.sock.setblocking(False)
        sel.register(c.sock, selectors.EVENT_READ | selectors.EVENT_WRITE, c)
    granted = 0
    begin = time.monotonic()
    while granted < conns * each:
        for key, events in sel.select(30):
            c = key.data
            if events & selectors.EVENT_WRITE:
                c.out = c.out[c.sock.send(c.out[:65536]):]
                if not c.out:
                    sel.modify(c.sock, selectors.EVENT_READ, c)
            if events & selectors.EVENT_READ:
                data = c.tail + c.sock.recv(262144)
                granted += data.count(b'\r\n200 ')
                assert b'\r\n5' not in data and b'\r\n3' not in data, data
                # a status that is cut in two is counted with its rest
                c.tail = data[-5:]
    rate = granted / (time.monotonic() - begin)
    for key in list(sel.get_map().values()):
        key.data.close()
    return rate


def storm(server):
    """In a process of its own, until it is killed: connects, hears 530."""
    while True:
        try:
            s = socket.create_connection((server, PORT), 1,
                                         source_address=(STRANGER, 0))
            s.settimeout(1)
            s.sendall(b'VERSION=1.0\r\n')
            s.recv(200)
            s.close()
        except OSError:
            pass


def stormed():
    child = os.fork()
    if child == 0:
        storm(server)
    try:
        return batched(KNEE[1], 4 << 16)
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


def fdatasync():
    path = os.path.join(store, 'bench.raw')
    fd = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600)
    record = b'x' * 200
    begin = time.monotonic()
    for n in range(SYNCS):
        os.write(fd, record)
        os.fdatasync(fd)
    rate = SYNCS / (time.monotonic() - begin)
    os.close(fd)
    os.unlink(path)
    return rate


rows = [('append + fdatasync, one record each (the disk)', fdatasync()),
        ('grants, one at a time: a sync each (the peer)', alone())]
rows += [('grants, %d connections, pipelined' % conns,
          batched(conns, (i + 1) << 16)) for i, conns in enumerate(KNEE)]
rows.append(('the same, %d, and a storm of others' % KNEE[1], stormed()))
print('%-46s %10s %8s' % ('', 'a second', 'ratio'))
for what, rate in rows:
    print('%-46s %10.0f %8.2f' % (what, rate, rate / rows[1][1]))
