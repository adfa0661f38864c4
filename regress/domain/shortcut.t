#!/bin/sh
# The shortcut of plane bpf: packets of the tunnel come and go by the outer
# interface alone, nothing leaves there that is not in the tunnel, and where it
# can not be had they take the way by the tunnel's interface.
set -u
grep -q "^BPF_LIBS = ." config.mk || {
	echo "1..0 # SKIP built without clang and libbpf"
	exit 0
}
. regress/domain/lib.sh
domain_start
domain_build remote 2
# Who has another link address is found in seconds, not in a minute.
for h in core tep node1; do
	for i in $(on "$h" ls /proc/sys/net/ipv6/neigh); do
		on "$h" sysctl -qw \
		    "net.ipv6.neigh.$i.base_reachable_time_ms=1000" \
		    "net.ipv6.neigh.$i.delay_first_probe_time=1"
	done
done
web_start || die "no web server"
conf_server remote "120 min 5" >"$T/server.conf"
{ echo "plane auto"; conf_tep; } >"$T/tep.conf"
{ echo "plane auto"; conf_node node1 alice; } >"$T/node1.conf"
{ echo "plane auto"; conf_node node2 bob; } >"$T/node2.conf"
check "the server starts" start server
check "the TEP starts" start tep
needs_bpf tep

# All that the network sees of IPv4 in the whole test, at both ends.
ip netns exec "$NS-core" tcpdump -ni any -Q in -U -w "$T/plain.pcap" \
    'ip and not net 127.0.0.0/8' 2>"$T/tcpdump.log" &
PIDS="$PIDS $!"
watched=$!
check "the network is watched" wait_for 10 grep -q listening "$T/tcpdump.log"
check "the node starts" start node1
check "the node has a lease" wait_for 15 has_lease node1
a=$(node_address node1)
check "it works" wait_for 5 fetch node1 1

by_outer() {
	case $1 in
	node1) to=$web4 ;;
	tep) to=$a ;;
	esac
	on "$1" ip route get "$to" | grep -q 'dev eth0'
}
by_tunnel() {
	! by_outer "$1"
}
twins() {
	[ "$(on "$1" ip -4 route show table all dev eth0 proto 213 | wc -l)" \
	    -eq "$2" ]
}
for h in tep node1; do
	check "$h: it is by the outer interface" wait_for 5 by_outer "$h"
done
originals=$(on tep ip -4 route show dev dstm0 proto 213 | wc -l)
check "each route of the TEP's has its twin" twins tep "$originals"

# Few packets are the tunnel interface's: one a second asks for the hop.
count() {
	on "$1" cat /sys/class/net/dstm0/statistics/tx_packets \
	    /sys/class/net/dstm0/statistics/rx_packets |
	    awk '{ n += $1 } END { print n }'
}
leased() {
	ctl "$1" -j show tunnels |
	    jq ".[] | select(.$2 != null) | .$2" | head -n 1
}
sent=$(leased tep in_packets)
before_tep=$(count tep)
before_node=$(count node1)
check "a thousand packets, and their answers" \
    on node1 ping -q -i 0.002 -c 1000 "$web4"
check "the TEP has counted each" \
    test "$(leased tep in_packets)" -ge $((sent + 1000))
check "of them the TEP's interface has seen few" \
    test $(($(count tep) - before_tep)) -lt 50
check "and the node's" test $(($(count node1) - before_node)) -lt 50

# Large ones, joined: TCP both ways.
ip netns exec "$NS-web" iperf3 -s >"$T/iperf.log" 2>&1 &
PIDS="$PIDS $!"
check "TCP from the node" wait_for 5 on node1 iperf3 -c "$web4" -t 1
check "and to it" on node1 iperf3 -c "$web4" -t 1 -R
check "the interface has seen few of it too" \
    test $(($(count tep) - before_tep)) -lt 200

# What is too big, for the tunnel and for a narrower path behind it.
too_big() {
	on web ping -M "do" -s "$1" -c 3 -i 0.2 -W 1 "$a" 2>&1 |
	    grep -Eq "mtu ?= ?$2"
}
check "too big: the sender is told the tunnel's MTU" \
    wait_for 5 too_big 1472 1460
check "it comes in fragments where it may" \
    on web ping -M dont -s 4000 -c 3 -i 0.05 -W 1 "$a"
on core ip link set dev to-node1 mtu 1400
on node1 ip link set dev eth0 mtu 1400
check "too big for the path: the sender is told its MTU" \
    wait_for 10 too_big 1400 1360
