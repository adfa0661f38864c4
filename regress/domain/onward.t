#!/bin/sh
# Plane bpf at a TEP, past the host's IP stack: packets go from the tunnel to
# the network behind the TEP and back without it; where it would not have let
# them pass, or done more to them, they are the kernel's again.
set -u
grep -q "^BPF_LIBS = ." config.mk || {
	echo "1..0 # SKIP built without clang and libbpf"
	exit 0
}
if [ ! -r /sys/kernel/btf/vmlinux ] ||
    ! python3 regress/domain/onward.py tcx lo >/dev/null 2>&1; then
	echo "1..0 # SKIP this kernel has no BTF, or no tcx"
	exit 0
fi
. regress/domain/lib.sh
domain_start
domain_build remote
web_start || die "no web server"
other4=192.0.2.81	# web's too
on web ip addr add "$other4/32" dev eth0
conf_server remote "120 min 5" >"$T/server.conf"
{ echo "plane auto"; conf_tep; } >"$T/tep.conf"
{ echo "plane auto"; conf_node node1 alice; } >"$T/node1.conf"
check "the server starts" start server
check "the TEP starts" start tep
needs_bpf tep
check "the node starts" start node1
check "the node has a lease" wait_for 15 has_lease node1
a=$(node_address node1)
check "it works" wait_for 5 fetch node1 1

# What the kernel of a host has counted: HOST PROTOCOL NAME.
counted() {
	on "$1" awk -v "p=$2:" -v "name=$3" '
	    $1 == p && n { print $n }
	    $1 == p { for (i = 2; i <= NF; i++) if ($i == name) n = i }' \
	    /proc/net/snmp
}
leased() {
	ctl "$1" -j show tunnels |
	    jq ".[] | select(.$2 != null) | .$2" | head -n 1
}
tool() {
	tool_host=$1
	shift
	on "$tool_host" python3 regress/domain/onward.py "$@"
}
mac() {
	on "$1" cat "/sys/class/net/$2/address"
}
# All of 200 pings are answered, and of the 400 packets the TEP's IP stack has
# forwarded so many: [HOST TO]
pings() {
	was=$(counted tep Ip ForwDatagrams)
	on "${1:-node1}" ping -q -i 0.002 -c 200 -W 1 "${2:-$web4}" |
	    grep ' 0% packet loss' || return 1
	forwarded=$(($(counted tep Ip ForwDatagrams) - was))
	echo "forwarded: $forwarded"
}
onward() {
	pings "$@" && [ "$forwarded" -lt 20 ]
}
by_kernel() {
	pings "$@" && [ "$forwarded" -ge 400 ]
}
again() {
	check "$1: past the kernel again" wait_for 1 onward
}
# Of 20 pings all are answered, or none: [HOST [OPTION...] TO]
twenty() {
	[ $# -gt 0 ] || set -- node1 "$web4"
	from=$1
	shift
	on "$from" ping -q -i 0.01 -c 20 -W 1 "$@" 2>&1
}
answered() {
	twenty "$@" | grep ' 0% packet loss'
}
silent() {
	twenty "$@" | grep ' 0 received'
}

# It is taken.
check "it is past the kernel" wait_for 15 onward
check "from the other side too" onward web "$a"
was_in=$(leased tep in_packets)
was_out=$(leased tep out_packets)
check "a thousand packets, and their answers" \
    on node1 ping -q -i 0.002 -c 1000 "$web4"
check "each is counted out of the tunnel" \
    test "$(leased tep in_packets)" -ge $((was_in + 1000))
check "and into it" test "$(leased tep out_packets)" -ge $((was_out + 1000))

# Who looks at the interface behind, and what is queued there, sees them.
ip netns exec "$NS-tep" tcpdump --immediate-mode -ni v4 -U \
    -w "$T/v4.pcap" icmp 2>"$T/tcpdump.log" &
PIDS="$PIDS $!"
watching=$!
check "the interface behind is watched" \
    wait_for 10 grep -q listening "$T/tcpdump.log"
check "that changes nothing" onward
kill -INT "$watching"
wait "$watching"
check "all is seen" test "$(on tep tcpdump -nr "$T/v4.pcap" 2>/dev/null |
    grep -c 'ICMP echo re')" -ge 400
