#!/bin/sh
# A crowd that only holds its connections, or sends an octet now and then: who
# is honest does not notice.
set -u
. regress/domain/lib.sh
domain_start
ulimit -n 20000 2>/dev/null || {
	echo "1..0 # SKIP needs 20000 descriptors"
	exit 0
}
domain_build colocated 1 >/dev/null
QUARANTINE=0 conf_server colocated "30 min 2" >"$T/server.conf"
cat >>"$T/server.conf" <<-EOT
limits { connections 12000 handshakes 12000 per-source 12000 source-rate 1000
    request-rate 1000000 auth-timeout 600 idle-timeout 600 }
EOT
VERBOSE=" " start server || exit 1
export PYTHONDONTWRITEBYTECODE=1
on node1 ip addr add 2001:db8:11::99/64 dev eth0 nodad
ip netns exec "$NS-node1" python3 regress/wire/crowd.py "$server6" \
    "$SBIN/dstmctl" "$T/server.sock"
