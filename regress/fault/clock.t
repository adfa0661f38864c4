#!/bin/sh
# The wall clock of a running daemon is stepped an hour forth and back (its own
# alone: step.c): nobody's lease ends early or late. Then the daemon is started
# again under a clock that was stepped meanwhile.
set -u
. regress/domain/lib.sh
domain_start
step=$PWD/$B/regress/fault/step.so
[ -f "$step" ] || { echo "1..0 # SKIP no $step: make tools"; exit 0; }
domain_build colocated 2 >/dev/null
QUARANTINE=2 conf_server colocated "60 min 2" |
    sed "s,$pool.0/24 exclude.*,10.9.0.10 - 10.9.0.19," >"$T/server.conf"
conf_node node1 alice | sed 's,^node {,&\
	lifetime 6,' >"$T/node1.conf"
on node2 ip -6 route add local 2001:db8:12:0:1::/80 dev lo
on node2 sysctl -qw net.ipv6.ip_nonlocal_bind=1
on core ip -6 route add 2001:db8:12:0:1::/80 via 2001:db8:12::10
export PYTHONDONTWRITEBYTECODE=1 PYTHONPATH=regress/wire
ip netns exec "$NS-node2" python3 regress/fault/clock.py "$NS" "$T" \
    "$SBIN" "$server6" "$step"
