#!/bin/sh
# A process that was taken over, and is replaced, leaves nothing behind: not by
# the descriptors that it shared, nor by the name of an interface.
set -u
. regress/domain/lib.sh
domain_start
domain_build colocated 1
web_start || die "no web server"
conf_server colocated "60 min 2" >"$T/server.conf"
conf_node node1 alice >"$T/node1.conf"
check "the server starts" start server
check "the node starts" start node1
check "the node has a lease" wait_for 15 has_lease node1
a=$(node_address node1)

came_back() {
	new=$(process "$1" "$2")
	[ -n "$new" ] && [ "$new" != 0 ] && [ "$new" != "$3" ]
}
do_to() {
	python3 regress/fault/takeover.py "$(process "$1" "$2")" "$3"
}
replace() {
	old=$(process "$1" "$2")
	kill -9 "$old"
	wait_for 10 came_back "$1" "$2" "$old"
}
new_login() {
	ctl server -j show sessions | jq -e '.[] | select(.user == "alice")'
}

check "the server's session ends its listener" do_to server session listener
check "and is replaced" replace server session
check "nodes are listened to" wait_for 40 new_login

for h in server node1; do
	check "$h: the tunnel process makes its device block" \
	    do_to "$h" tunnel device
	check "$h: and is replaced" replace "$h" tunnel
	check "$h: packets pass, both ways" wait_for 10 fetch node1 2
	check "$h: and go on" on node1 ping -q -c 20 -i 0.02 -W 2 "$web4"
done
check "the lease is the same" test "$(node_address node1)" = "$a"

# The interface goes, and somebody else takes its name.
on node1 ip link del dstm0
on node1 ip link add dstm0 type veth peer name other0
complained() {
	grep -q 'has removed the interface\|is there already' "$T/node1.log"
}
check "the node notices that its interface is gone" wait_for 20 complained
stop node1
check "at its end, an interface that took the name is left alone" \
    on node1 ip link show dstm0 type veth
done_testing
