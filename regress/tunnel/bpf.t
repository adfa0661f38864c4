#!/bin/sh
# plane bpf: all that tunnel.t shows, with the fast path; then what it is for:
# a flood of packets that lie about their source, and TCP as fast as it goes.
set -u
. regress/domain/lib.sh
grep -q '^BPF_LIBS = .' config.mk || {
	echo "1..0 # SKIP built without clang and libbpf"
	exit 0
}
domain_start
host node
host tep
cable node eth0 tep eth0
for h in node tep; do
	on "$h" ip link set eth0 mtu 1500
	# plane bpf routes its packets as what this host itself sends
	on "$h" sysctl -qw net.ipv6.conf.lo.forwarding=1
done
on node ip addr add 2001:db8::1/64 dev eth0 nodad
on tep ip addr add 2001:db8::2/64 dev eth0 nodad
export PYTHONDONTWRITEBYTECODE=1
python3 regress/tunnel/tunnel.py "$NS" "$PWD/$B" "$T" bpf
