#!/usr/bin/env python3
"""Every process tries what its sandbox must stop. TAP, for prove(1).

Needs root, and the variant `probe' of the build. Each probe (dstmd/probe.c,
priv_probe.c) is first made without a sandbox, as root: there it must work,
or its failure in the sandbox would show nothing.

environment: B, the build's folder (build/probe)
"""
import ctypes
import fcntl
import os
import re
import select
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time

B = os.path.abspath(os.environ.get('B', 'build/probe'))
HERE = os.path.join(B, 'regress/sandbox')
CHILD = os.path.join(HERE, 'probe_child')
PRIV = os.path.join(HERE, 'priv_probe')
UID = 64001             # nobody on this host, nor in a name service
CLONE_NEWNS = 0x00020000
CLONE_NEWUTS = 0x04000000
CLONE_NEWNET = 0x40000000
MS_REC = 1 << 14
MS_PRIVATE = 1 << 18
SIOCSIFFLAGS = 0x8914
IFF_UP = 1

PROCS = ['session', 'parser', 'auth', 'store', 'tunnel']
QUEUE = 'tunnel4'       # of several tunnel processes, one that is not the first

# What comes of each probe, by process. `kill' is SIGSYS, which ends the
# process; `ok' is a call that it may make; else the error that it gets.
# auth's calls that name a file are not made, but do not kill, as libkrb5 looks
# for files at each login. priv's kill-parent is refused by Landlock 6 and later.
TABLE = '''
probe           session parser  auth    store   tunnel  priv
open            kill    kill    ENOENT  ENOENT  kill    EACCES
write-file      kill    kill    ENOENT  ok      kill    EACCES
symlink         kill    kill    kill    kill    kill    kill
mkdir           kill    kill    kill    kill    kill    kill
outside-read    kill    kill    ENOENT  EACCES  kill    EACCES
outside-list    kill    kill    ENOENT  EACCES  kill    EACCES
outside-write   kill    kill    ENOENT  EACCES  kill    EACCES
socket          kill    kill    kill    kill    kill    ok
socket-unix     kill    kill    kill    kill    kill    ok
socketpair      kill    kill    kill    kill    kill    ok
connect         kill    kill    kill    kill    kill    ok
connect-tcp     kill    kill    kill    kill    kill    ok
bind            kill    kill    kill    kill    kill    ok
listen          kill    kill    kill    kill    kill    ok
sendto          kill    kill    kill    kill    ok      ok
setsockopt      kill    kill    kill    kill    kill    ok
tiocsti         kill    kill    kill    kill    kill    kill
exec            kill    kill    kill    kill    kill    EACCES
fork            kill    kill    kill    kill    kill    ok
ptrace          kill    kill    kill    kill    kill    kill
mmap-exec       kill    kill    kill    kill    kill    kill
mprotect-exec   kill    kill    kill    kill    kill    kill
rlimit          kill    kill    kill    kill    kill    ok
memory          ENOMEM  ENOMEM  ENOMEM  ENOMEM  ENOMEM  ok
readmem         kill    kill    kill    kill    kill    kill
kill-parent     kill    kill    kill    kill    kill    EPERM
tgkill-parent   kill    kill    kill    kill    kill    kill
abort           abort   abort   abort   abort   abort   abort
setuid          kill    kill    kill    kill    kill    ok
chroot          kill    kill    kill    kill    kill    ok
unshare         kill    kill    kill    kill    kill    kill
mount           kill    kill    kill    kill    kill    kill
keyctl          kill    kill    kill    kill    kill    kill
bpf             kill    kill    kill    kill    kill    kill
bpf-load        kill    kill    kill    kill    kill    kill
io-uring        kill    kill    kill    kill    kill    kill
foreign-fd      kill    kill    kill    kill    kill    kill
prctl           kill    kill    kill    kill    kill    ok
arch            kill    kill    kill    kill    kill    kill
'''

