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
pair
for h in node tep; do
	# plane bpf routes its packets as what this host itself sends
	on "$h" sysctl -qw net.ipv6.conf.lo.forwarding=1
done
export PYTHONDONTWRITEBYTECODE=1
python3 regress/tunnel/tunnel.py "$NS" "$PWD/$B" "$T" bpf
