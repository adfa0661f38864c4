#!/bin/sh
# Server and TEP on different hosts: mutual SCRAM between them, the TEP that
# is not there, that comes back, that was restarted.
set -u
. regress/domain/lib.sh
domain_start
domain_build remote 2
web_start || die "no web server"
conf_server remote "30 min 5" >"$T/server.conf"
conf_tep >"$T/tep.conf"
conf_node node1 alice >"$T/node1.conf"
conf_node node2 bob >"$T/node2.conf"

check "the server starts without its TEP" start server
check "a node starts" start node1
check "it is told 307 while the TEP is down" \
    wait_for 10 grep -q 'refused with 307' "$T/server.log"
check "the TEP starts" start tep
check "the server has it" wait_for 40 grep -q 'TEP tep is up' "$T/server.log"
check "the node gets its lease" wait_for 60 has_lease node1
check "and the page, through the other host" fetch node1
check "a second node starts" start node2
check "and gets a lease" wait_for 20 has_lease node2
check "and the page" fetch node2
entries() {
	[ "$(ctl tep -j show leases | jq length)" -eq "$1" ]
}
check "the TEP has two entries" entries 2

a1=$(node_address node1)
stop tep
check "the server misses its TEP" \
    wait_for 10 grep -q 'TEP tep is down' "$T/server.log"
check "the TEP starts again" start tep
check "and gets every entry back" wait_for 60 entries 2
check "IPv4 works again" wait_for 10 fetch node1 2
check "with the same address" test "$(node_address node1)" = "$a1"

check "the node gives its lease back" ctl node1 release
check "the TEP drops the entry" wait_for 10 entries 1
refuse "no IPv4 any more" fetch node1 2

# Only configured servers may come to the TEP.
cat >"$T/other.conf" <<-EOT
control "$T/other.sock"
store "$T/other.store"
secrets "$T/secrets"
server {
	listen on 2001:db8:2::9
	pool "lab" { $pool.64/28 tep "tep" }
	user "alice" { pool "lab" }
}
tep "tep" { connect to $tep6 login "alice" password "$T/alice.password" }
EOT
on node2 ip addr add 2001:db8:2::9/128 dev lo
ip netns exec "$NS-node2" "$SBIN/dstmd" -d -v -f "$T/other.conf" \
    >"$T/other.log" 2>&1 &
PIDS="$PIDS $!"
check "a server that the TEP does not know is refused" \
    wait_for 20 grep -qE '300|Authentication failed' "$T/other.log"
check "and the TEP has no entry of it" entries 1

stop server KILL
check "the server dies; the node's traffic goes on" fetch node2
expired() {
	entries 0
}
check "a TEP entry dies with its lease, without any server" \
    wait_for 40 expired
refuse "and its traffic stops" fetch node2 2
done_testing
