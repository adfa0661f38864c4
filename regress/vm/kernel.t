#!/bin/sh
# plane kernel: a domain of the real daemons, on a kernel that has ip6_tunnel.
set -u
. regress/domain/lib.sh
for m in ip6_tunnel cls_flower sch_ingress act_gact; do
	modprobe -q "$m" || {
		echo "1..0 # SKIP this kernel has no $m"
		exit 0
	}
done
domain_start
domain_build colocated 2
tep=$local6
# bob's pool is one address, so that a route of the same destination is there
{
	echo "plane kernel"
	conf_server colocated "60 min 5" |
	    sed '/^user "bob"/s/.*/pool "one" { 203.0.113.7\/32 tep "tep" }\
		user "bob" { pool "one" }/'
} >"$T/server.conf"
{ echo "plane kernel"; conf_node node1 alice; } >"$T/node1.conf"
{ echo "plane kernel"; conf_node node2 bob; } >"$T/node2.conf"

pings() {
	on "$1" ping -c 1 -W 2 ${3:-} "$2"
}
# A counter: host, then what jq makes of its tunnels.
count() {
	ctl "$1" -j show tunnels | jq "$2"
}
drops() {
	count "$1" "[.[] | .drops // empty | .$2] | add"
}
# Of the server's entry of that address: a field.
entry() {
	count server ".[] | select(.address == \"$1\") | .$2"
}
spoof() {
	on node1 python3 regress/vm/spoof.py "$@" "$tep"
}
# The filters of leases: how many at both hooks of the server's device.
filters() {
	[ "$(for hook in ingress egress; do
		on server tc filter show dev dstm0 "$hook"
	done | grep -c '^filter protocol ip pref 213 .* handle')" = "$1" ]
}

check "the server starts" start server
check "it has plane kernel" grep -q "data plane: kernel" "$T/server.log"
check "a node starts" start node1
check "and has a lease" wait_for 15 has_lease node1
check "another node, too" start node2
check "and another lease" wait_for 15 has_lease node2
a1=$(node_address node1)
a2=$(node_address node2)
check "packets move, from a node" wait_for 5 pings node1 "$web4"
check "to a node" pings web "$a1"
check "from a node to a node" pings node2 "$a1"
check "of the whole inner MTU" pings node1 "$web4" "-s 1432 -M do"
check "and in fragments" pings node1 "$web4" "-s 8000"
check "to a node whose pool is one address" pings web "$a2"
check "there is one filter for each lease and way" filters 4
on node1 tcpdump -c 4 -i eth0 -n -w "$T/cap" ip6 proto 4 2>/dev/null &
tcpdump=$!
PIDS="$PIDS $!"
tapped() {
	pings node1 "$web4"
	! kill -0 "$tcpdump" 2>/dev/null
}
check "packets are seen on the wire" wait_for 10 tapped
tcpdump -n -v -r "$T/cap" >"$T/cap.txt" 2>/dev/null
check "they are 4over6: the outer header and nothing else, hop limit 64" \
    grep -q "hlim 64, next-header IPIP (4) payload length: 84) 2001:db8:11::10 > $tep" "$T/cap.txt"
check "both ways (a router is between them)" \
    grep -q "hlim 63, next-header IPIP (4) payload length: 84) $tep > 2001:db8:11::10" "$T/cap.txt"

i=$(entry "$a1" in_packets)
o=$(entry "$a1" out_packets)
b=$(entry "$a1" in_octets)
check "three packets" pings node1 "$web4" "-c 3 -i 0.2"
check "are counted in" test "$(entry "$a1" in_packets)" -eq $((i + 3))
check "and out" test "$(entry "$a1" out_packets)" -eq $((o + 3))
check "their inner octets" test "$(entry "$a1" in_octets)" -eq $((b + 252))
check "by the node, too" \
    test "$(count node1 '[.[] | .in_packets // 0] | add')" -ge 3

# Sources that are not the lease's, at the TEP; the packets are from a program
# that goes around the node's own check.
on node1 ip addr add 2001:db8:11::66/64 dev eth0 nodad
before=$(drops server inner_source)
i=$(entry "$a2" in_packets)
check "20 packets with another lease's inner source" \
    spoof 20 "$a2" "$web4" 2001:db8:11::10
check "are dropped and counted" wait_for 5 eval \
    '[ "$(drops server inner_source)" -eq $((before + 20)) ]'
check "and are not that lease's" test "$(entry "$a2" in_packets)" -eq "$i"
i=$(entry "$a1" in_packets)
check "20 packets from an outer address that is not the lease's" \
    spoof 20 "$a1" "$web4" 2001:db8:11::66
check "are dropped and counted" wait_for 5 eval \
    '[ "$(drops server inner_source)" -eq $((before + 40)) ]'
