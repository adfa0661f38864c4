"""What clients were told, exactly: who surely has which address, and when.

A request without an answer may have been granted or not. What is not sure is
not held against the daemon; all the rest is. Times are of a clock that does
not step; lifetimes are whole seconds, and a restart knows the time to a
second, hence SLACK.
"""
import threading
import time

SLACK = 2.0
LATE = 15.0             # a request that was cut off may still be carried out


class Node:
    """An owner: a user at an address. One thread at a time speaks for it."""

    def __init__(self, user, address):
        self.user, self.address = user, address
        self.state = 'none'     # held: surely; maybe: who knows
        self.v4 = None
        self.lo = self.hi = 0   # its lease ends between these
        self.version = 0        # odd: a request is under way
        self.hold = None

    def sure(self, now):
        """Has it a lease that has not ended by now?"""
        return self.state == 'held' and now < self.lo - SLACK


class Hold:
    """node surely has the address from begin to end."""

    def __init__(self, node, begin, end):
        self.node, self.begin, self.end = node, begin, end


class Books:
    def __init__(self, quarantine):
        self.lock = threading.Lock()
        self.quarantine = quarantine
        self.holds = {}         # address: the holds of it
        self.wrong = []
        self.counts = {}

    def fault(self, node, text):
        self.wrong.append('%s of %s: %s' % (node.address, node.user, text))

    def begin(self, node, op, lifetime):
        """A request is about to be sent."""
        now = time.monotonic()
        with self.lock:
            node.version += 1
            if op == 'create':
                # it may shorten what there is
                node.lo = min(node.lo, now + lifetime)
                if node.hold:
                    node.hold.end = min(node.hold.end, node.lo)
            elif op == 'delete' and node.hold:
                node.hold.end = min(node.hold.end, now)
        return now

    def end(self, node, op, lifetime, begun, reply):
        """Its answer, or None: the connection ended without one."""
        now = time.monotonic()
        code = reply.code if reply else 0
        with self.lock:
            self.counts[op, code] = self.counts.get((op, code), 0) + 1
            if op == 'create':
                self.created(node, lifetime, begun, now, code, reply)
            elif op == 'delete':
                self.deleted(node, begun, now, code)
            else:
                self.informed(node, begun, now, code, reply)
            node.version += 1

    def created(self, node, lifetime, begun, now, code, reply):
        was_sure = node.state == 'held' and now < node.lo - SLACK
        if code == 200:
            if was_sure and reply.client_ipv4 != node.v4:
                self.fault(node, 'had %s, is given %s' %
                           (node.v4, reply.client_ipv4))
            if not 1 <= reply.lifetime <= lifetime:
                self.fault(node, 'asked for %d s, has %d' %
                           (lifetime, reply.lifetime))
            self.granted(node, begun, now, reply)
        elif code in (301, 306, 307, 308, 310):
            if was_sure:
                self.fault(node, 'is refused %s, its own, with %d' %
                           (node.v4, code))
            # The state that a request of before left may still change it.
            if node.state == 'held' or now > node.hi:
                self.gone(node)
        else:
            if node.state == 'none':
                node.state, node.v4, node.hi = 'maybe', None, 0
            node.hi = max(node.hi, now + LATE + lifetime)

    def granted(self, node, begun, now, reply):
        v4, hold = reply.client_ipv4, node.hold
        node.state, node.v4 = 'held', v4
        node.lo = begun + reply.lifetime - 1
        node.hi = now + reply.lifetime + 1
        if node.lo <= now:              # over before it was read
            node.hold = None
            return
        for other in self.holds.get(v4, ()):
            if other.node is not node and \
                    now < other.end + self.quarantine - SLACK:
                self.fault(node, 'is given %s, which %s had until %.1f s '
                           'ago' % (v4, other.node.address,
                                    now - other.end))
        if hold and hold.end > begun and hold.v4 == v4:
            hold.end = node.lo
            return
        node.hold = Hold(node, now, node.lo)
        node.hold.v4 = v4
        recent = [h for h in self.holds.get(v4, ()) if h.end > now - 60]
        self.holds[v4] = recent + [node.hold]

    def gone(self, node):
        node.state, node.v4, node.hold = 'none', None, None

    def deleted(self, node, begun, now, code):
        if code == 200:
            self.gone(node)
        elif code == 308:
            if node.sure(now):
                self.fault(node, '%s is not there to give back' % node.v4)
            if node.state == 'held' or now > node.hi:
                self.gone(node)
        elif node.state == 'held' and code != 521:
            node.state, node.hold = 'maybe', None
            node.hi = max(node.hi, now + LATE)

    def informed(self, node, begun, now, code, reply):
        if code == 200 and node.state == 'held':
            if reply.client_ipv4 != node.v4:
                self.fault(node, 'has %s, is told %s' %
                           (node.v4, reply.client_ipv4))
            if begun + reply.lifetime < node.lo - SLACK or \
                    begun + reply.lifetime > node.hi + SLACK:
                self.fault(node, '%s ends in %d s, but between %.1f and %.1f '
                           'was said' % (node.v4, reply.lifetime,
                                         node.lo - now, node.hi - now))
        elif code in (308, 310) and node.sure(now):
            self.fault(node, '%s is lost (%d)' % (node.v4, code))

    # What the daemon shows
    def snapshot(self, nodes):
        with self.lock:
            return [(n, n.version) for n in nodes if n.version % 2 == 0]

    def compare(self, snapshot, rows):
        """Its leases, as shown after the snapshot: how many were sure."""
        now = time.monotonic()
        bound = {(r['user'], r['node']): r['address'] for r in rows
                 if r['state'] == 'bound'}
        seen = [r['address'] for r in rows]
        sure = 0
        with self.lock:
            if len(seen) != len(set(seen)):
                self.wrong.append('an address is shown twice')
            for node, version in snapshot:
                if node.version != version:
                    continue
                has = bound.get((node.user, node.address))
                if node.sure(now):
                    sure += 1
                    if has != node.v4:
                        self.fault(node, 'was told %s, the daemon has %s' %
                                   (node.v4, has))
                elif has and node.state == 'none':
                    self.fault(node, 'is shown to have %s, which it was not '
                               'told or has given back' % has)
                elif has and node.state == 'held' and now > node.hi + 5:
                    self.fault(node, '%s has not ended' % has)
        return sure
