#!/bin/sh
# Our node and a server of another make, which writes as the draft does: what
# the node sends, and what it makes of the answers.
set -u
. regress/domain/lib.sh
domain_start
domain_build colocated 1 >/dev/null
conf_node node1 anonymous >"$T/node1.conf"
start node1 || exit 1
export PYTHONDONTWRITEBYTECODE=1
ip netns exec "$NS-server" python3 regress/wire/node.py "$server6" \
    "$SBIN/dstmctl" "$T/node1.sock" "$NS-node1"
