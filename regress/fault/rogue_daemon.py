"""A daemon of a test's own, whose programs may be replaced by rogue.c."""
import os
import re
import shutil
import signal
import subprocess
import time

from tap import Ctl, wait


def kib(pid, field):
    """Of /proc/PID/status."""
    with open('/proc/%d/status' % pid) as f:
        return next(int(x.split()[1]) for x in f
                    if x.startswith(field + ':'))


ROLES = ['session', 'parser', 'auth', 'store', 'tunnel']


class Daemon:
    """On a host of regress/domain/lib.sh: build, T, NS, its name."""

    def __init__(self, build, t, ns, host, name=None, roles=ROLES):
        self.name = name or host
        self.t, self.build = t, build
        self.own = os.path.join(t, self.name + '.libexec')
        self.log_file = os.path.join(t, self.name + '.log')
        self.enter = ['ip', 'netns', 'exec', '%s-%s' % (ns, host)]
        self.ctl = Ctl(os.path.join(build, 'sbin/dstmctl'),
                       os.path.join(t, self.name + '.sock'))
        self.process = None
        libexec = os.path.join(build, 'libexec/dstmd')
        honest = os.path.join(self.own, 'honest')
        os.makedirs(honest)
        for p in os.listdir(libexec):
            shutil.copy2(os.path.join(libexec, p), honest)
            shutil.copy2(os.path.join(build, 'regress/fault/rogue')
                         if p in roles else os.path.join(libexec, p),
                         os.path.join(self.own, p))
        self.libexec = libexec

    def plan(self, *lines):
        """What each role does from its next start on: "role what ..."."""
        path = os.path.join(self.own, 'plan')
        with open(path + '.new', 'w') as f:
            f.write(''.join(x + '\n' for x in lines))
        os.rename(path + '.new', path)

    def start(self):
        with open(self.log_file, 'ab') as log:
            self.process = subprocess.Popen(
                self.enter + ['sh', '-c', 'mount --bind "$1" "$2" && '
                              'exec "$3" -d -f "$4"', 'sh', self.own,
                              self.libexec,
                              os.path.join(self.build, 'sbin/dstmd'),
                              os.path.join(self.t, self.name + '.conf')],
                stdout=log, stderr=log)
        if wait(lambda: self.answers() or self.process.poll() is not None,
                20) and self.process.poll() is None:
            return True
        with open(self.log_file, errors='replace') as log:
            print(''.join('# ' + x for x in log.readlines()[-20:]))
        return False

    def end(self):
        if self.process is None:
            return
        self.process.terminate()
        try:
            self.process.wait(15)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process = None

    def answers(self):
        r = subprocess.run(self.ctl.start + ['-j', 'show', 'processes'],
                           stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        return r.returncode == 0

    def pid(self, role):
        """0 while there is none."""
        return self.ctl.pid(role)

    def restarts(self, role):
        return next(p['restarts'] for p in self.ctl.show('processes')
                    if p['name'] == role)

    def up(self, role, old):
        pid = self.pid(role)
        return pid != 0 and pid != old

    def kill(self, role):
        """Replaces it, by what is planned."""
        old = self.pid(role)
        if old:
            os.kill(old, signal.SIGKILL)
        return wait(lambda: self.up(role, old), 30)

    def logged(self, pattern, start=0):
        with open(self.log_file, encoding='utf-8', errors='replace') as f:
            f.seek(start)
            return re.search(pattern, f.read()) is not None

    def log_size(self):
        return os.path.getsize(self.log_file)

    def slowest(self, until, seconds=30):
        """Asks again and again until that holds: the slowest answer, s."""
        worst, end = 0, time.monotonic() + seconds
        while time.monotonic() < end:
            begin = time.monotonic()
            self.ctl.show('processes')
            worst = max(worst, time.monotonic() - begin)
            if until():
                return worst
        return float('inf')
