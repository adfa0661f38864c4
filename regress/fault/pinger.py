"""Packets out of a namespace, a hundred a second: which are lost, and when."""
import re
import signal
import subprocess
import threading

INTERVAL = 0.01


class Pinger:
    def __init__(self, ns, target):
        self.process = subprocess.Popen(
            ['ip', 'netns', 'exec', ns, 'ping', '-D', '-n', '-i',
             str(INTERVAL), target], stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL, text=True)
        self.got = []           # time of the answer, number
        self.twice = 0
        self.thread = threading.Thread(target=self.read, daemon=True)
        self.thread.start()

    def read(self):
        answer = re.compile(r'\[([0-9.]+)\] .* icmp_seq=(\d+) .* time=([0-9.]+)')
        for line in self.process.stdout:
            m = answer.match(line)
            if not m:
                continue
            seq = int(m.group(2))
            if self.got:        # 16 bits
                last = self.got[-1][1]
                seq += (last - seq + 32768) // 65536 * 65536
            sent = float(m.group(1)) - float(m.group(3)) / 1000
            self.got.append((sent, seq))

    def runs(self):
        return len(self.got) > 10

    def stop(self):
        self.process.send_signal(signal.SIGINT)
        self.process.wait()
        self.thread.join(10)
        self.sent = self.got[-1][1] - self.got[0][1] + 1

    def lost(self):
        """When, and how many at that time."""
        answers = sorted({seq: t for t, seq in self.got}.items())
        for (a, ta), (b, tb) in zip(answers, answers[1:]):
            for k in range(1, b - a):
                yield ta + (tb - ta) * k / (b - a), 1
