#!/bin/sh
# Mutated sessions to the real daemons, with their sandboxes, by TCP: to a
# server, a TEP and a node that is called. Nothing but the connection dies.
# environment: DSTMD_SESSIONS, how many (2000); DSTMD_SEED
set -u
. regress/domain/lib.sh
domain_start
domain_build remote 2 >/dev/null
web_start || die "no web server"
"$SBIN/dstmctl" passwd -f "$T/secrets" -r hexos bob <"$T/bob.password"
printf '%s\n' dstm2-password >"$T/dstm2.password"
"$SBIN/dstmctl" passwd -f "$T/tep-secrets" dstm2 <"$T/dstm2.password"
printf '%s\n' call-password >"$T/call.password"
"$SBIN/dstmctl" passwd -f "$T/node-secrets" dstm1 <"$T/call.password"
limits="limits { auth-timeout 3 per-source 500 source-rate 1000
    request-rate 100000 auth-failures 60000 }"
{
	conf_server remote "30 min 2" |
	    sed 's/auth scram-sha-256, /&digest-md5, plain, /'
	echo "$limits"
} >"$T/server.conf"
{
	# Who is a server may say of its own addresses what it likes.
	conf_tep | sed \
	    's,server "dstm1".*,& server "dstm2" { allow 203.0.113.0/24 },'
	echo "$limits"
} >"$T/tep.conf"
{
	echo "secrets \"$T/node-secrets\""
	conf_node node1 alice "route metric 512
		listen on 2001:db8:11::10
		call from dstm1
		accept offers"
	echo "$limits"
} >"$T/node1.conf"
start tep && start server && start node1 || exit 1
wait_for 15 fetch node1 2 || die "no lease"
ip netns exec "$NS-node1" ping -i 0.05 "$web4" >"$T/ping.out" 2>&1 &
pinger=$!
PIDS="$PIDS $!"
export PYTHONDONTWRITEBYTECODE=1
ip netns exec "$NS-node2" python3 regress/wire/fuzz.py "$SBIN/dstmctl" "$T" \
    "$server6" "$tep6" 2001:db8:11::10
status=$?
kill -INT "$pinger"
wait "$pinger"
grep 'packets transmitted' "$T/ping.out" | sed 's/^/# the lease of an honest node meanwhile: /'
[ "$status" -eq 0 ] || exit "$status"
# 20 packets a second: a second's may be lost.
lost=$(sed -n 's/^\([0-9]*\) packets transmitted, \([0-9]*\) received.*/\1 \2/p' \
    "$T/ping.out" | awk '{ print $1 - $2 }')
[ "${lost:-999}" -le 20 ]
