"""Counts lines of llvm-cov show for fuzz/coverage.

usage: reached.py NAME LEAST MISSED-FILE < "@FILE" and its lines, each file
fuzz/missed has rows "NAME FILE FUNCTION why": that function is not counted.
NAME may be *, for every fuzzer.
"""
import re
import sys

name, least, path = sys.argv[1], float(sys.argv[2]), sys.argv[3]
excuses = {}
for row in open('fuzz/missed'):
    if row.strip() and row[0] not in '#\t ':
        who, file, function = row.split()[:3]
        if who in (name, '*'):
            excuses[file, function] = who == '*'
used = set()
lines = missed = excused = 0
file = function = None
with open(path, 'w') as out:
    for line in sys.stdin:
        if line.startswith('@'):
            file, function = line[1:].strip(), None
            continue
        m = re.match(r' *(\d+)\|([^|]*)\|(.*)', line)
        if not m:
            continue
        number, count, text = m.groups()
        start = re.match(r'([a-z_0-9A-Z]+)\(', text)
        if start:
            function = start.group(1)
        if count.strip():
            if (file, function) in excuses:
                used.add((file, function))
                excused += 1
            else:
                lines += 1
                if count.strip() == '0':
                    missed += 1
                    out.write('%s:%s: %s\n' % (file, number, text))
        if text.startswith('}'):
            function = None
reached = 100 * (lines - missed) / lines if lines else 0
print('%-10s %8d %8d %8d %8.1f%%' % (name, lines, excused, missed, reached))
unknown = [e for e in excuses if e not in used and not excuses[e]]
for e in unknown:
    print('fuzz/missed: there is no %s %s %s' % ((name,) + e))
sys.exit(reached < least or bool(unknown))
