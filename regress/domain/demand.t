#!/bin/sh
# A node on demand: no lease until the host sends, none when it is silent.
set -u
. regress/domain/lib.sh
domain_start
domain_build colocated 1
web_start || die "no web server"
conf_server colocated "60 min 5" >"$T/server.conf"
conf_node node1 alice "on demand idle 3" >"$T/node1.conf"
nobody=192.0.0.6

on node1 sysctl -qw net.ipv4.ip_dynaddr=0
check "the server starts" start server
check "the node starts" start node1
check "it says what a connection needs that asks" \
    grep -q 'ip_dynaddr=1' "$T/node1.log"
idle() {
	[ "$(node_address node1)" = "$nobody" ]
}
check "its interface is there, without a lease" wait_for 5 idle
refuse "the server has leased nothing" has_lease server
check "a packet finds its way" on node1 ip -4 route get "$web4"

# What an application sees whose host does not change a waiting TCP's source.
refuse "without ip_dynaddr the connection that asks fails" fetch node1 2
check "but there is a lease" wait_for 5 has_lease node1
check "and the next one works" fetch node1 2
stop node1
on node1 sysctl -qw net.ipv4.ip_dynaddr=1
: >"$T/node1.log"
check "the node starts again, with ip_dynaddr" start node1
refuse "it has nothing to say" grep -q 'ip_dynaddr=1' "$T/node1.log"
check "it has no lease" wait_for 5 idle

check "the connection that asks works, after a second" fetch node1
a=$(node_address node1)
check "it was a packet that asked" grep -q 'a packet for dstm0' "$T/node1.log"
check "the web server saw the leased address" \
    grep -q "^$a " "$T/web-access.log"
refuse "the one without a lease is gone" idle

given_back() {
	ctl server -j show leases | jq -e \
	    ".[] | select(.address == \"$a\" and .state == \"quarantine\")"
}
check "silence: the lease is given back" wait_for 10 given_back
check "the interface stays" wait_for 2 idle
refuse "no lease is left on the node" has_lease node1
on node1 ping -c 3 -W 1 "$web4" >"$T/ping.out"
check "of an application without TCP the first packet is lost" \
    grep -q '3 packets transmitted, 2 received' "$T/ping.out"
check "the address is the same" test "$(node_address node1)" = "$a"
on node1 ping -i 1 -c 6 "$web4" >/dev/null
check "packets keep it" has_lease node1
refuse "without a break" given_back

# A stranger's packets do not: to what answers them nobody is at home.
on web sh -c 'while :; do
	curl -4s -m 1 "http://$1:81/"; ping -c 1 -W 1 "$1"; sleep 0.3
done' stranger "$a" >/dev/null 2>&1 &
stranger=$!
PIDS="$PIDS $!"
check "the stranger reaches the node" wait_for 5 on web ping -c 1 -W 1 "$a"
check "a stranger's packets do not keep it" wait_for 10 given_back
kill "$stranger"

old=$(process node1 tunnel)
check "kill -9 of tunnel, while there is no lease" kill -9 "$old"
check "a packet still asks" wait_for 10 fetch node1 4
check "it is given back" wait_for 10 given_back
on node1 ip link del dev dstm0
check "somebody removes the interface: it is made again" wait_for 10 idle
check "and a packet asks" fetch node1

stop node1
gone() {
	! on node1 ip link show dev dstm0
}
check "after SIGTERM there is no interface" gone
check "the node starts again" start node1
check "a packet asks" wait_for 5 fetch node1 4
check "for the address of before" test "$(node_address node1)" = "$a"
stop node1
done_testing
