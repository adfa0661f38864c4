"""Run by disk.t in a node's namespace: TAP."""
import os
import signal
import sys

from tap import Ctl, end, ok, wait
from tsp import Client

server, dstmctl, control, store, log, memory = sys.argv[1:]
show = Ctl(dstmctl, control).show
granted = {}            # address of a node: its lease, said to be durable
MANY = 4000


def node(i):
    return '2001:db8:11:0:1::%x' % (i + 1)


def ask(i):
    c = Client(server, source=node(i))
    line = c.anonymous()
    assert line.startswith(b'OK'), line
    r = c.create()
    c.close()
    if r.code == 200:
        granted[node(i)] = r.client_ipv4
    return r.code


def logged(text):
    with open(log, encoding='utf-8', errors='replace') as f:
        return text in f.read()


def bound():
    return {l['node']: l['address'] for l in show('leases')
            if l['state'] == 'bound'}


def fill(directory):
    """All of a file system, to the last octet."""
    name = os.path.join(directory, 'filler')
    fd = os.open(name, os.O_WRONLY | os.O_CREAT, 0o600)
    for size in (1 << 16, 1 << 10, 1):
        try:
            while True:
                os.write(fd, bytes(size))
        except OSError:
            pass
    os.close(fd)
    return name


def until_refused(start):
    """New nodes come until one is refused: its number and the code."""
    for i in range(start, start + MANY):
        code = ask(i)
        if code != 200:
            return i, code
    return start + MANY, 200


def served(i):
    return wait(lambda: ask(i) == 200, 60)


i = 0
for i in range(20):
    ask(i)
ok(len(granted) == 20, 'twenty leases on a good disk')

# Full
name = fill(store)
i, code = until_refused(i + 1)
ok(code == 530, 'a full disk: 530, after %d more leases' %
   (len(granted) - 20))
ok(logged('full'), 'the log says that it is full')
ok(node(i) not in bound(), 'who was refused has no lease')
ok(bound() == granted, 'who was not has his')
ok(ask(0) in (200, 530), 'who has a lease is answered')
os.remove(name)
ok(served(i), 'there is room again: the same node is served')
ok(bound() == granted, 'nothing was lost')

# Failing: what is below the file system has no room for what it writes.
before = len(granted)
name = fill(memory)
i, code = until_refused(i + 1)
ok(code == 530, 'a disk that fails: 530, after %d more leases' %
   (len(granted) - before))
ok(node(i) not in bound(), 'who was refused has no lease')
ok(logged('disk I/O error'), 'the log says what failed')
ok(show('sessions') is not None, 'the daemon lives')
os.remove(name)
ok(served(i), 'the disk is whole again: the same node is served')
ok(bound() == granted, 'nothing was lost')
os.kill(Ctl(dstmctl, control).pid('store'), signal.SIGKILL)
ok(served(i + 1), 'the store is killed, and serves again')
ok(bound() == granted, 'nothing was lost by that')
end()