# The parent alone: priv_probe's own.
PRIV_TABLE = '''
read-shadow     EACCES
write-etc       EACCES
create-etc      EACCES
read-proc       EACCES
read-own        ok
create-own      ok
remove-own      ok
read-foreign    EACCES
chmod           kill
exec-other      EACCES
sock-packet     kill
sock-inet       kill
sock-raw        ok
sock-route      ok
sock-netfilter  kill
tun             ok
module          kill
reboot          kill
swapon          kill
setns           kill
userns          kill
thread          kill
raise-cap       EPERM
children        ok
kill-child      ok
'''

# Bits of <linux/capability.h>: KILL, SETGID, SETUID, NET_ADMIN, NET_RAW,
# SYS_CHROOT.
PRIV_CAPS = 1 << 5 | 1 << 6 | 1 << 7 | 1 << 12 | 1 << 13 | 1 << 18

count = failed = 0


def report(ok, what, note=''):
    global count, failed
    count += 1
    failed += not ok
    print('%sok %d - %s' % ('' if ok else 'not ', count, what))
    if not ok and note:
        print('# ' + note.replace('\n', '\n# '))
    sys.stdout.flush()
    return ok


def skip(what, why):
    global count
    count += 1
    print('ok %d - %s # SKIP %s' % (count, what, why))


def outcome(status, text):
    """One word for what came of a probe."""
    if status == -signal.SIGSYS:
        return 'kill'
    if status == -signal.SIGABRT:
        return 'abort'
    if status != 0:
        return 'status %d: %s' % (status, text.strip())
    m = re.search(r'^probe \S+: (allowed|denied errno (\d+))$', text, re.M)
    if m is None:
        return 'nothing said: ' + text.strip()
    if m.group(1) == 'allowed':
        return 'ok'
    return os_error(int(m.group(2)))


def os_error(number):
    import errno
    return errno.errorcode.get(number, 'errno %d' % number)


