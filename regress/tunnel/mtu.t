#!/bin/sh
# Packets that are too big for a path, with and without ICMP, on paths of four
# sizes; offload headers. The narrow cable is between the routers:
#
#	node -- core1 -- core2 -- tep --(IPv4)-- web
# mtu-bpf.t is this test for plane bpf.
set -u
. regress/domain/lib.sh
plane=
case $0 in
*-bpf.t)
	plane=bpf
	grep -q '^BPF_LIBS = .' config.mk || {
		echo "1..0 # SKIP built without clang and libbpf"
		exit 0
	}
	;;
esac
domain_start
for h in node core1 core2 tep web; do
	host "$h"
done
cable node eth0 core1 eth0
cable core1 eth1 core2 eth1
cable core2 eth0 tep eth0
cable tep v4 web eth0
for h in node core1 core2 tep web; do
	for i in eth0 eth1 v4; do
		on "$h" ip link set "$i" mtu 9000 2>/dev/null
	done
done
on node ip addr add 2001:db8:1::1/64 dev eth0 nodad
on core1 ip addr add 2001:db8:1::ff/64 dev eth0 nodad
on core1 ip addr add 2001:db8:3::1/64 dev eth1 nodad
on core2 ip addr add 2001:db8:3::2/64 dev eth1 nodad
on core2 ip addr add 2001:db8:2::ff/64 dev eth0 nodad
on tep ip addr add 2001:db8:2::2/64 dev eth0 nodad
on node ip route add default via 2001:db8:1::ff
on tep ip route add default via 2001:db8:2::ff
on core1 ip route add 2001:db8:2::/64 via 2001:db8:3::2
on core2 ip route add 2001:db8:1::/64 via 2001:db8:3::1
for h in core1 core2; do
	on "$h" sysctl -qw net.ipv6.conf.all.forwarding=1
	on "$h" sysctl -qw net.ipv6.icmp.ratelimit=0
done
on tep ip addr add "$gate4/24" dev v4
on tep sysctl -qw net.ipv4.ip_forward=1
# plane bpf routes its packets as what this host itself sends
for h in node tep; do
	on "$h" sysctl -qw net.ipv6.conf.lo.forwarding=1
done
on web ip addr add "$web4/24" dev eth0
on web ip route add default via "$gate4"
export PYTHONDONTWRITEBYTECODE=1
# shellcheck disable=SC2086  # none, or one word
python3 regress/tunnel/mtu.py "$NS" "$PWD/$B" "$T" $plane
