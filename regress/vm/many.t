#!/bin/sh
# plane kernel with many leases: each is there, once, and found as fast as one.
# What a lease costs is said, and not judged.
set -u
. regress/domain/lib.sh
modprobe -q ip6_tunnel || {
	echo "1..0 # SKIP this kernel has no ip6_tunnel"
	exit 0
}
N=${DSTMD_LEASES:-10000}
domain_start
pair
mkfifo "$T/in" "$T/out"
ip netns exec "$NS-tep" "$B/regress/tunnel/plane" "$B/libexec/dstmd/tunnel" \
    "$T" 0 kernel <"$T/in" >"$T/out" 2>"$T/plane.log" &
PIDS="$PIDS $!"
exec 3>"$T/in" 4<"$T/out"

# A command of the plane's; its rows are in $T/rows, the last line in $end.
say() {
	echo "$*" >&3
	: >"$T/rows"
	while read -r end <&4; do
		case $end in
		ok*)	return 0 ;;
		error*)	return 1 ;;
		esac
		echo "$end" >>"$T/rows"
	done
	return 1
}
now() {
	date +%s%N
}
memory() {
	awk '/^(Slab|Percpu):/ { n += $2 } END { print n }' /proc/meminfo
}
cost() {
	echo "# $1: $((($(now) - began) / 1000 / $2)) us each"
}
each_once() {
	slot=0
	: >"$T/all"
	while :; do
		say list 0 "$slot" 200 || return 1
		cat "$T/rows" >>"$T/all"
		slot=$(echo "$end" | cut -d' ' -f2)
		[ "$slot" != 0 ] || break
	done
	[ "$(cut -d' ' -f1 "$T/all" | sort -u | wc -l)" -eq "$1" ] &&
	    [ "$(wc -l <"$T/all")" -eq "$1" ]
}
check "the TEP opens" say open 0 0 1460 tun0 2001:db8::2
on tep ip addr add 198.51.100.1/32 dev tun0
on node ip link add tun0 mtu 1460 type ip6tnl mode ip4ip6 encaplimit none \
    local 2001:db8::1 remote 2001:db8::2
on node ip addr add 198.51.100.20/32 dev tun0
on node ip link set tun0 up
on node ip route add default dev tun0
check "a lease" say add 0 1 198.51.100.20 2001:db8::1
check "its packets move" wait_for 5 on node ping -c 1 -W 1 198.51.100.1

# Round trips of 200 packets, in ms.
flood() {
	on node ping -q -c 200 -i 0.002 -W 2 198.51.100.1 |
	    sed -n 's,^rtt [^=]*= [^/]*/\([^/]*\)/.*,\1,p'
}
echo "# round trip beside no other: $(flood) ms"
before=$(memory)
began=$(now)
check "$N more" say add 0 "$N" 10.0.0.0 2001:db8:1::
cost "added" "$N"
echo "# $((($(memory) - before) * 1024 / N)) octets each, in the kernel"
echo "# round trip beside them: $(flood) ms"
check "its packets move" on node ping -c 1 -W 2 198.51.100.1
check "each is there, once" each_once $((N + 1))
began=$(now)
check "they go" say del 0 "$N" 10.0.0.0
cost "deleted" "$N"
check "one is left" each_once 1
check "with its counters" \
    awk '{ exit !($3 >= 400 && $5 >= 400) }' "$T/all"
check "and its route" test "$(on tep ip route show proto 213 | wc -l)" -eq 1
check "its packets move" on node ping -c 1 -W 2 198.51.100.1
check "another node gets it" say add 0 1 198.51.100.20 2001:db8::77
refuse "its packets stop" on node ping -c 1 -W 1 198.51.100.1
check "and it again" say add 0 1 198.51.100.20 2001:db8::1
check "they move" on node ping -c 1 -W 2 198.51.100.1
check "the device is closed" say close 0
refuse "and gone" on tep ip link show dev tun0
done_testing
