"""Durable grants per second, by the real daemon. Run by bench/run.

usage: grants.py SERVER PASSWORD-FILE STORE-DIRECTORY

The client asks for leases of addresses out of a prefix that its user may
claim. "batched": many connections, requests pipelined. "alone": the peer,
one connection that waits for each answer, so each grant has a sync of its
own. "fdatasync": one record of the same size, appended and synced, by itself:
what the disk gives.
"""
import os
import selectors
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), '../regress/wire'))
from tsp import Client  # noqa: E402

server, password_file, store = sys.argv[1:]
password = open(password_file).read().strip()
CONNS, EACH, ALONE, SYNCS = 60, 800, 500, 500


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


def batched():
    sel = selectors.DefaultSelector()
    n = 1 << 16
    for i in range(CONNS):
        c = login()
        c.out = b''.join(frame(n + k) for k in range(EACH))
        c.tail = b''
        n += EACH
        c.sock.setblocking(False)
        sel.register(c.sock, selectors.EVENT_READ | selectors.EVENT_WRITE, c)
    granted = 0
    begin = time.monotonic()
    while granted < CONNS * EACH:
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
    return granted / (time.monotonic() - begin)


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


disk = fdatasync()
one = alone()
many = batched()
print('%-46s %10s %8s' % ('', 'a second', 'ratio'))
for what, rate in (('append + fdatasync, one record each (the disk)', disk),
                   ('grants, one at a time: a sync each (the peer)', one),
                   ('grants, %d connections, pipelined' % CONNS, many)):
    print('%-46s %10.0f %8.2f' % (what, rate, rate / one))
