#!/bin/sh
# The fast path's verdicts and packets are those of the tunnel process's code
# (same.c). environment: DSTMD_SEED, of which a failure says its own
set -u
. regress/domain/lib.sh
[ -x "$B/regress/tunnel/same" ] || {
	echo "1..0 # SKIP built without clang and libbpf, or no \"make tools\""
	exit 0
}
[ "$(id -u)" -eq 0 ] || {
	echo "1..0 # SKIP not root"
	exit 0
}
domain_start
host node
cable node eth0 node eth1
on node ip link set eth0 address 02:00:00:00:00:77 mtu 1280
on node ip addr add 2001:db8::77/64 dev eth0 nodad
for i in 1 2 3; do
	on node ip neigh add "2001:db8::$i" lladdr "02:00:00:00:00:0$i" \
	    dev eth0 nud permanent
done
# plane bpf routes its packets as what this host itself sends
on node sysctl -qw net.ipv6.conf.lo.forwarding=1
on node "$B/regress/tunnel/same" "$B/tunnel/bpf/4over6.o" eth0 100000 \
    "${DSTMD_SEED:-$(date +%s)}" || echo "not ok 1 - it does not run"