check "a queue for that interface" \
    on tep tc qdisc add dev v4 root tbf rate 1gbit burst 1mb latency 10ms
check "that changes nothing either" onward
check "all is in the queue" test "$(on tep tc -s -j qdisc show dev v4 |
    jq '.[] | select(.kind == "tbf") | .packets')" -ge 200
on tep tc qdisc del dev v4 root

# Small and large ones.
check "without data" answered node1 -s 0 "$web4"
check "and to the node" answered web -s 0 "$a"
check "fragments" answered node1 -M dont -s 4000 "$web4"
check "and to the node" answered web -M dont -s 4000 "$a"
ip netns exec "$NS-web" iperf3 -s >"$T/iperf.log" 2>&1 &
PIDS="$PIDS $!"
was=$(counted tep Ip ForwDatagrams)
# What has come is counted, in octets: FIELD [OPTION].
tcp() {
	field=$1
	shift
	was_octets=$(leased tep "$field")
	octets=$(on node1 iperf3 -J -c "$web4" -n 20M "$@" |
	    jq .end.sum_received.bytes) || return 1
	echo "octets: $octets"
	[ "$octets" -gt 1000000 ] &&
	    [ "$(leased tep "$field")" -ge $((was_octets + octets)) ]
}
check "TCP from the node, of which each octet is counted" \
    wait_for 5 tcp in_octets
check "and to it" tcp out_octets -R
check "the kernel has seen few of it" \
    test $(($(counted tep Ip ForwDatagrams) - was)) -lt 100
udp() {
	on node1 iperf3 -J -u -l 1200 -b 20M -t 1 -c "$web4" "$@" |
	    jq -e '.end.sum | .packets > 1000 and .lost_percent < 5'
}
was=$(counted tep Ip ForwDatagrams)
check "UDP from the node" udp
check "and to it" udp -R
check "the kernel has seen few of it too" \
    test $(($(counted tep Ip ForwDatagrams) - was)) -lt 100

# What the kernel does to each packet is done.
ttl() {
	[ "$(on "$1" ping -i 0.01 -c 20 -W 1 "$2" | grep -c "ttl=63")" -eq 20 ]
}
check "one hop less" ttl web "$a"
check "and to the node" ttl node1 "$web4"
at_its_end() {
	on "$1" ping -t 1 -c 3 -i 0.05 -W 1 "$2" |
	    grep "Time to live exceeded"
}
check "the last hop is told" at_its_end node1 "$web4"
check "and to the other side" at_its_end web "$a"
recorded() {
	on "$1" ping -R -c 3 -i 0.05 -W 1 "$2" | grep -A 9 "RR:" |
	    grep -w "$gate4"
}
check "options are obeyed" recorded node1 "$web4"
check "and from the other side" recorded web "$a"
check "the TEP's own addresses answer" answered node1 "$gate4"
check "and to the other side" answered web "$pool.1"
# A program that drops, at an interface: INTERFACE WAY FIELD VALUE.
dropper() {
	ip netns exec "$NS-tep" python3 regress/domain/onward.py drop "$@" \
	    >"$T/drop.out" 2>&1 &
	PIDS="$PIDS $!"
	dropper=$!
	wait_for 10 grep attached "$T/drop.out"
}
dropper_end() {
	kill "$dropper"
	wait "$dropper" 2>/dev/null
}
for i in v4 eth0; do
	check "$i: a program drops what has the priority of a service" \
	    dropper $i egress priority 6
	check "$i: others are past the kernel" onward
	check "$i: these do not pass" silent node1 -Q 0x10 "$web4"
	on tep sysctl -qw net.ipv4.ip_forward_update_priority=0
	check "$i: where they get none they do" answered node1 -Q 0x10 "$web4"
	on tep sysctl -qw net.ipv4.ip_forward_update_priority=1
	dropper_end
