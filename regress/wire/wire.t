#!/bin/sh
# The real server, spoken to by a client of another make: both dialects,
# errors, bad input, the draft's transcripts.
set -u
. regress/domain/lib.sh
domain_start
domain_build colocated 1 >/dev/null
conf_server colocated "30 min 2" >"$T/server.conf"
cat >>"$T/server.conf" <<-EOT
limits { auth-timeout 3 per-source 40 source-rate 500 request-rate 100000 }
EOT
start server || exit 1
export PYTHONDONTWRITEBYTECODE=1
ip netns exec "$NS-node1" python3 regress/wire/wire.py "$server6" \
    "$SBIN/dstmctl" "$T/server.sock" "$T/alice.password"