check "it comes in fragments there too" \
    wait_for 5 on web ping -M dont -s 4000 -c 3 -i 0.05 -W 1 "$a"
on core ip link set dev to-node1 mtu 1500
on node1 ip link set dev eth0 mtu 1500

# From node to node: out of the tunnel and into it at once.
check "another node starts" start node2
check "it has a lease" wait_for 15 has_lease node2
check "from node to node" on node1 ping -q -i 0.02 -c 50 -W 1 \
    "$(node_address node2)"
from_node() {
	on node1 ping -q -i 0.02 -c 50 -W 1 "$(node_address node2)" |
	    grep -q ' 0% packet loss'
}
check "and nothing is lost" from_node
stop node2

# Sources that are nobody's, and groups.
drops() {
	ctl "$1" -j show tunnels |
	    jq ".[] | select(.drops) | .drops[\"$2\"] // 0"
}
on node1 ip addr add 10.9.9.9/32 dev lo
was=$(drops node1 inner_source)
on node1 ping -q -c 3 -i 0.01 -W 1 -I 10.9.9.9 "$web4" >"$T/check.out" 2>&1
check "what is not the lease's is dropped and counted" \
    test "$(drops node1 inner_source)" -eq $((was + 3))
was=$(drops node1 martian)
on node1 ping -q -c 2 -i 0.01 -W 1 -I "$a" 224.0.0.251 >"$T/check.out" 2>&1
on node1 ping -b -q -c 2 -i 0.01 -W 1 -I "$a" 255.255.255.255 \
    >"$T/check.out" 2>&1
check "what goes to a group too" \
    test "$(drops node1 martian)" -eq $((was + 4))

# Who is on the network can not pass for a node, nor for the TEP.
plain() {
	on core ip neigh replace "$3" dev "to-$1" nud permanent \
	    lladdr "$(on "$1" cat /sys/class/net/eth0/address)"
	on core ip addr add "$2/32" dev lo
	on core ip route add "$3" dev "to-$1"
	was=$(drops "$1" "$4")
	refuse "plain IPv4 from the network is not taken: $1" \
	    on core ping -q -c 3 -i 0.01 -W 1 -I "$2" "$3"
	check "and counted" test "$(drops "$1" "$4")" -eq $((was + 3))
	on core ip route del "$3" dev "to-$1"
	on core ip addr del "$2/32" dev lo
}
plain tep "$a" "$web4" inner_source
check "what is no lease's is taken" \
    on core sh -c "ip addr add 10.7.7.7/32 dev lo &&
	ip route add $web4 dev to-tep &&
	ip neigh replace $web4 dev to-tep nud permanent lladdr $(on tep \
	    cat /sys/class/net/eth0/address)"
forwarded() {
	on tep cat /proc/net/snmp | awk '/^Ip:/ && ++n == 2 { print $7 }'
}
was=$(forwarded)
on core ping -q -c 3 -i 0.01 -W 1 -I 10.7.7.7 "$web4" >"$T/check.out" 2>&1
check "and forwarded" test "$(forwarded)" -ge $((was + 3))
on core sh -c "ip route del $web4 dev to-tep; ip addr del 10.7.7.7/32 dev lo"
plain node1 "$web4" "$a" outer_source

# The way by the interface, while there is a reason, and back.
reason() {
	check "$1, $2: its packets pass the interface" wait_for 5 by_tunnel "$1"
	check "$1, $2: the log says so" grep -q "this interface too: .*$3" \
	    "$T/$1.log"
	check "$1, $2: it works" wait_for 5 fetch node1 1
	check "$1, $2: no twin is left" twins "$1" 0
}
over() {
	check "$1: the shortcut again" wait_for 5 by_outer "$1"
	check "$1: it works" wait_for 5 fetch node1 1
}
for h in tep node1; do
	on "$h" sysctl -qw net.ipv4.conf.all.rp_filter=1
	reason "$h" "strict rp_filter" rp_filter
	on "$h" sysctl -qw net.ipv4.conf.all.rp_filter=0
	over "$h"
	on "$h" ip addr add 10.1.2.3/24 dev eth0
	reason "$h" "an IPv4 address" "IPv4 address"
	on "$h" ip addr del 10.1.2.3/24 dev eth0
	over "$h"
