#!/bin/sh
# A TEP that accepts nodes of some prefixes alone: others get no lease, and
# those that had one before that was configured lose it. And one that limits the
# rate of its leases.
set -u
. regress/domain/lib.sh
domain_start
domain_build colocated 2
web_start || die "no web server"
# Plane bpf leaves its map behind when it is killed; it is plane tun where it
# can not be had.
accept_from() {
	{ echo "plane bpf"; conf_server colocated "60 min 5"; } |
	    sed "s,interface \"dstm0\",& accept from $1 ${2:-}," \
	    >"$T/server.conf"
}
accept_from 2001:db8:11::/64
conf_node node1 alice >"$T/node1.conf"
conf_node node2 bob >"$T/node2.conf"
tunnels() {
	[ "$(ctl server -j show tunnels |
	    jq -r '[.[] | select(.address) | .outer] | join(" ")')" = "$1" ]
}

check "the server starts" start server
check "a node outside starts" start node2
check "it is refused with 309" wait_for 15 grep -q \
    'bob at 2001:db8:12::10: create refused with 309' "$T/server.log"
check "and the log says why" grep -q \
    'bob: no TEP of its pools takes a node at 2001:db8:12::10' "$T/server.log"
check "a node within starts" start node1
check "it has a lease" wait_for 15 has_lease node1
check "and the page" fetch node1
a1=$(node_address node1)
refuse "the one outside has none" has_lease node2
check "there is one tunnel" tunnels 2001:db8:11::10

# Of the node within, by the one outside: source and destination of the outer
# packet, source and destination of the inner.
spoof() {
	on node2 python3 - 2001:db8:12::10 "$local6" "$a1" "$web4" <<-'EOT'
	import socket, sys
	src, dst, src4, dst4 = sys.argv[1:]
	inner = (b'\x45\0\0\x1c' + bytes(4) + b'\x40\x11\0\0' +
	    socket.inet_aton(src4) + socket.inet_aton(dst4) + bytes(8))
	s = socket.socket(socket.AF_INET6, socket.SOCK_RAW, 4)
	s.bind((src, 0))
	for i in range(10):
	    s.sendto(inner, (dst, 0))
	EOT
}
counted() {
	[ "$(ctl server -j show tunnels |
	    jq '[.[] | .drops.outer_source // 0] | add')" -ge 10 ]
}
check "it sends packets with the other's inner address" spoof
check "they are dropped and counted" wait_for 5 counted

stop server KILL
accept_from 2001:db8:12::/64 "rate 500k"
check "the server is killed, and accepts others when it is back" start server
check "the lease of who is outside now is over" wait_for 5 grep -q \
    "lease of $a1 by alice is over: TEP tep takes no node at 2001:db8:11::10" \
    "$T/server.log"
check "its tunnel is gone" wait_for 5 tunnels ""
refuse "and its traffic stops" fetch node1 2
stop node2
check "the one that is within now starts again" start node2
check "it has a lease" wait_for 15 has_lease node2
check "and the page" fetch node2
check "of another address" test "$(node_address node2)" != "$a1"
check "there is one tunnel" tunnels 2001:db8:12::10
on node2 ping -q -i 0.002 -c 200 -s 1000 -W 1 "$web4" >"$T/ping.out" 2>&1
cut() {
	[ "$(ctl server -j show tunnels |
	    jq '[.[] | .drops.rate // 0] | add')" -gt 20 ] &&
	    grep -q '[1-9][0-9]* received' "$T/ping.out"
}
check "what is above its rate is dropped and counted" wait_for 5 cut
check "and what is not moves" fetch node2
done_testing
