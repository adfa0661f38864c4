#!/bin/sh
# What one peer, and all together, may do at one time and in a time.
set -u
. regress/domain/lib.sh
domain_start
domain_build colocated 1 >/dev/null
conf_server colocated "30 min 2" >"$T/server.conf"
cat >>"$T/server.conf" <<-EOT
limits { connections 30 handshakes 8 source-prefix 64 source-rate 1000 auth-failures 6
    request-rate 10 }
EOT
start server || exit 1
export PYTHONDONTWRITEBYTECODE=1
for net in 12 13 14; do
	on node1 ip addr add "2001:db8:11:$net::1/64" dev eth0 nodad
done
on core ip route add 2001:db8:11::/56 via 2001:db8:11::10
on node1 ip addr add 2001:db8:11::11/64 dev eth0 nodad
ip netns exec "$NS-node1" python3 regress/wire/limits.py "$server6" \
    "$SBIN/dstmctl" "$T/server.sock" "$T/alice.password"
