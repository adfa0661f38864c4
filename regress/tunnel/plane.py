"""What the tests of the data plane have in common: the parent of plane.c."""
import os
import pwd
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)),
                                '..', 'wire'))

ns, build, tmp = sys.argv[1:4]
KIND = sys.argv[4:]  # bpf, or nothing: tun
DROPS = ('inner_source', 'outer_source', 'no_lease', 'malformed', 'ecn',
         'queue', 'expired', 'martian', 'too_big', 'rate')


def on(host, *cmd, quiet=True):
    return subprocess.run(('ip', 'netns', 'exec', ns + '-' + host) + cmd,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          text=True, timeout=60)


class Plane:
    def __init__(self, host, kind=tuple(KIND)):
        self.host = host
        self.log = open(os.path.join(tmp, host + '.log'), 'w+')
        user = pwd.getpwnam('_dstmd_tunnel')
        root = os.path.join(tmp, 'empty')
        os.makedirs(root, exist_ok=True)
        self.proc = subprocess.Popen(
            ['ip', 'netns', 'exec', ns + '-' + host,
             build + '/regress/tunnel/plane',
             build + '/libexec/dstmd/tunnel', root, str(user.pw_uid), *kind],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.log,
            text=True)

    def do(self, *words):
        """The lines of the answer; its last one begins with ok or error."""
        self.proc.stdin.write(' '.join(map(str, words)) + '\n')
        self.proc.stdin.flush()
        lines = []
        while True:
            line = self.proc.stdout.readline()
            assert line, 'the plane has ended: ' + self.said()
            lines.append(line.split())
            if lines[-1][0] in ('ok', 'error', 'error:'):
                return lines

    def good(self, *words):
        return self.do(*words)[-1][0] == 'ok'

    def said(self):
        self.log.flush()
        with open(self.log.name) as f:
            return f.read()

    def drops(self, dev=0):
        return dict(zip(DROPS, map(int, self.do('list', dev, 0, 0)[-1][3:])))

    def count(self, dev=0):
        """The entries, each page walked: how many, and how many differ."""
        slot, n, seen = 0, 0, set()
        while True:
            lines = self.do('list', dev, slot, 200)
            if lines[-1][0] != 'ok':
                return None
            n += len(lines) - 1
            seen.update(line[0] for line in lines[:-1])
            slot = int(lines[-1][1])
            if slot == 0:
                return n, len(seen)

    def pid(self):
        return int(self.do('pid')[-1][1])

    def end(self):
        self.proc.stdin.close()
        return self.proc.wait(timeout=20)