done

# Frames of which something is wrong, and a good ping after them: how many come
# from web to the node.
frames() {
	was=$(counted node1 Icmp InEchos)
	tool web frames eth0 "$(mac tep v4)" "$@" || return 1
	answered web -c 1 "$a" || return 1
	came=$(($(counted node1 Icmp InEchos) - was - 1))
	echo "came: $came"
}
come() {
	frames "$1" "$2" "$a" && [ "$came" -eq 5 ]
}
none() {
	frames "$1" "$2" "$a" && [ "$came" -eq 0 ]
}
# Of two kinds in turn, from web to the node or from the node to web: none of
# the second comes, though what was found out for the first is still warm.
second_none() {
	frames good "$web4" "$a" "$1" "$a" && [ "$came" -eq 5 ]
}
to_second() {
	was=$(counted web Icmp InEchos)
	tool node1 frames dstm0 "" good "$a" "$1" "$a" "$2" || return 1
	answered node1 -c 1 "$web4" || return 1
	came=$(($(counted web Icmp InEchos) - was - 1))
	echo "came: $came"
	[ "$came" -eq "$3" ]
}
check "good frames come" come good "$web4"
was_errors=$(counted tep Ip InHdrErrors)
check "with a wrong checksum: none" none badsum "$web4"
check "the kernel has counted them" \
    test $(($(counted tep Ip InHdrErrors) - was_errors)) -eq 5
was_errors=$(counted tep Ip InHdrErrors)
was_web=$(counted web Icmp InEchos)
was_errors_web=$(counted web Ip InHdrErrors)
check "so it is with the node's" tool node1 frames dstm0 "" badsum "$a" "$web4"
check "after which a good one comes" answered node1 -c 1 "$web4"
check "and they do not" \
    test $(($(counted web Icmp InEchos) - was_web)) -eq 1
check "nor as errors of the other side's" \
    test "$(counted web Ip InHdrErrors)" -eq "$was_errors_web"
check "the kernel has counted them too" \
    test $(($(counted tep Ip InHdrErrors) - was_errors)) -eq 5
check "in a longer frame they come" come padded "$web4"
check "in one too short: none" none short "$web4"
check "of a VLAN: none" none vlan "$web4"
check "to another host: none" none otherhost "$web4"
check "to all: none" none broadcast "$web4"
check "to a group: none" none multicast "$web4"
for source in "$gate4" "$pool.1" 127.0.0.1 0.0.0.0 224.0.0.1 255.255.255.255; do
	check "from $source: none" none good "$source"
done
on tep ip link add sink type veth peer name drain
on tep ip link set sink up
on tep ip link set drain up
on tep ip route add 203.0.113.0/24 dev sink
check "of another interface's network they come" come good 203.0.113.5
on tep sysctl -qw net.ipv4.conf.v4.rp_filter=1
check "with rp_filter: none" none good 203.0.113.5
check "nor behind good ones" second_none 203.0.113.5
check "and the others are past the kernel" onward
on tep sysctl -qw net.ipv4.conf.v4.rp_filter=0

# What its routes say.
check "another of web's addresses" to_second "$web4" "$other4" 10
on tep ip route add blackhole "$other4"
check "a blackhole there" silent node1 "$other4"
check "and behind good ones" to_second "$web4" "$other4" 5
on tep ip route del blackhole "$other4"
check "none" to_second "$web4" "$other4" 10
check "a blackhole for a service" \
    on tep ip route add blackhole "$other4" tos 0x10