def apart():
    """Own name spaces: what a control does, it does not do to the host."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(CLONE_NEWNS | CLONE_NEWUTS | CLONE_NEWNET) != 0:
        os.write(2, b'cannot unshare\n')
        os._exit(125)
    # private, or mounts would reach the host all the same
    libc.mount(None, b'/', None, MS_PRIVATE | MS_REC, None)
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    fcntl.ioctl(s, SIOCSIFFLAGS, struct.pack('16sh22x', b'lo', IFF_UP))
    s.close()


class Dirs:
    def __init__(self):
        self.top = tempfile.mkdtemp(prefix='dstmtest-%d-' % os.getpid())
        os.chmod(self.top, 0o755)
        self.empty = self.sub('empty', 0o555)
        self.store = self.sub('store', 0o700, UID)
        self.cwd = self.sub('cwd', 0o755)
        self.own = self.sub('own', 0o755)
        self.sub('own/empty', 0o555)
        self.sub('own/store', 0o700, UID)
        for name, uid in (('secret', 0), ('removed', 0), ('foreign', UID)):
            path = os.path.join(self.own, name)
            with open(path, 'w') as f:
                f.write('x')
            os.chmod(path, 0o600)
            os.chown(path, uid, uid)

    def sub(self, name, mode, owner=0):
        path = os.path.join(self.top, name)
        os.mkdir(path)
        os.chmod(path, mode)
        os.chown(path, owner, owner)
        return path

    def remove(self):
        shutil.rmtree(self.top)


class Child:
    """A child as the parent starts it, link on 3, root on 4."""

    def __init__(self, binary, proc, probe=None, root=None, uid=UID, gid=UID,
                 log='stderr', args=None, link=True):
        self.link, theirs = socket.socketpair()
        if root is None:
            root = dirs.store if proc == 'store' else dirs.empty
        rootfd = os.open(root, os.O_PATH | os.O_DIRECTORY) if root else -1
        if args is None:
            args = [str(uid), str(gid), log, '0'] + ([probe] if probe else [])

        def setup():
            apart()
            os.setgroups([0, UID + 1])      # to be dropped
            a = fcntl.fcntl(theirs.fileno(), fcntl.F_DUPFD_CLOEXEC, 50)
            b = -1
            if rootfd != -1:
                b = fcntl.fcntl(rootfd, fcntl.F_DUPFD_CLOEXEC, 50)
            os.closerange(3, 50)
            if link:
                os.dup2(a, 3)
            if b != -1:
                os.dup2(b, 4)

        self.p = subprocess.Popen([proc] + args, executable=binary,
                                  stdin=subprocess.DEVNULL,
                                  stdout=subprocess.DEVNULL,
                                  stderr=subprocess.PIPE, close_fds=False,
                                  preexec_fn=setup, env={}, cwd=dirs.cwd)
        theirs.close()
        if rootfd != -1:
            os.close(rootfd)

    def end(self):
        """Status and standard error, once it has ended."""
        try:
            text = self.p.communicate(timeout=20)[1]
        except subprocess.TimeoutExpired:
            self.p.kill()
            text = b'does not end: ' + (self.p.communicate()[1] or b'')
        self.link.close()
        return self.p.returncode, text.decode('utf-8', 'replace')


def run_priv(probe):
    p = subprocess.Popen([PRIV, probe, dirs.own, CHILD], cwd=dirs.cwd,
                         stdin=subprocess.DEVNULL, stderr=subprocess.PIPE,
                         preexec_fn=apart)
    try:
        text = p.communicate(timeout=30)[1]
    except subprocess.TimeoutExpired:
        p.kill()
        text = b'does not end'
    return p.returncode, text.decode('utf-8', 'replace')


def landlock():
    """Its version, or 0."""
    libc = ctypes.CDLL(None, use_errno=True)
    return max(0, libc.syscall(444, None, 0, 1))


def clean_cwd():
    for name in os.listdir(dirs.cwd):
        path = os.path.join(dirs.cwd, name)
        if os.path.isdir(path) and not os.path.islink(path):
            os.rmdir(path)
        else:
            os.unlink(path)


# What a kernel may lack: there is nothing to show.
ABSENT = ('ENOSYS', 'EOPNOTSUPP')
MAY_LACK = ('keyctl', 'bpf', 'bpf-load', 'io-uring', 'foreign-fd', 'module',
            'swapon', 'arch')
# A kernel without 32-bit calls: the instruction itself is a fault, which comes
# before any filter.
NO_32BIT = 'status -11: '


def control(probe, result):
    """Does the probe work where no sandbox is?"""
    what = 'control: %s works without a sandbox' % probe
    want = 'abort' if probe == 'abort' else 'ok'
    absent = result in ABSENT or (probe == 'arch' and result == NO_32BIT)
    if absent and probe in MAY_LACK:
        skip(what, 'this kernel has no such call')
    else:
        report(result == want, what, 'outcome: ' + result)
    clean_cwd()
    return not absent or probe not in MAY_LACK


def children(rows):
    binaries = [(CHILD, 'probe_child')]
    real = os.path.join(B, 'libexec/dstmd')
    for probe in list(rows):
        result = outcome(*Child(CHILD, 'parser', 'off:' + probe).end())
        if not control(probe, result) and result == NO_32BIT:
            del rows[probe]
    for proc in PROCS + [QUEUE]:
        kind = proc.rstrip('4')
        for binary in (CHILD, os.path.join(real, kind)):
            name = 'probe_child as ' + proc if binary == CHILD else proc
            if not os.path.exists(binary):
                skip(name, 'not built')
                continue
            for probe, want in rows.items():
                got = outcome(*Child(binary, proc, probe).end())
                report(got == want[kind], '%s: %s: %s' %
                       (name, probe, want[kind]), 'outcome: ' + got)


def parent(rows):
    for probe, want in rows.items():
        if probe not in COMMON:
            control(probe, outcome(*run_priv('off:' + probe)))
        touch(os.path.join(dirs.own, 'removed'))
        status, text = run_priv(probe)
        got = outcome(status, text)
        if probe == 'kill-parent' and landlock() < 6:
            want = 'ok'
        report(got == want, 'priv: %s: %s' % (probe, want),
               'outcome: %s\n%s' % (got, text))


def touch(path):
    with open(path, 'w'):
        pass


def parent_caps():
    status, text = run_priv('caps')
    m = re.match(r'prm (\w+) eff (\w+) inh (\w+) bnd (\w+) nnp (\d)$', text,
                 re.M)
    if not report(m is not None and status == 0, 'priv: tells its state',
                  text):
        return
    for i, name, want in ((1, 'permitted', PRIV_CAPS),
                          (2, 'effective', PRIV_CAPS), (3, 'inheritable', 0),
                          (4, 'bounding', PRIV_CAPS)):
        report(int(m.group(i), 16) == want, 'priv: capabilities: ' + name,
               text)
    report(m.group(5) == '1', 'priv: no_new_privs', text)


def proc_status(pid):
    with open('/proc/%d/status' % pid) as f:
        return dict(line.rstrip('\n').split(':\t', 1) for line in f
                    if ':\t' in line)


def limits(pid):
    result = {}
    with open('/proc/%d/limits' % pid) as f:
        for line in f:
            m = re.match(r'(Max [a-z ]*?)\s{2,}(\S+)\s+(\S+)', line)
            if m:
                result[m.group(1)] = (m.group(2), m.group(3))
    return result


def wait_line(pipe, text):
    got = b''
    end = time.monotonic() + 20
    while text not in got and time.monotonic() < end:
        if select.select([pipe], [], [], 1)[0]:
            piece = os.read(pipe.fileno(), 4096)
            if piece == b'':
                break
            got += piece
    return got


def state(binary, proc):
    """A sandboxed process, seen from outside."""
    c = Child(binary, proc, 'pause')
    text = wait_line(c.p.stderr, b'waiting')
    if not report(b'waiting' in text, proc + ': waits to be looked at',
                  text.decode()):
        c.link.close()
        c.end()
        return
    pid = c.p.pid
    st = proc_status(pid)
    user = '\t'.join([str(UID)] * 4)
    zero = '0' * 16
    for field, want in (('Uid', user), ('Gid', user), ('Groups', ''),
                        ('CapInh', zero), ('CapPrm', zero), ('CapEff', zero),
                        ('CapAmb', zero), ('NoNewPrivs', '1'),
                        ('Seccomp', '2'), ('Threads', '1'),
                        ('Name', 'dstmd: ' + proc)):
        report(st[field].strip() == want, '%s: %s: %s' %
               (proc, field, want or 'none'), 'is ' + st[field])
    fds = sorted(int(n) for n in os.listdir('/proc/%d/fd' % pid))
    report(fds == [0, 1, 2, 3], proc + ': descriptors 0 to 3', str(fds))
    null = [os.readlink('/proc/%d/fd/%d' % (pid, n)) for n in (0, 1)]
    report(null == ['/dev/null'] * 2, proc + ': 0 and 1 are /dev/null',
           str(null))
    root = os.stat('/proc/%d/root' % pid)
    want = os.stat(dirs.store if proc == 'store' else dirs.empty)
    report((root.st_dev, root.st_ino) == (want.st_dev, want.st_ino),
           proc + ': root directory')
    with open('/proc/%d/cmdline' % pid, 'rb') as f:
        title = f.read().rstrip(b'\0 ')
    report(title == b'dstmd: ' + proc.encode(), proc + ': title',
           repr(title))
    lim = limits(pid)
    for name in ('core file size', 'processes', 'locked memory'):
        report(lim['Max ' + name] == ('0', '0'), '%s: limit of %s' %
               (proc, name), str(lim['Max ' + name]))
    size = lim['Max file size'][0]
    report(size == ('unlimited' if proc == 'store' else '0'),
           proc + ': limit of file size', size)
    report(lim['Max data size'][1] != 'unlimited',
           proc + ': limit of data size')
    c.link.close()
    status, text = c.end()
    report(status == 0, proc + ': ends', text)


MSG_LINK, MSG_VERBOSE = 1, 2


def link():
    """The link of a child: its end, what breaks it, descriptors."""
    for proc in PROCS + [QUEUE]:
        c = Child(CHILD, proc)
        fd = os.open('/dev/null', os.O_RDONLY)
        message = struct.pack('=IIIII4x', 20, MSG_VERBOSE, 1, 0, 7)
        socket.send_fds(c.link, [message], [fd])
        os.close(fd)
        c.link.settimeout(10)
        data, fds, _, _ = socket.recv_fds(c.link, 64, 4)
        report(data == struct.pack('=IIIII4x', 20, MSG_LINK, 1, 0, 7) and
               len(fds) == 1, proc + ': message and descriptor come back',
               repr((data, fds)))
        for fd in fds:
            os.close(fd)
        c.link.close()
        status, text = c.end()
        report(status == 0 and text == '',
               proc + ': ends with its link, quietly', repr((status, text)))

        c = Child(CHILD, proc)
        c.link.sendall(struct.pack('=IIII', 16, 9999, 0, 0))
        status, text = c.end()
        report(status == 1 and text == proc + ': link to the parent: message '
               'type 9999 of 16 octets from priv: not expected from this '
               'process\n', proc + ': a broken link ends it, with a log line',
               repr((status, text)))

    c = Child(CHILD, 'parser', log='pipe')
    c.link.sendall(b'x' * 16)
    status, text = c.end()
    report(status == 1 and text.startswith('<4>parser: link to the parent: '),
           'log to a pipe has priorities', repr((status, text)))


def refusals():
    """Starts that must fail, before anything else is done."""
    writable = dirs.sub('writable', 0o777)
    mine = dirs.sub('mine', 0o555, UID)
    for what, kind, want in (
            ('uid 0', {'uid': 0}, 'never root'),
            ('gid 0', {'gid': 0}, 'never root'),
            ('a uid that is no number', {'uid': '1x'}, 'never root'),
            ('the uid that means no change', {'uid': 2**32 - 1},
             'never root'),
            ('no arguments', {'args': []}, 'started by dstmd'),
            ('too many arguments', {'args': ['1'] * 6}, 'started by dstmd'),
            ('no link', {'link': False}, 'no link'),
            ('no root directory', {'root': ''}, 'root directory'),
            ('a root directory that all may write', {'root': writable},
             'may write'),
            ('a root directory of its own', {'root': mine}, 'may write')):
        c = Child(CHILD, 'parser', **kind)
        c.link.close()
        status, text = c.end()
        report(status == 1 and want in text, 'refused: ' + what,
               repr((status, text)))


def main():
    global dirs, COMMON
    if os.geteuid() != 0:
        print('1..0 # SKIP needs root')
        return 0
    for binary in (CHILD, PRIV):
        if not os.path.exists(binary):
            print('Bail out! %s is not built: make VARIANT=probe' % binary)
            return 1
    lines = [line.split() for line in TABLE.strip().split('\n')]
    rows = {line[0]: dict(zip(lines[0][1:], line[1:])) for line in lines[1:]}
    COMMON = set(rows)
    dirs = Dirs()
    try:
        children(rows)
        for proc in PROCS + [QUEUE]:
            state(CHILD, proc)
        link()
        refusals()
        parent({probe: want['priv'] for probe, want in rows.items()})
        parent(dict(line.split() for line in PRIV_TABLE.strip().split('\n')))
        parent_caps()
    finally:
        dirs.remove()
    print('1..%d' % count)
    return 1 if failed else 0


sys.exit(main())
