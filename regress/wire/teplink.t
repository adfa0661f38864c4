#!/bin/sh
# Our server and a TEP of another make: what it is told, and that its word
# reaches the node as it was given.
set -u
. regress/domain/lib.sh
domain_start
domain_build remote 1 >/dev/null
on node1 ip addr add 2001:db8:11::20/64 dev eth0 nodad
conf_server remote "30 min 2" | sed "
	s,connect to .*,connect to 2001:db8:11::20," >"$T/server.conf"
export PYTHONDONTWRITEBYTECODE=1
start server || exit 1
ip netns exec "$NS-node1" python3 regress/wire/teplink.py "$server6" \
    "$SBIN/dstmctl" "$T/server.sock" "$T/dstm1.password" "$T/alice.password"
