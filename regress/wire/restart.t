#!/bin/sh
# A session process that dies takes its connections with it: what was under
# way for one of them never meets a connection of its successor.
set -u
. regress/domain/lib.sh
domain_start
domain_build colocated 1 >/dev/null
conf_server colocated "60 min 2" >"$T/server.conf"
start server || exit 1
export PYTHONDONTWRITEBYTECODE=1
ip netns exec "$NS-node1" python3 regress/wire/restart.py "$server6" \
    "$SBIN/dstmctl" "$T/server.sock" "$T/alice.password" "$T/bob.password"