check "it is one" to_second "$other4" "$other4/0x10" 5
on tep ip route del blackhole "$other4" tos 0x10
check "none" to_second "$other4" "$other4/0x10" 10
on tep sysctl -qw net.ipv4.conf.v4.forwarding=0
check "no forwarding there" silent
check "nor from the other side" silent web "$a"
on tep sysctl -qw net.ipv4.conf.v4.forwarding=1
again "forwarding"
told() {
	on "$1" ping -M "do" -s "$3" -c 3 -i 0.2 -W 1 "$2" 2>&1 |
	    grep -E "mtu ?= ?$4"
}
learnt() {
	on node1 ip route get "$1" | grep "mtu $2"
}
check "too big for the tunnel: the sender is told" told web "$a" 1472 1460
on tep ip link set dev v4 mtu 1300
check "TCP over a narrower link" on node1 iperf3 -c "$web4" -n 2M
check "its sender has learnt its MTU" learnt "$web4" 1300
on web ip link set dev eth0 mtu 1300
check "fragments, where it may" answered node1 -M dont -s 1400 "$other4"
check "where it may not, the sender is told" told node1 "$other4" 1400 1300
on web ip link set dev eth0 mtu 1500
on tep ip link set dev v4 mtu 1500
again "the link's MTU"

# Firewalls. From the moment on: a flow's packets that have come to the other
# side as the rule is there are all.
dropped() {
	on tep nft -j list ruleset | jq -e --argjson n "$1" \
	    '[.. | objects | .counter.packets? // empty] | add == $n'
}
load() {
	on tep nft "table $1 t {
		chain c {
			type filter hook $2 priority 0;
			$3
		}
	}"
}
unload() {
	on tep nft delete table "$1" t
}
check "a firewall of the host's own" load ip input "counter"
check "changes nothing" onward
unload ip
for hook in prerouting forward postrouting; do
	check "$hook: a firewall that drops nothing" load ip "$hook" ""
	check "$hook: each packet is the kernel's" by_kernel
	check "$hook: and from the other side" by_kernel web "$a"
	[ "$hook" != forward ] || check "as before, one hop less" ttl web "$a"
	[ "$hook" != forward ] || check "and to the node" ttl node1 "$web4"
	unload ip
	again "$hook: no firewall"
	for way in saddr daddr; do
		ip netns exec "$NS-node1" ping -q -i 0.002 "$web4" \
		    >"$T/flow.out" 2>&1 &
		PIDS="$PIDS $!"
		flow=$!
		end=$([ $way = saddr ] && echo web Icmp InEchos ||
		    echo node1 Icmp InEchoReps)
		# shellcheck disable=SC2086 # its words
		was=$(counted $end)
		flows() {
			# shellcheck disable=SC2086
			[ "$(counted $end)" -gt $((was + 100)) ]
		}
		check "$hook, $way: packets pass" wait_for 5 flows
		load ip "$hook" "ip $way $a counter drop"
		# shellcheck disable=SC2086
		was=$(counted $end)
		check "$hook, $way: a rule drops" silent
		# shellcheck disable=SC2086
		check "$hook, $way: all, from then on" \
		    test "$(counted $end)" -eq "$was"
		kill -INT "$flow"
		wait "$flow"
		unload ip
		load ip "$hook" "ip $way $a counter drop"
		check "$hook, $way: none passes" silent
		check "$hook, $way: it has counted them" dropped 20
		unload ip
		again "$hook, $way: no rule"
	done
done
check "masquerade" on tep nft "table ip t {
	chain c {
		type nat hook postrouting priority srcnat;
		oifname v4 ip saddr $a masquerade
	}
}"
check "it works" fetch node1
check "as from the TEP's address" \
    test "$(tail -n 1 "$T/web-access.log" | cut -d ' ' -f 1)" = "$gate4"
unload ip
check "none" fetch node1
check "as from its own" \
    test "$(tail -n 1 "$T/web-access.log" | cut -d ' ' -f 1)" = "$a"
again "no masquerade"

