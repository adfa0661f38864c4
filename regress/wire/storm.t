#!/bin/sh
# A client that connects again and again: it waits for its turn, others do
# not notice.
set -u
. regress/domain/lib.sh
domain_start
domain_build colocated 2 >/dev/null
conf_server colocated "30 min 2" >"$T/server.conf"
echo "limits { source-rate 5 }" >>"$T/server.conf"
start server || exit 1
export PYTHONDONTWRITEBYTECODE=1
on node1 ip addr add 2001:db8:11::99/64 dev eth0 nodad
ip netns exec "$NS-node1" python3 regress/wire/storm.py "$server6" \
    "$SBIN/dstmctl" "$T/server.sock"
