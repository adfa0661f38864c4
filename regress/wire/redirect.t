#!/bin/sh
# A server that sends its clients elsewhere: its pool is out, it drains, it
# does not speak their version.
set -u
. regress/domain/lib.sh
domain_start
domain_build colocated 2 >/dev/null
conf_server colocated "60 min 2" | sed "
	s,$pool.0/24 exclude .*,$pool.20,
	s,quarantine.*,&\\
		redirect to 2001:db8:9::1\\
		redirect to 2001:db8:9::2," >"$T/server.conf"
start server || exit 1
export PYTHONDONTWRITEBYTECODE=1
ip netns exec "$NS-node1" python3 regress/wire/redirect.py "$server6" \
    "$SBIN/dstmctl" "$T/server.sock" "$T/alice.password" "$T/bob.password"
