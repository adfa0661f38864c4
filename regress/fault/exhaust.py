"""Run by exhaust.t in a node's namespace: TAP."""
import os
import signal
import subprocess
import sys
import time

from rogue_daemon import kib
from tap import Ctl, end, ok, wait
from tsp import Client, Closed

server, dstmctl, control, log, password_file = sys.argv[1:]
ctl = Ctl(dstmctl, control)
parent = ctl.pid('priv')
with open(password_file) as f:
    password = f.read().strip()
GONE = (Closed, ConnectionError, TimeoutError, ValueError, AssertionError)


def source(i):
    return '2001:db8:11:0:1::%x' % (i + 1)


def login(i, timeout=10):
    """Logged in, or None."""
    c = Client(server, source=source(i), timeout=timeout)
    try:
        if c.anonymous().startswith(b'OK'):
            return c
    except GONE:
        pass
    c.close()
    return None


def ask(i, timeout=10):
    """The address of node i, or the code; None without an answer."""
    c = login(i, timeout)
    if c is None:
        return None
    try:
        r = c.create()
        return r.client_ipv4 if r.code == 200 else r.code
    except GONE:
        return None
    finally:
        c.close()


def served(i=0):
    """A node gets its own address again."""
    return wait(lambda: ask(i) == granted[i], 30)


def bound():
    return {l['node']: l['address'] for l in ctl.show('leases')
            if l['state'] == 'bound'}


def kept(what):
    now = bound()
    ok(now == {source(i): a for i, a in granted.items()},
       what + ': all %d leases are as they were' % len(now))
    ok(ctl.pid('priv') == parent, what + ': the parent lives')


def mark():
    return os.path.getsize(log)


def logged(text, start):
    with open(log, encoding='utf-8', errors='replace') as f:
        f.seek(start)
        return text in f.read()