# And what else may be at an interface.
for at in "ingress device v4" "egress device v4" "ingress device eth0" \
    "egress device eth0"; do
	case $at in
	"egress device v4"|"ingress device eth0")	way=saddr ;;
	*)						way=daddr ;;
	esac
	check "netdev, $at" load netdev "$at" "ip $way $a counter drop"
	check "none passes" silent
	check "it has counted them" dropped 20
	unload netdev
	again "no netdev, $at"
done
for way in ingress egress; do
	[ $way = egress ] && field=src || field=dst
	on tep tc qdisc add dev v4 clsact
	check "tc, $way" on tep tc filter add dev v4 $way protocol ip u32 \
	    match ip "$field" "$a/32" action mirred egress redirect dev sink
	check "none passes" silent
	on tep tc qdisc del dev v4 clsact
	again "no tc"
done
# 0x0008: IPv4
check "another's program at the interface behind" \
    dropper v4 ingress protocol 0x0008
check "none passes" silent
dropper_end
again "no program"
for policy in "fwd src 0.0.0.0/0 dst $a/32" "fwd src $a/32 dst 0.0.0.0/0" \
    "out src 0.0.0.0/0 dst $a/32" "out src $a/32 dst 0.0.0.0/0"; do
	# shellcheck disable=SC2086 # its words
	check "IPsec, $policy" on tep ip xfrm policy add dir $policy \
	    action block
	check "none passes" silent
	# shellcheck disable=SC2086
	on tep ip xfrm policy del dir $policy
	again "no policy"
done
check "IPsec by default" on tep ip xfrm policy setdefault fwd block
check "none passes" silent
on tep ip xfrm policy setdefault fwd accept
again "no such default"

# The neighbour's link address is another one: nothing is heard of it, so the
# kernel has to ask.
on tep sysctl -qw net.ipv4.neigh.v4.base_reachable_time_ms=1000 \
    net.ipv4.neigh.v4.delay_first_probe_time=1
was_mac=$(mac web eth0)
on web ip link set dev eth0 address 02:00:00:00:ca:fe
check "another link address is found" wait_for 20 answered
again "another link address"
on web ip link set dev eth0 address "$was_mac"
check "and the first again" wait_for 20 answered
again "the first"

# Interfaces come and go.
programs() {
	[ "$(tool tep tcx "$1")" -eq "$2" ]
}
host web2
cable tep late web2 eth0
on tep ip addr add 10.9.0.1/24 dev late
on web2 ip addr add 10.9.0.2/24 dev eth0
on web2 ip route add default via 10.9.0.1
check "another interface: past the kernel" wait_for 5 onward node1 10.9.0.2
check "from there too" onward web2 "$a"
check "by a program there" programs late 1
on tep ip link set late down
check "it is down: no program" wait_for 5 programs late 0
on tep ip link set late up
check "it is up: past the kernel" wait_for 10 onward web2 "$a"
ip netns exec "$NS-tep" python3 regress/domain/onward.py echo echo \
    >"$T/echo.out" 2>&1 &
PIDS="$PIDS $!"
echo=$!
check "one without link addresses" wait_for 5 grep attached "$T/echo.out"
on tep ip link set echo up
on tep ip addr add 10.8.0.1/24 dev echo
check "out of it, into it" answered node1 10.8.0.2
check "it has no program" programs echo 0
kill "$echo"
wait "$echo" 2>/dev/null

# It is killed, and comes back.
ip netns exec "$NS-node1" ping -q -i 0.005 -c 200 -W 2 "$web4" \
    >"$T/flow.out" 2>&1 &
