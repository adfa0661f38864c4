#!/bin/sh
# A real node whose server is of another make, and bad.
set -u
. regress/domain/lib.sh
domain_start
domain_build colocated 1 >/dev/null
conf_node node1 alice >"$T/node1.conf"
echo "limits { request-timeout 1 auth-timeout 2 }" >>"$T/node1.conf"
export PYTHONDONTWRITEBYTECODE=1
start node1 || exit 1
ip netns exec "$NS-server" python3 regress/wire/badserver.py "$NS" \
    "$server6" "$local6" "$SBIN/dstmctl" "$T/node1.sock"
