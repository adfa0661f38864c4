#!/bin/sh
# A real node that is called: by whom, and what it obeys.
set -u
. regress/domain/lib.sh
domain_start
domain_build colocated 1 >/dev/null
printf '%s\n' call-password >"$T/call.password"
for name in dstm1 mallory; do
	"$SBIN/dstmctl" passwd -f "$T/node-secrets" $name <"$T/call.password"
done
{
	echo "secrets \"$T/node-secrets\""
	conf_node node1 anonymous "route metric 512
		listen on 2001:db8:11::10
		call from dstm1
		accept offers"
} >"$T/node1.conf"
start node1 || exit 1
export PYTHONDONTWRITEBYTECODE=1
ip netns exec "$NS-server" python3 regress/wire/call.py "$server6" \
    "$local6" "$SBIN/dstmctl" "$T/node1.sock"
