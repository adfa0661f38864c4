"""Run by clock.t in a node's namespace: TAP.

usage: clock.py NAMESPACES DIRECTORY SBIN SERVER STEP.SO
"""
import os
import signal
import sqlite3
import struct
import sys
import time

from daemon import Daemon
from pinger import Pinger
from tap import end, ok, wait
from tsp import Client

ns, tmp, sbin, server, preload = sys.argv[1:]
HOUR = 3600
FIRST, LAST, QUARANTINE = 10, 19, 2     # as clock.t configures it
step = tmp + '/step'
# The sanitizers want to be the first library, and need not be.
clock = {'LD_PRELOAD': preload, 'DSTMD_STEP': step,
         'ASAN_OPTIONS': 'verify_asan_link_order=0'}
daemon = Daemon('server', ns, tmp, sbin, clock)
node = Daemon('node1', ns, tmp, sbin, clock)


def set_clock(seconds):
    """Of the daemons: so many seconds from the host's."""
    with open(step, 'r+b' if os.path.exists(step) else 'wb') as f:
        f.write(struct.pack('=q', seconds))


def ask(i, op='create', **more):
    c = Client(server, source='2001:db8:12:0:1::%x' % (i + 1))
    line = c.anonymous()
    assert line.startswith(b'OK'), line
    r = c.request(op, v6=c.address, **more)
    c.close()
    return r


def leases():
    return {r['address']: r for r in daemon.ctl.show('leases')}


def bound(address):
    return leases().get(address, {}).get('state') == 'bound'


def about(value, wanted, slack=2):
    return wanted - slack <= value <= wanted + slack


def records():
    """Of the store, whose daemon is not running: address, state, until."""
    db = sqlite3.connect('%s/server.store/dstmd.db' % tmp)
    rows = {'.'.join(str(v4 >> s & 255) for s in (24, 16, 8, 0)):
            (state, until) for v4, state, until in
            db.execute('SELECT v4, state, until FROM leases')}
    db.close()
    return rows


def ends_in_time(i, before, after):
    """A lease of 6 s, and a step while it lives."""
    set_clock(before)
    r = ask(i, lifetime=6)
    begin = time.monotonic()
    set_clock(after)
    since = leases()[r.client_ipv4]['since']
    ok(about(since, time.time() + before, 3),
       'the daemon has the clock that it was given: %+d s' % before)
    info = ask(i, 'info', v4=r.client_ipv4)
    ok(info.code == 200 and about(info.lifetime, 6),
       '%+d s: a lease has the time that it had, %d s' %
       (after - before, info.lifetime))
    early = not wait(lambda: not bound(r.client_ipv4), 4.5)
    ok(early, 'it does not end early')
    wait(lambda: not bound(r.client_ipv4), 10)
    took = time.monotonic() - begin
    ok(about(took, 6, 1.5), 'nor late: after %.1f s' % took)


def running():
    pinger = Pinger(ns + '-node1', '192.0.2.80')
    ok(wait(pinger.runs, 10), 'traffic of a node that renews every few '
       'seconds passes')
    first = ask(0, lifetime=600)
    end_of_first = time.monotonic() + 600
    for i, (before, after) in enumerate(((0, HOUR), (HOUR, -HOUR),
                                         (-HOUR, 0))):
        ends_in_time(1 + i, before, after)
        info = ask(0, 'info')
        ok(info.client_ipv4 == first.client_ipv4 and
           about(info.lifetime, end_of_first - time.monotonic()),
           'a long one has %d s' % info.lifetime)
    pinger.stop()
    lost = len(list(pinger.lost()))
    ok(lost == 0 and pinger.sent > 200, 'of %d packets of the node %d are '
       'lost' % (pinger.sent, lost))
    rows = node.ctl.show('leases')
    ok(rows and rows[0]['renewals'] >= 3, 'it has renewed its lease %d times'
       % (rows[0]['renewals'] if rows else 0))
    return first


