#!/bin/sh
# Addresses, descriptors, processes and memory that are used up: those inside
# are served, nothing spins, no lease is lost, and service is back when there
# is something again.
set -u
. regress/domain/lib.sh
domain_start
domain_build colocated 1 >/dev/null
QUARANTINE=1
conf_server colocated "600 min 2" >"$T/server.conf"
echo 'limits { per-source 500 source-rate 1000 request-rate 100000
	request-timeout 5 handshakes 400 connections 1000 }' >>"$T/server.conf"
on node1 ip -6 route add local 2001:db8:11:0:1::/80 dev lo
on node1 sysctl -qw net.ipv6.ip_nonlocal_bind=1
on core ip -6 route add 2001:db8:11:0:1::/80 via 2001:db8:11::10
start server || exit 1
export PYTHONDONTWRITEBYTECODE=1 PYTHONPATH=regress/wire
# /sys as it is here: it has the control groups
nsenter --net="/run/netns/$NS-node1" python3 regress/fault/exhaust.py "$server6" \
    "$SBIN/dstmctl" "$T/server.sock" "$T/server.log" "$T/alice.password"
