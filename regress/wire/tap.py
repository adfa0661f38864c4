"""What the tests of the wire have in common: TAP, and the daemon's view."""
import json
import subprocess
import sys
import time

count = 0
failed = 0


def ok(good, what):
    global count, failed
    count += 1
    if not good:
        failed += 1
    print('%sok %d - %s' % ('' if good else 'not ', count, what), flush=True)


def wait(condition, seconds=10):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.05)
    return False


class Ctl:
    """dstmctl of one daemon."""

    def __init__(self, program, control):
        self.start = [program, '-s', control]

    def show(self, what):
        return json.loads(subprocess.check_output(
            self.start + ['-j', 'show', what]))

    def pid(self, process):
        return next(p['pid'] for p in self.show('processes')
                    if p['name'] == process)


def end():
    print('1..%d' % count)
    sys.exit(failed > 0)