def restarted_under(seconds):
    """Ended, and started when the clock has been stepped."""
    daemon.end()
    set_clock(seconds)
    ok(daemon.start(), 'the daemon is started again at %+d s' % seconds)


def same_clock():
    """What is written after a step is right at the next start."""
    set_clock(HOUR)
    long, short = ask(10, lifetime=60), ask(11, lifetime=60)
    ends = time.monotonic() + 60
    ok(ask(11, 'delete', v4=short.client_ipv4).code == 200, 'a lease is given '
       'back')
    daemon.end()
    rows = records()
    state, until = rows[long.client_ipv4]
    left = until - (time.time() + HOUR)
    ok(state == 1 and about(left, ends - time.monotonic()),
       'the record is right by the clock that wrote it: %d s left' % left)
    ok(rows[short.client_ipv4][0] != 1, 'and so is that of the other')
    ok(daemon.start(), 'the daemon is started again by the same clock')
    info = ask(10, 'info')
    ok(info.code == 200 and info.client_ipv4 == long.client_ipv4 and
       about(info.lifetime, ends - time.monotonic()),
       'the lease has what it had, %d s' % info.lifetime)
    ok(not bound(short.client_ipv4), 'and what was given back is not back')
    return long


def owner_of(address, others):
    """The pool is asked for all it has: who gets this one?"""
    got = {i: ask(i) for i in others}
    ok(any(r.code == 306 for r in got.values()), 'the pool is used up')
    return [i for i, r in got.items() if r.code == 200 and
            r.client_ipv4 == address]


def back(long):
    """A clock stepped back makes the rest of a lease longer."""
    restarted_under(0)
    info = ask(10, 'info')
    # Records are in whole seconds: what is loaded ends up to one late.
    ok(info.code == 200 and info.client_ipv4 == long.client_ipv4 and
       HOUR <= info.lifetime <= HOUR + 60 + 1,
       'stepped back: the lease is there, for longer, %d s' % info.lifetime)
    ok(owner_of(long.client_ipv4, range(20, 40)) == [],
       'and nobody else gets its address')
    ok(ask(10, v4=long.client_ipv4, lifetime=60).lifetime == 60,
       'its renewal sets it right')


def forth(long):
    """Stepped forth, leases look over; their owners come first."""
    mine = {i: ask(i, 'info') for i in range(20, 40)}
    mine = {i: r.client_ipv4 for i, r in mine.items() if r.code == 200}
    ok(len(mine) >= 5, '%d leases before' % len(mine))
    restarted_under(2 * HOUR)
    ok(not bound(long.client_ipv4), 'stepped forth: a lease is over')
    same = ask(10, v4=long.client_ipv4, lifetime=60)
    ok(same.code == 200 and same.client_ipv4 == long.client_ipv4,
       'its owner gets the same address again')
    one = next(iter(mine))
    taken = owner_of(mine[one], range(50, 70))
    ok(len(taken) == 1, 'who does not come loses it to another')
    ok(ask(one, v4=mine[one]).code == 308 and ask(taken[0], 'info').code ==
       200, 'and is refused then: it has one owner')
    rows = daemon.ctl.show('leases')
    ok(len({r['address'] for r in rows}) == len(rows), 'as all have')


signal.signal(signal.SIGTERM, lambda *a: sys.exit(1))
try:
    set_clock(0)
    ok(daemon.start(), 'the server starts')
    ok(node.start(), 'a node starts')
    ok(wait(lambda: any(r['state'] == 'bound' for r in
                        node.ctl.show('leases')), 20), 'and has a lease')
    running()
    lease = same_clock()
    back(lease)
    forth(lease)
    node.end()
    daemon.end()
    bad = daemon.complaints() + node.complaints()
    for line in bad:
        print('# ' + line)
    ok(not bad, 'no process ended by itself')
    end()
finally:
    node.end()
    daemon.end()