def cpu(pid):
    """Seconds that a process has computed."""
    with open('/proc/%d/stat' % pid) as f:
        fields = f.read().rsplit(')', 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf('SC_CLK_TCK')


def limits(pid, name):
    """Soft and hard, as text."""
    with open('/proc/%d/limits' % pid) as f:
        return next(x.split()[-3:-1] for x in f if x.startswith('Max ' + name))


def limit(pid, name, soft):
    """Of a running process, by its own user: only that may be allowed."""
    option, word = {'fd': ('--nofile', 'open files'),
                    'data': ('--data', 'data size')}[name]
    with open('/proc/%d/status' % pid) as f:
        ids = {x.split()[0]: int(x.split()[1]) for x in f
               if x.startswith(('Uid:', 'Gid:'))}
    return subprocess.run(
        ['prlimit', '--pid', str(pid), '%s=%s:%s' % (
            option, soft, limits(pid, word)[1])],
        user=ids['Uid:'], group=ids['Gid:'], extra_groups=[],
        stderr=subprocess.DEVNULL).returncode == 0


def quiet(pid, what):
    before = cpu(pid)
    time.sleep(1)                       # what is measured is this second
    used = cpu(pid) - before
    ok(used < 0.3, '%s: it computes %.2f s of a second' % (what, used))


def restarts(role):
    return next(p['restarts'] for p in ctl.show('processes')
                if p['name'] == role)


def pool():
    print('# addresses')
    size = ctl.show('pools')[0]['size']
    for i in range(size):
        granted[i] = ask(i)
    ok(len(set(granted.values())) == size and
       all(isinstance(a, str) for a in granted.values()),
       'all %d addresses are leased, each once' % size)
    ok([ask(size + i) for i in range(5)] == [306] * 5, 'then it is 306')
    ok(ask(7) == granted[7], 'who has one may renew it')
    for i in (3, size - 1):
        c = login(i)
        ok(c.request('delete', v6=c.address, v4=granted[i]).code == 200,
           'one is given back')
        c.close()
        got = []
        wait(lambda: got.append(ask(size + i)) or got[-1] != 306)
        ok(got[-1] == granted[i] and (len(got) > 1 or i != 3),
           'after its quarantine exactly that one is somebody else\'s')
        ok([ask(2 * size + j) for j in range(5)] == [306] * 5,
           'and then it is 306 again')
        granted[size + i] = granted.pop(i)
    row = ctl.show('pools')[0]
    ok(row['bound'] == size and row['free'] == 0, 'the pool is full')
    kept('full pool')


def descriptors_of_session():
    print('# descriptors of session')
    pid = ctl.pid('session')
    inside = [login(i) for i in (0, 1)]
    old = limits(pid, 'open files')[0]
    used = len(os.listdir('/proc/%d/fd' % pid))
    begin = mark()
    ok(limit(pid, 'fd', used + 6), 'session may have 6 more')
    crowd = [Client(server, source=source(50 + i), timeout=10)
             for i in range(20)]
    ok(wait(lambda: logged('descriptors', begin)), 'the log says what is '
       'short, and what to do')
    quiet(pid, 'session')
    ok([c.create().code for c in inside] == [200, 200],
       'who is inside is served')
    ok(ctl.pid('session') == pid, 'session is the same')
    for c in crowd[:18]:
        c.close()
    ok(wait(lambda: login(2, 2) is not None, 15), 'when some have gone, '
       'others are let in')
    limit(pid, 'fd', old)
    for c in crowd[18:] + inside:
        c.close()
    ok(served(), 'with a limit as it was all is well')
    ok(ctl.pid('session') == pid, 'session is the same')
    kept('descriptors of session')


def lowest_free(pid):
    used = {int(n) for n in os.listdir('/proc/%d/fd' % pid)}
    return next(n for n in range(len(used) + 1) if n not in used)


def descriptors_of_parent():
    print('# descriptors of the parent')
    wait(lambda: ctl.show('sessions') == [])
    session = ctl.pid('session')
    inside = login(0)
    old = limits(parent, 'open files')[0]
    begin = mark()
    ok(limit(parent, 'fd', lowest_free(parent)), 'the parent may have none')
    ok(login(1) is None, 'nobody else is let in')
    ok(logged('raise its limit', begin), 'the log says what to do')
    ok(inside.create().code == 200, 'who is inside is served')
    with subprocess.Popen(ctl.start + ['show', 'processes'],
                          stdout=subprocess.DEVNULL) as waits:
        quiet(parent, 'the parent, with dstmctl that waits')
        os.kill(children['parser'], signal.SIGKILL)
        os.kill(children['tunnel'], signal.SIGKILL)
        ok(wait(lambda: logged('cannot start parser', begin) and
                logged('cannot start tunnel', begin)),
           'a process that ends can not be started')
        quiet(parent, 'the parent, with processes to start')
        limit(parent, 'fd', old)
        ok(waits.wait(10) == 0, 'dstmctl is answered, when there are some')
    ok(served(), 'and all is well')
    ok(wait(lambda: all(p['pid'] for p in ctl.show('processes'))),
       'all processes are there')
    ok(ctl.pid('session') == session, 'session is the same')
    inside.close()
    # Where it has few, and needs more: it does not end of that either.
    for role in ('auth', 'tunnel'):
        pid = ctl.pid(role)
        wait(lambda: ctl.show('sessions') == [])
        limit(parent, 'fd', lowest_free(parent) + 3)
        begin = mark()
        os.kill(pid, signal.SIGKILL)
        wait(lambda: logged('starting it again', begin))
        time.sleep(0.5)                 # its first start
        limit(parent, 'fd', old)
        ok(wait(lambda: ctl.pid(role) not in (0, pid), 30) and served(),
           role + ' that starts among few descriptors does at last')
    kept('descriptors of the parent')


class Group:
    """A control group that counts processes, for one process."""

    def __init__(self):
        self.path = None
        for top in ('/sys/fs/cgroup/pids', '/sys/fs/cgroup',
                    '/sys/fs/cgroup/unified'):
            path = os.path.join(top, 'dstmd-test-%d' % os.getpid())
            try:
                os.mkdir(path)
            except OSError:
                continue
            if os.path.exists(os.path.join(path, 'pids.max')):
                self.top, self.path = top, path
                return
            os.rmdir(path)

    def write(self, name, value, directory=None):
        with open(os.path.join(directory or self.path, name), 'w') as f:
            f.write(str(value))

    def end(self):
        def empty():
            with open(os.path.join(self.path, 'cgroup.procs')) as f:
                pids = f.read().split()
            for pid in pids:
                try:
                    self.write('cgroup.procs', pid, self.top)
                except OSError:
                    pass
            try:
                os.rmdir(self.path)
            except OSError:
                return False
            return True
        if self.path:
            wait(empty)


def processes():
    print('# processes')
    group = Group()
    if group.path is None:
        ok(True, 'processes are short # SKIP no control group for pids')
        return
    try:
        group.write('pids.max', 1)
        group.write('cgroup.procs', parent)
        inside = login(0)
        begin = mark()
        os.kill(ctl.pid('auth'), signal.SIGKILL)
        ok(wait(lambda: logged('cannot start auth', begin)),
           'a process that has ended can not be started')
        ok(inside.create().code == 200, 'who is inside is served')
        inside.close()
        quiet(parent, 'the parent')
        group.write('pids.max', 'max')
        ok(served(), 'it is started when that is possible')
    finally:
        group.end()
    kept('processes')


def press(role):
    """Work that needs memory of that process, for some seconds."""
    crowd, finish = [], time.monotonic() + 3
    i = 0
    while time.monotonic() < finish and ctl.pid(role) == children[role]:
        i += 1
        try:
            c = Client(server, source=source(i % 200), timeout=2)
        except OSError:
            break
        crowd.append(c)
        try:
            if role == 'auth':
                c.version()             # a login that is not finished
                c.send(b'AUTHENTICATE SCRAM-SHA-256\r\nbiwsbj1hbGljZSxyPXh4'
                       b'eHh4eHh4eHh4eHh4eHh4\r\n')
                c.line()
                continue
            c.anonymous()
            if role == 'parser':
                c.command('<tunnel action="create" type="v4v6"><client>' +
                          '<address type="ipv6">%s</address>' % c.address +
                          ' ' * 7000 + '</client></tunnel>\r\n')
                c.reply()
            elif role == 'store':
                c.create()
            else:
                c.send(b'Content-length: 8000\r\n' + b' ' * 7000)
        except GONE:
            pass
        if len(crowd) > 300:
            crowd.pop(0).close()
    for c in crowd:
        c.close()


def memory():
    for role in ('session', 'parser', 'auth', 'store'):
        print('# memory of ' + role)
        wait(lambda: ctl.show('sessions') == [])
        pid = children[role] = ctl.pid(role)
        before = restarts(role)
        old = limits(pid, 'data size')[0]
        ok(limit(pid, 'data', (kib(pid, 'VmData') - 64) * 1024),
           role + ' may have no more')
        press(role)
        if ctl.pid(role) == pid:
            limit(pid, 'data', old)
        ok(served(), '%s has no memory, and was started %d times anew: '
           'served' % (role, restarts(role) - before))
        kept('memory of ' + role)


granted = {}
children = {}
pool()
for name in ('parser', 'tunnel'):
    children[name] = ctl.pid(name)
descriptors_of_session()
descriptors_of_parent()
processes()
memory()
end()