PIDS="$PIDS $!"
flow=$!
was=$(counted web Icmp InEchos)
some() {
	[ "$(counted web Icmp InEchos)" -gt $((was + 50)) ]
}
check "packets pass" wait_for 5 some
stop tep KILL
wait "$flow"
check "killed meanwhile: nothing is lost" grep ' 0% packet loss' "$T/flow.out"
check "no program is left behind" wait_for 5 programs v4 0
check "packets pass without it" answered
check "and from the other side" answered web "$a"
check "the TEP starts again" start tep
check "past the kernel again" wait_for 15 onward
check "from the other side too" onward web "$a"
stop tep
sed -i 's/^plane auto/plane bpf interface/' "$T/tep.conf"
check "it starts with \"interface\"" start tep
check "it works" wait_for 15 fetch node1 1
check "each packet is the kernel's" by_kernel
check "and from the other side" by_kernel web "$a"
check "no program is behind" programs v4 0
stop tep
sed -i 's/^plane bpf interface/plane auto/' "$T/tep.conf"
check "it starts as before" start tep
check "past the kernel again" wait_for 15 onward

# A kernel that does not tell of its structures.
sbin=$SBIN
mkdir "$T/plain"
ln -s "$SBIN/dstmctl" "$T/plain/dstmctl"
cat >"$T/plain/dstmd" <<-EOT
	#!/bin/sh
	mount -t tmpfs none /sys/kernel/btf && exec "$SBIN/dstmd" "\$@"
EOT
chmod +x "$T/plain/dstmd"
stop tep
SBIN=$T/plain
check "without BTF it starts" start tep
SBIN=$sbin
check "all is the kernel's" wait_for 15 by_kernel
check "by the outer interface" \
    sh -c "ip netns exec '$NS-tep' ip route get '$a' | grep 'dev eth0'"
stop tep
check "with BTF it starts" start tep
check "past the kernel again" wait_for 15 onward

# What the kernel does not take back, in another host each: that there was a
# rule for routes, the old iptables' hooks, and a bridge's with br_netfilter.
another_tep() {
	stop tep
	on tep ip link del eth0
	on tep ip link del v4
	ip netns del "$NS-tep"
	v6host tep 3 "$tep6"
	cable tep v4 web eth0
	on tep ip addr add "$gate4/24" dev v4
	on tep sysctl -qw net.ipv4.ip_forward=1
	on web ip addr add "$web4/24" dev eth0
	on web ip addr add "$other4/32" dev eth0
	on web ip route add default via "$gate4"
	check "$1: another TEP" start tep
	check "$1: past the kernel" wait_for 20 onward
}
another_tep "rules"
on tep ip route add blackhole default table 99
for rule in "from $a to $other4" "from $other4" "iif eth0 to $other4" \
    "tos 0x10" "to $other4 ipproto icmp"; do
	# shellcheck disable=SC2086 # its words
	on tep ip rule add $rule lookup 99
	check "a rule \"$rule\"" silent node1 -Q 0x10 "$other4"
	check "others pass" answered
	# shellcheck disable=SC2086
	on tep ip rule del $rule lookup 99
	check "none" answered node1 -Q 0x10 "$other4"
done
if on tep iptables-legacy -t raw -nL >"$T/check.out" 2>&1; then
	another_tep "the old iptables"
	on tep iptables-legacy -t raw -A PREROUTING -s "$a" -j DROP
	check "its rule drops" silent
	on tep iptables-legacy -t raw -F
	check "without its rule it works" answered
fi

another_tep "a bridge"
by_bridge=onward
! on tep test -d /proc/sys/net/bridge || by_bridge=by_kernel
on tep ip link add br0 type bridge
on tep ip link set br0 up
on tep ip link set v4 master br0
on tep ip addr flush dev v4
on tep ip addr add "$gate4/24" dev br0
check "it has a program" wait_for 5 programs br0 1
check "and its port none" wait_for 5 programs v4 0
check "it works" wait_for 10 $by_bridge
check "and from the other side" $by_bridge web "$a"
on tep ip link set v4 nomaster
on tep ip link del br0
on tep ip addr add "$gate4/24" dev v4
check "out of it again: a program there" wait_for 5 programs v4 1
check "it works" wait_for 10 $by_bridge
done_testing
