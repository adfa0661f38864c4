#!/bin/sh
# The network to a node is gone when its lease ends, and its address, the only
# one, goes to another: who comes back must not use it any more.
set -u
. regress/domain/lib.sh
domain_start
domain_build colocated 2
web_start || die "no web server"
QUARANTINE=2
conf_server colocated "6 min 2" |
    sed "s,$pool.0/24 exclude.*,$pool.16," >"$T/server.conf"
conf_node node1 alice >"$T/node1.conf"
conf_node node2 bob >"$T/node2.conf"

# Between the node's network and all others, nothing passes.
cut() {
	on core ip -6 rule add iif "to-$1" blackhole &&
	    on core ip -6 rule add to "$2" blackhole
}
mend() {
	on core ip -6 rule del iif "to-$1" blackhole &&
	    on core ip -6 rule del to "$2" blackhole
}
owner() {
	[ "$(ctl server -j show leases | jq -r \
	    '.[] | select(.state == "bound") | .user')" = "$1" ]
}

check "the server starts" start server
check "node1 starts" start node1
check "it has the only address" wait_for 10 owner alice
check "IPv4 works" fetch node1
check "node2 starts" start node2
check "there is none for it" \
    wait_for 10 grep -q '306 Address Pool Exhausted' "$T/node2.log"
check "node1 is cut off" cut node1 2001:db8:11::/64
no_address() {
	[ -z "$(node_address "$1")" ]
}
check "its lease ends at itself" wait_for 15 no_address node1
check "it says why" grep -q 'ran out without a renewal' "$T/node1.log"
check "and at the server: the address is node2's" wait_for 45 owner bob
check "which has IPv4 by it" wait_for 5 fetch node2 2
check "node1 is back" mend node1 2001:db8:11::/64
check "it asks, and there is nothing for it" \
    wait_for 40 grep -q '306 Address Pool Exhausted' "$T/node1.log"
check "it has no address" no_address node1
check "node2 has IPv4 still" fetch node2
check "node2 gives the address back" ctl node2 down
check "node1 has it again" wait_for 45 owner alice
check "and IPv4" wait_for 5 fetch node1 2
done_testing