check "20 packets with an inner source of nobody" \
    spoof 20 192.0.2.99 "$web4" 2001:db8:11::10
check "are dropped and counted" wait_for 5 eval \
    '[ "$(drops server inner_source)" -eq $((before + 60)) ]'
tep=$server6
check "20 packets to an address of the host that is not the TEP's" \
    spoof 20 "$a1" "$web4" 2001:db8:11::10
tep=$local6
check "are dropped and counted" wait_for 5 eval \
    '[ "$(drops server inner_source)" -eq $((before + 80)) ]'
check "none of these was taken" test "$(entry "$a1" in_packets)" -eq "$i"
check "20 that are right" spoof 20 "$a1" "$web4" 2001:db8:11::10
check "are taken" wait_for 5 eval \
    '[ "$(entry "$a1" in_packets)" -eq $((i + 20)) ]'
before=$(drops server no_lease)
refuse "a packet to an address without a lease" pings web "$pool.99"
check "is dropped and counted" test "$(drops server no_lease)" -gt "$before"
on node1 ip addr add "$pool.99/32" dev dstm0
before=$(drops node1 inner_source)
refuse "a false inner source" pings node1 "$web4" "-I $pool.99"
check "is dropped by the node itself" \
    test "$(drops node1 inner_source)" -gt "$before"
on node1 ip addr del "$pool.99/32" dev dstm0

check "a lease is given back" ctl node1 release
check "its filters go" wait_for 10 filters 2
refuse "the node's interface, too" on node1 ip link show dev dstm0
refuse "its route, too" \
    sh -c "ip -n $NS-server route show $a1 | grep -q ."
before=$(drops server inner_source)
check "20 packets from where it was" spoof 20 "$a1" "$web4" 2001:db8:11::10
check "are dropped and counted" wait_for 5 eval \
    '[ "$(drops server inner_source)" -eq $((before + 20)) ]'
refuse "nothing gets there" pings web "$a1"

# What a killed daemon leaves: all of it is removed, nobody else's is.
index() {
	on server cat /sys/class/net/dstm0/ifindex
}
old=$(index)
stop server KILL
children_gone() {
	[ -z "$(ip netns pids "$NS-server")" ]
}
check "kill -9 of the whole server" wait_for 5 children_gone
check "the other lease's packets move on" pings node2 "$web4"
on server ip route add "$pool.200/32" encap ip6 dst 2001:db8:11::66 \
    dev dstm0 proto 213
on server tc filter add dev dstm0 ingress pref 213 protocol ip handle 7 \
    flower src_ip "$pool.200" action pass
on server ip link add other group 213 type veth peer name other2
check "the server starts again" start server
check "the lease is back" wait_for 5 has_lease server
check "and works" wait_for 5 pings node2 "$web4"
check "it says that it removed what was left" grep -q \
    'dstm0, of an earlier dstmd that was killed, is removed' "$T/server.log"
check "its device is a new one" test "$(index)" != "$old"
check "with the filters of one lease" filters 2
refuse "a route that was left is gone" \
    sh -c "ip -n $NS-server route show $pool.200 | grep -q ."
check "somebody else's interface stays" on server ip link show dev other
stop node2 KILL
check "kill -9 of the node: its device stays" on node2 ip link show dev dstm0
sed 's/^plane kernel/plane auto/' "$T/node2.conf" >"$T/node2.new"
mv "$T/node2.new" "$T/node2.conf"
check "it starts again, with plane auto" start node2
# What plane bpf needs is of Linux 6.3; an older kernel takes its programs, and
# then lets no packet through.
check "which is bpf where it works, or says why not" grep -q \
    'data plane: bpf\|plane bpf: this kernel lacks what its .*using tun' \
    "$T/node2.log"
check "with its lease" wait_for 15 has_lease node2
check "the same" test "$(node_address node2)" = "$a2"
check "which works" wait_for 5 pings node2 "$web4"

check "the other lease is given back" ctl node2 release
check "its filters go" wait_for 10 filters 0
check "the route of its pool is in force again" \
    sh -c "ip -n $NS-server route show $a2 | grep -q '^$a2 dev dstm0 '"
before=$(drops server no_lease)
refuse "a packet to it" pings web "$a2"
check "is dropped and counted" test "$(drops server no_lease)" -gt "$before"

stop server
refuse "SIGTERM removes the device" on server ip link show dev dstm0
stop node2
refuse "of the node, too" on node2 ip link show dev dstm0
on server ip link add dstm0 type veth peer name dstm1
refuse "an interface of that name that is another's: refused" \
    on server timeout 100 "$SBIN/dstmd" -d -f "$T/server.conf"
cp "$T/check.out" "$T/refused"
check "it says so" grep -q 'dstm0 is there already' "$T/refused"
check "and leaves it" on server ip link show dev dstm0
done_testing
