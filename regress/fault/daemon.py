"""A daemon in a namespace of its own, which is killed and started again."""
import json
import os
import re
import signal
import subprocess
import time

from tap import Ctl, wait

PAUSE, PAUSE_MAX, STEADY = 0.1, 30, 60  # of priv/child.c, seconds


def alive(pid):
    try:
        with open('/proc/%d/stat' % pid) as f:
            return f.read().rsplit(')', 1)[1].split()[0] not in 'ZX'
    except OSError:
        return False


class Quiet(Ctl):
    """While it does not answer there is nothing to complain about."""

    def show(self, what):
        return json.loads(subprocess.check_output(
            self.start + ['-j', 'show', what], stderr=subprocess.DEVNULL))


class Daemon:
    def __init__(self, host, ns, tmp, sbin, environ=None):
        self.host = host
        self.environ = dict(os.environ, **(environ or {}))
        self.command = ['ip', 'netns', 'exec', '%s-%s' % (ns, host),
                        sbin + '/dstmd', '-d', '-v', '-f',
                        '%s/%s.conf' % (tmp, host)]
        self.log = '%s/%s.log' % (tmp, host)
        self.ctl = Quiet(sbin + '/dstmctl', '%s/%s.sock' % (tmp, host))
        self.process = None
        self.pids = []
        self.pauses, self.since = {}, {}

    def start(self, seconds=15):
        """Is it up within so many?"""
        with open(self.log, 'ab') as log:
            self.process = subprocess.Popen(self.command, stdout=log,
                                            stderr=log, env=self.environ)
        self.pauses, self.since = {}, {}
        if wait(self.is_up, seconds):
            return True
        if seconds > 0:
            print('# %s is not up after %d s:' % (self.host, seconds))
            with open(self.log, encoding='utf-8', errors='replace') as f:
                for line in f.readlines()[-8:]:
                    print('# ' + line.rstrip())
        return False

    def processes(self):
        """By name; {} while it does not answer."""
        try:
            return {p['name']: p['pid'] for p in self.ctl.show('processes')
                    if p['pid'] != 0}
        except (subprocess.CalledProcessError, ValueError):
            return {}

    def is_up(self):
        return 'session' in self.processes()

    def pause(self, name):
        """Before a process is started again, should it end now."""
        if time.monotonic() - self.since.get(name, 0) > STEADY:
            return PAUSE
        return self.pauses.get(name, PAUSE)

    def kill(self, name):
        pause = self.pause(name)
        pid = self.processes().get(name)
        self.pauses[name] = min(2 * pause, PAUSE_MAX)
        self.since[name] = time.monotonic() + pause
        if pid:
            os.kill(pid, signal.SIGKILL)
        return pid

    def is_back(self, name, old):
        return self.processes().get(name, old) != old

    def kill_all(self):
        """All of them, in no order."""
        self.pids = list(self.processes().values())
        for pid in set(self.pids) | {self.process.pid}:
            os.kill(pid, signal.SIGKILL)
        self.process.wait()

    def kill_parent(self):
        self.pids = list(self.processes().values())
        self.process.kill()
        self.process.wait()

    def is_gone(self):
        return not any(alive(pid) for pid in self.pids)

    def complaints(self):
        """Of its log: what nobody did to it."""
        bad = re.compile(r'killed by signal (?!9$)|broke its sandbox|'
                         r'ended with status [^0]|read nothing for')
        with open(self.log, encoding='utf-8', errors='replace') as f:
            return ['%s: %s' % (self.host, line.strip()) for line in f
                    if bad.search(line)]

    def end(self):
        """In order, where it can."""
        if self.process is None or self.process.poll() is not None:
            return
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
