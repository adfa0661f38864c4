#!/bin/sh
# Our own node, by each mechanism that it can log in with.
set -u
. regress/domain/lib.sh
domain_start
domain_build colocated 1 >/dev/null
"$SBIN/dstmctl" passwd -f "$T/secrets" -r hexos alice <"$T/alice.password" \
    >/dev/null || exit 1
conf_server colocated 30 | sed 's/auth .*/auth digest-md5, plain/
    /anonymous/d' >"$T/server.conf"
start server || exit 1

authenticated() {
	ctl server -j show sessions | jq -e --arg m "$1" \
	    '.[] | select(.user == "alice" and .mechanism == $m)'
}
for mech in digest-md5 plain; do
	name=$(echo "$mech" | tr '[:lower:]' '[:upper:]')
	conf_node node1 alice | sed "s/auth .*/auth $mech/" >"$T/node1.conf"
	# twice: what the library remembers of the first is no harm
	for i in 1 2; do
		start node1 || exit 1
		check "$name, $i: the node has its lease" \
		    wait_for 10 has_lease node1
		check "$name, $i: so says the server" authenticated "$name"
		stop node1
	done
	ctl server release "$(lease server address)" >/dev/null
done
conf_node node1 alice | sed "s/auth .*/auth digest-md5/" >"$T/node1.conf"
start node1 || exit 1
wait_for 10 has_lease node1
stop server KILL
start server || exit 1
check "DIGEST-MD5: the node logs in to a server that was started anew" \
    wait_for 20 authenticated DIGEST-MD5
stop node1
echo wrong >"$T/alice.password"
start node1 || exit 1
sleep 2
refuse "a wrong password: no lease" has_lease node1
check "and the log says so" grep -q "300 Authentication failed" "$T/node1.log"
refuse "no password in the logs" grep -q "alice-password" "$T/node1.log" \
    "$T/server.log"
done_testing
