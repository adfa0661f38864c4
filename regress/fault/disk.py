"""Run by disk.t in a node's namespace: TAP."""
import os
import re
import signal
import subprocess
import sys

from daemon import Daemon
from tap import end, ok, wait
from tsp import Client, Closed

ns, tmp, sbin, server = sys.argv[1:]
store, memory = tmp + '/server.store', tmp + '/memory'
aside = tmp + '/aside'
daemon = Daemon('server', ns, tmp, sbin)
show = daemon.ctl.show
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
    with open(daemon.log, encoding='utf-8', errors='replace') as f:
        return text in f.read()


def says_read_only():
    """How many times the log has said so far that it is read-only."""
    with open(daemon.log, encoding='utf-8', errors='replace') as f:
        return len(re.findall(r'store: .*read-?only', f.read(), re.I))


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
    def try_it():
        try:
            return ask(i) == 200
        except (Closed, OSError):       # who could answer is not there yet
            return False
    return wait(try_it, 60)


def good():
    for i in range(20):
        ask(i)
    ok(len(granted) == 20, 'twenty leases on a good disk')
    return i


def full(i):
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
    return i


def failing(i):
    """What is below the file system has no room for what it writes."""
    before = len(granted)
    name = fill(memory)
    i, code = until_refused(i + 1)
    ok(code == 530, 'a disk that fails: 530, after %d more leases' %
       (len(granted) - before))
    ok(node(i) not in bound(), 'who was refused has no lease')
    # its writes go to the cache: it is the sync that fails
    ok(logged('disk I/O error') and
       logged('what is on the disk is not known, starting again'),
       'the log says that it was the sync')
    ok(show('sessions') is not None, 'the daemon lives')
    os.remove(name)
    ok(served(i), 'the disk is whole again: the same node is served')
    ok(bound() == granted, 'nothing was lost')
    daemon.kill('store')
    ok(served(i + 1), 'the store is killed, and serves again')
    ok(bound() == granted, 'nothing was lost by that')
    return i + 2


def mount(option):
    """By another mount of it, so that those of the daemon stay as they are."""
    return subprocess.run(['mount', '-o', 'remount,' + option, aside],
                          stderr=subprocess.DEVNULL).returncode == 0


def read_only_store(i):
    """It can be made so only while nobody has a file open for writing."""
    n = says_read_only()
    daemon.kill('store')
    ok(wait(lambda: mount('ro'), 2), 'the store is killed, the disk is made '
       'read-only')
    code = ask(i)
    ok(code == 530, 'the disk is read-only when the store starts: %d' % code)
    # its pauses have grown by now
    ok(wait(lambda: says_read_only() > n, 40), 'the log says so')
    ok(node(i) not in bound(), 'who was refused has no lease')
    ok(bound() == granted, 'the others have theirs')
    ok(mount('rw'), 'it is writable again')
    ok(served(i), 'the same node is served')
    ok(bound() == granted, 'nothing was lost')
    return i + 1


def read_only_start(i):
    daemon.end()
    ok(mount('ro'), 'the daemon ends, the disk is made read-only')
    n = says_read_only()
    daemon.start(0)
    ok(wait(lambda: says_read_only() > n),
       'the daemon is started: the log says that it is read-only')
    ok(wait(lambda: 'priv' in daemon.processes()), 'it lives')
    ok('session' not in daemon.processes(), 'and serves nobody')
    ok(mount('rw'), 'the disk is writable again')
    ok(served(i), 'it serves, without anybody doing anything')
    ok(bound() == granted, 'every lease is back')
    return i + 1


def aborted(i):
    """The kernel itself makes it read-only, as it does after an error."""
    n = says_read_only()
    if not mount('abort'):
        ok(True, 'read-only under way # SKIP this kernel does not abort it')
        return
    i, code = until_refused(i)
    ok(code == 530, 'the kernel makes it read-only: %d' % code)
    ok(wait(lambda: says_read_only() > n), 'the log says so')
    ok(node(i) not in bound() and bound() == granted,
       'who was refused has no lease, the others have theirs')


signal.signal(signal.SIGTERM, lambda *a: sys.exit(1))
try:
    ok(daemon.start(), 'the daemon starts')
    n = good()
    n = full(n)
    n = failing(n)
    n = read_only_store(n)
    n = read_only_start(n)
    aborted(n)
    end()
finally:
    daemon.end()