done
on tep sysctl -qw net.ipv4.conf.eth0.forwarding=0
reason tep "no forwarding there" "does not forward"
on tep sysctl -qw net.ipv4.conf.eth0.forwarding=1
over tep
on node1 sysctl -qw net.ipv4.ip_forward=1
reason node1 "it forwards" forwards
on node1 sysctl -qw net.ipv4.ip_forward=0
over node1

# Somebody takes away what is ours: it comes back.
on tep ip neigh del 192.0.0.8 dev eth0
check "without its gateway's link address it works again" \
    wait_for 30 fetch node1 1
on node1 ip route flush via 192.0.0.8
check "without its routes it is by the outer interface again" \
    wait_for 30 by_outer node1

# The outer address moves to another interface, and back.
on tep ip link add other type veth peer name peer
on tep ip link set other up
on tep ip addr del "$tep6/64" dev eth0
on tep ip addr add "$tep6/64" dev other nodad
on_other() {
	on tep ip -4 route show dev other proto 213 | grep -q 192.0.0.8
}
check "the outer address is another interface's: so are the twins" \
    wait_for 10 on_other
check "and not the first's any more" wait_for 5 twins tep 0
on tep ip link del other
on tep ip addr add "$tep6/64" dev eth0 nodad
on tep ip route replace default via 2001:db8:3::1
check "and the first's again" wait_for 15 twins tep "$originals"
check "it works" wait_for 15 fetch node1 1

# The outer interface goes down: its routes and addresses go with it.
for h in tep node1; do
	case $h in
	tep) v6=$tep6 hop=2001:db8:3::1 ;;
	node1) v6=2001:db8:11::10 hop=2001:db8:11::1 ;;
	esac
	on "$h" ip link set eth0 down
	check "$h, its outer interface is down: no twin" wait_for 5 twins "$h" 0
	on "$h" ip link set eth0 up
	on "$h" ip addr add "$v6/64" dev eth0 nodad
	on "$h" ip route replace default via "$hop"
	over "$h"
done

# The hop's link address is another one.
mac=$(on core cat /sys/class/net/to-node1/address)
on core ip link set dev to-node1 address 02:00:00:00:be:ef
check "another hop's link address is found" wait_for 60 fetch node1 1
on core ip link set dev to-node1 address "$mac"
check "and the first again" wait_for 60 fetch node1 1

# And the outer interface's own: the kernel forgets the gateway's.
for h in tep node1; do
	mac=$(on "$h" cat /sys/class/net/eth0/address)
	on "$h" ip link set dev eth0 address 02:00:00:00:ca:fe
	check "$h has another link address: it works" \
	    wait_for 60 fetch node1 1
	check "$h: by the outer interface" by_outer "$h"
	on "$h" ip link set dev eth0 address "$mac"
	check "$h has its first one again: it works" wait_for 60 fetch node1 1
done

# A killed daemon leaves them, and one that shall not have them removes them.
stop tep KILL
check "twins are there without the daemon" twins tep "$originals"
check "it works without the daemon" wait_for 5 fetch node1 1
sed -i 's/^plane auto/plane bpf interface/' "$T/tep.conf"
check "the TEP starts, with \"interface\"" start tep
check "its packets pass the interface" wait_for 5 by_tunnel tep
check "it works" wait_for 15 fetch node1 1
check "no twin is left" twins tep 0
check "nor a program" \
    test -z "$(on tep tc filter show dev eth0 egress)"
stop tep KILL
sed -i 's/^plane bpf interface/plane auto/' "$T/tep.conf"
check "the TEP starts as before" start tep
check "by the outer interface" wait_for 5 by_outer tep
stop tep KILL
sed -i 's/^plane auto/plane tun/' "$T/tep.conf"
check "the TEP starts with plane tun" start tep
check "its packets pass the interface" wait_for 5 by_tunnel tep
check "no twin is left" twins tep 0
check "it works" wait_for 15 fetch node1 1

for h in tep node1; do
	stop "$h"
	check "$h has ended: no twin is left" twins "$h" 0
	check "$h: no program" test -z "$(on "$h" tc filter show dev eth0 egress)"
	check "$h: no neighbour" \
	    test -z "$(on "$h" ip -4 neigh show nud permanent dev eth0)"
done
kill -INT "$watched"
wait "$watched"
on core tcpdump -nr "$T/plain.pcap" 2>/dev/null >"$T/plain.txt"
check "no IPv4 packet has left in the clear" test ! -s "$T/plain.txt"
head -n 5 "$T/plain.txt" | sed 's/^/# /'
done_testing
