#!/bin/sh
# What the draft and RFC 5572 say of the messages, statement by statement, by
# a client of another make: regress/CONFORMANCE names these checks.
set -u
. regress/domain/lib.sh
domain_start
domain_build colocated 1 >/dev/null
conf_server colocated "30 min 2 max 3000" | sed "
	s,user \"bob\" {,& prefix 2001:db8:77::/64," >"$T/server.conf"
start server || exit 1
export PYTHONDONTWRITEBYTECODE=1
ip netns exec "$NS-node1" python3 regress/wire/conformance.py "$server6" \
    "$SBIN/dstmctl" "$T/server.sock" "$T/alice.password" "$T/bob.password"
