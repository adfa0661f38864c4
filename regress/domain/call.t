#!/bin/sh
# Calls: what a server has to say to nodes that have no connection to it, a
# relay that would have one node's call said to another, and leases that
# nobody asked for.
set -u
. regress/domain/lib.sh
domain_start
domain_build colocated 3
web_start || die "no web server"
printf '%s\n' call-password >"$T/call.password"
"$SBIN/dstmctl" passwd -f "$T/node-secrets" dstm1 <"$T/call.password"
# One password for two nodes is a mistake of the operator's, on purpose here.
printf 'alice:call-password\nbob:call-password\n' >"$T/calls"
chmod 600 "$T/calls"
conf_server colocated "60 min 2" | sed "s,quarantine.*,&\\
		call login dstm1 passwords \"$T/calls\",
	s,leases 2 },leases 2 call }," >"$T/server.conf"
# conf_called NODE NUMBER USER [MORE...]: listens to the server
conf_called() {
	called="listen on 2001:db8:1$2::10
		call from dstm1"
	called_node=$1
	called_user=$3
	shift 3
	for line; do
		called="$called
		$line"
	done
	echo "secrets \"$T/node-secrets\""
	conf_node "$called_node" "$called_user" "route metric 512
		$called"
}
conf_called node1 1 alice "server 2001:db8:13::10" >"$T/node1.conf"
conf_called node2 2 bob "on demand idle 3" "accept offers" >"$T/node2.conf"

# The server has no connection any more, and node1 can make none.
cut_off() {
	on "$1" ip -6 rule add ipproto tcp dport 3653 blackhole &&
	    kill -9 "$(process server session)"
}
connected() {
	ctl server -j show sessions | jq -e ".[] | select(.user == \"$1\")"
}
# told STATUS PATTERN COMMAND...
told() {
	told_status=$1
	told_text=$2
	shift 2
	"$@" >"$T/told" 2>&1
	[ $? -eq "$told_status" ] && grep "$told_text" "$T/told" && return 0
	cat "$T/told"
	return 1
}
held_by() {
	ctl server -j show leases |
	    jq -e ".[] | select(.user == \"$1\" and .state == \"bound\")"
}

check "the server starts" start server
check "node1 starts" start node1
check "it has a lease" wait_for 10 has_lease node1
a=$(node_address node1)
check "and a connection to the server" connected alice
check "its connections are cut, it can make none" cut_off node1
check "the server has none to it" wait_gone 10 connected alice
check "it still has its lease" fetch node1
check "the operator takes the lease back" ctl server release "$a"
check "the server calls: the address is gone" wait_gone 10 has_lease node1
check "and from the interface" test -z "$(node_address node1)"
check "both say so" sh -c "grep -q 'was called about $a: 200' '$T/server.log' &&
    grep -q 'calls: $a is taken back' '$T/node1.log'"
check "an offer is not taken by who is not configured for it" \
    told 1 'does not take it' ctl server allocate alice
check "and has no lease for it" wait_gone 10 held_by alice
on node1 ip -6 rule del ipproto tcp dport 3653 blackhole
check "the way is free again: node1 has a lease" wait_for 40 has_lease node1
check "which is enough" told 1 'has a lease already' \
    ctl server allocate alice

check "nobody knows where bob is" told 1 'never had a lease' \
    ctl server allocate bob
check "nor who somebody is" told 1 'no such user' ctl server allocate somebody

# A relay: node1 takes node3 for one of its servers, and node3 pipes what the
# server says to it on to node1, as if it were the server.
conf_node node3 bob >"$T/node3.conf"
check "node3 starts, which is to be a relay" start node3
check "it has a lease" wait_for 10 has_lease node3
check "and gives it back" ctl node3 down
check "the server knows where it was" wait_gone 10 held_by bob
stop node3
ip netns exec "$NS-node3" python3 regress/wire/relay.py 2001:db8:13::10 \
    2001:db8:11::10 "$T/relay.log" 2>"$T/relay.err" &
PIDS="$PIDS $!"
relays() {
	on node3 ss -Hltn 'sport = :3653' | grep -q LISTEN
}
check "the relay listens" wait_for 10 relays
check "the server calls it, and is not understood" \
    told 1 'could not be reached' ctl server allocate 2001:db8:13::10
check "the call went by the relay to node1" \
    grep -q 'C AUTHENTICATE SCRAM-SHA-256-PLUS' "$T/relay.log"
check "which refused it" grep -q 'S 300 ' "$T/relay.log"
refuse "nothing was asked of node1" grep -q '^C Content-length' "$T/relay.log"
check "node1 has kept its lease" has_lease node1

# Offers
check "node2 starts, on demand" start node2
on node2 ping -c 2 -W 1 "$web4" >/dev/null
check "a packet gives it a lease" wait_for 5 held_by bob
check "silence takes it" wait_gone 20 held_by bob
check "it has kept its connection" connected bob
check "a lease that it did not ask for" \
    told 0 "^$pool\.[0-9]*: bob at 2001:db8:12::10$" \
    ctl server allocate bob
check "it is there" wait_for 5 has_lease node2
check "and IPv4 works" fetch node2
check "silence takes it as well" wait_gone 20 held_by bob
kill -9 "$(process server session)"
check "its connection is lost" wait_gone 10 connected bob
up() {
	ctl server -j show processes |
	    jq -e '.[] | select(.name == "session" and .pid != 0)'
}
check "session is back" wait_for 10 up
check "by its address: a call, and it comes" \
    ctl server allocate 2001:db8:12::10
check "the lease is there" wait_for 5 has_lease node2
check "IPv4 works again" fetch node2
done_testing
