#!/bin/sh
# plane bpf goes on without dstmd: all of it is killed, ended for an upgrade,
# and followed by one with another layout of its maps, at the TEP and at the
# node, and not one packet is lost. A lease that ends meanwhile ends.
set -u
grep -q "^BPF_LIBS = ." config.mk || {
	echo "1..0 # SKIP built without clang and libbpf"
	exit 0
}
# Pins of its own, which go with it: a mount namespace. The daemons share it,
# as on a host; "ip netns exec" gives each process its own /sys.
if [ "${1:-}" != inside ]; then
	exec unshare -m --propagation private "$0" inside
fi
. regress/domain/lib.sh
domain_start
mount -t bpf -o mode=0700 bpf /sys/fs/bpf || {
	echo "1..0 # SKIP this kernel has no bpffs"
	exit 0
}

under=
start() {
	# shellcheck disable=SC2086 # $under is a command with its arguments
	nsenter --net="/run/netns/$NS-$1" $under "$SBIN/dstmd" -d -v \
	    -f "$T/$1.conf" >>"$T/$1.log" 2>&1 &
	eval "pid_$1=$!"
	PIDS="$PIDS $!"
	wait_for 15 ctl "$1" show processes ||
	    { cat "$T/$1.log" >&2; return 1; }
}

domain_build remote 1
web_start || die "no web server"
conf_server remote "120 min 5" >"$T/server.conf"
{ echo "plane bpf"; conf_tep; } >"$T/tep.conf"
{ echo "plane auto"; conf_node node1 alice; } >"$T/node1.conf"
# Somebody else's filter is not ours.
on tep tc qdisc add dev eth0 clsact
on tep tc filter add dev eth0 ingress pref 10 protocol arp u32 \
    match u32 0 0
foreign() {
	on tep tc filter show dev eth0 ingress | grep -q 'pref 10 '
}
check "the server starts" start server
check "the TEP starts" start tep
needs_bpf tep
check "it has plane bpf" grep -q "data plane: bpf" "$T/tep.log"
pin_tep=$(echo /sys/fs/bpf/dstmd/*-state)
check "the node starts" start node1
pin_node1=$(find /sys/fs/bpf/dstmd -name '*-state' ! -path "$pin_tep")
check "the node has a lease" wait_for 15 has_lease node1
a=$(node_address node1)
pins() {
	[ "$(find /sys/fs/bpf/dstmd -type f | wc -l)" -eq "$1" ]
}
check "each of both has its pins" pins 8
check "which are root's alone" \
    test "$(stat -c %a /sys/fs/bpf/dstmd)" = 700

# Traffic both ways, each packet counted; the web host asks for itself.
traffic() {
	ip netns exec "$NS-node1" ping -q -i 0.005 "$web4" \
	    >"$T/ping.node" 2>&1 &
	ping_node=$!
	ip netns exec "$NS-web" ping -q -i 0.005 "$a" >"$T/ping.web" 2>&1 &
	ping_web=$!
	PIDS="$PIDS $ping_node $ping_web"
}
lost() {
	sed -n 's/^\([0-9]*\) packets.*, \([0-9]*\) received.*/\1 \2/p' "$1" |
	    { read -r sent got && [ "$sent" -ge "$2" ] && echo $((sent - got)); }
}
received() {
	on "$1" cat /proc/net/snmp |
	    awk '/^Icmp:/ { n++; if (n == 1) { for (i = 2; i <= NF; i++)
		if ($i == "InEchoReps") c = i } else print $c }'
}
# HOST: so many more answers have come there than when $from was taken.
more() {
	[ "$(received "$1")" -ge $((from + $2)) ]
}
# What comes in that while passes the host without its daemon.
goes_on() {
	from=$(received node1)
	check "$1" wait_for 5 more node1 100
}
no_loss() {
	kill -INT "$ping_node" "$ping_web"
	wait "$ping_node" "$ping_web"
	tail -n 3 "$T/ping.node" "$T/ping.web" | sed -n '/transmitted/s/^/# /p'
	check "$1: no packet of the node's is lost" \
	    test "$(lost "$T/ping.node" 200)" = 0
	check "$1: no packet of the other side's is lost" \
	    test "$(lost "$T/ping.web" 200)" = 0
}
gone() {
	[ -z "$(ip netns pids "$NS-$1" | while read -r p; do
		sed -n '/dstmd/p' "/proc/$p/comm" 2>/dev/null
	done)" ]
}
settled() {
	case $1 in
	tep) new_log tep | grep -q 'notes compared' ;;
	*) new_log "$1" | grep -q 'IPv4 .* on dstm0' ;;
	esac
}
mark() {
	marked=$(wc -l <"$T/$1.log")
}
new_log() {
	tail -n +$((marked + 1)) "$T/$1.log"
}
said() {
	new_log "$1" | grep -q "$2"
}
# HOST SIGNAL WHAT: its daemon ends so, and another one comes.
round() {
	traffic
	from=$(received node1)
	check "$3: there is traffic" wait_for 5 more node1 100
	mark "$1"
	stop "$1" "$2"
	check "$3: none of its processes is left" wait_for 10 gone "$1"
	goes_on "$3: packets pass without it"
	[ -z "${4:-}" ] || check "$3: with another layout" "$4" "$1"
	check "$3: another one starts" start "$1"
	check "$3: and knows the leases" wait_for 15 settled "$1"
	check "$3: which it has from before" \
	    said "$1" "${5:-taken over}"
	goes_on "$3: packets pass with it"
	no_loss "$3"
	check "$3: the address is the same" test "$(node_address node1)" = "$a"
}
other_layout() {
	python3 regress/tunnel/pin.py "$pin_tep" 56 0 0 9999
}
for h in tep node1; do
	round "$h" KILL "$h, kill -9"
done
round node1 USR2 "node1, SIGUSR2"
round tep KILL "tep, another version" other_layout "another dstmd's programs"
check "there are no more pins than at first" pins 8
for h in tep node1; do
	check "$h: one program is at its outer interface" test \
	    "$(on "$h" tc filter show dev eth0 ingress |
	    grep -c 'pref 213 .*handle 0x')" = 1
done

# IPsec policies are heeded, which programs would pass by: by the process.
tunnel() {
	kill "-$1" "$(process tep tunnel)"
}
if on tep ip xfrm policy count >"$T/check.out" 2>&1; then
	mark tep
	on tep ip xfrm policy add src 2001:db8:f::/48 dst 2001:db8:e::/48 \
	    dir out action block
	check "an IPsec policy is seen" \
	    wait_for 10 said tep "has IPsec policies"
	check "packets pass" wait_for 5 fetch node1 1
	tunnel STOP
	refuse "and not without the tunnel process" fetch node1 1
	on tep ip xfrm policy deleteall
	check "its end is seen" \
	    wait_for 10 said tep "no IPsec policies any more"
	check "packets pass without that process" wait_for 5 fetch node1 1
	tunnel CONT
	# A node's, whose interface goes and comes.
	mark node1
	on node1 ip xfrm policy add src 2001:db8:f::/48 dst 2001:db8:e::/48 \
	    dir out action block
	check "the node sees one too" \
	    wait_for 10 said node1 "has IPsec policies"
	check "its lease is given back" ctl node1 down
	check "and it asks for another" ctl node1 up
	check "in time" wait_for 15 has_lease node1
	check "packets pass" wait_for 5 fetch node1 1
	kill -STOP "$(process node1 tunnel)"
	refuse "and still not without the tunnel process" fetch node1 1
	kill -CONT "$(process node1 tunnel)"
	on node1 ip xfrm policy deleteall
	check "its end is seen" \
	    wait_for 10 said node1 "no IPsec policies any more"
	a=$(node_address node1)
else
	echo "# this kernel has no IPsec: not seen with policies"
fi

# The TEP's own inner address is another now: the old one may be a lease's.
stop tep KILL
check "the TEP is killed" wait_for 10 gone tep
sed "s/$pool\.1\$/$pool.2/; s/$pool\.1 /$pool.2 /" "$T/tep.conf" >"$T/tep.new"
cp "$T/tep.conf" "$T/tep.old"
cp "$T/tep.new" "$T/tep.conf"
check "it starts with another address" start tep
has_only() {
	[ "$(on tep ip -4 -o addr show dev dstm0 | awk '{ print $4 }')" = "$1/32" ]
}
check "it has that alone" wait_for 5 has_only "$pool.2"
check "the node's packets pass" wait_for 15 fetch node1 1
stop tep KILL
check "the TEP is killed again" wait_for 10 gone tep
cp "$T/tep.old" "$T/tep.conf"
check "it starts as before" start tep
check "and has its address alone" wait_for 5 has_only "$pool.1"
check "packets pass as before" wait_for 15 fetch node1 1

# What is over while it is dead.
dead() {
	stop "$1" KILL
	check "$1 is killed" wait_for 10 gone "$1"
}
mark tep
dead tep
check "the node gives its lease back meanwhile" ctl node1 down
check "the TEP starts again" start tep
check "its server has told it all" wait_for 15 said tep "notes compared"
programs_have() {
	[ "$(ctl tep -j show tunnels | jq '[.[] | select(.in_packets)] | length')" = "$1" ]
}
check "the entry is removed, as nobody's" wait_for 15 programs_have 0

lifetime=20
stop server
conf_server remote "$lifetime min 5" >"$T/server.conf"
check "the server starts, with a short lifetime" start server
check "the node has a lease again" ctl node1 up
check "in time" wait_for 15 has_lease node1
a=$(node_address node1)
check "it works" wait_for 15 fetch node1 1

traffic
dead server
dead tep
dead node1
goes_on "nobody is left, and packets pass"
stands() {
	from=$(received node1)
	! wait_for 1 more node1 1
}
check "not beyond the lease's end" wait_for $((lifetime + 10)) stands
kill -INT "$ping_node" "$ping_web"
check "it was the programs that ended it" \
    test "$(python3 regress/tunnel/pin.py "${pin_node1%state}drops" \
    $((8 * $(getconf _NPROCESSORS_CONF))) 6)" -gt 0
for h in server tep node1; do
	check "$h starts again" start "$h"
done
check "the node has a lease" wait_for 30 has_lease node1
check "and it works" wait_for 15 fetch node1 1

stop node1 TERM
refuse "SIGTERM of the node: its interface is gone" \
    on node1 ip link show dev dstm0
check "and its pins" pins 4
stop tep TERM
refuse "SIGTERM of the TEP: its interface is gone" \
    on tep ip link show dev dstm0
check "and its pins" pins 0
check "somebody else's filter is left alone" foreign

# plane auto where the kernel refuses programs, and where it left some.
check "the TEP starts again" start tep
check "the node starts again" start node1
check "and has a lease" wait_for 30 has_lease node1
check "with plane bpf" \
    sh -c "$SBIN/dstmctl -s $T/node1.sock show tunnels | grep -q 'plane bpf'"
dead node1
under="setpriv --bounding-set -bpf,-sys_admin"
mark node1
check "the node starts, and may not use bpf" start node1
check "it says why it has plane tun" \
    said node1 'plane bpf: it is not allowed here (CAP_BPF, CAP_PERFMON); using tun'
check "it has a lease" wait_for 30 has_lease node1
# No TCP: its checksums, which veth leaves open, a raw socket does not close.
check "and it works" wait_for 15 on node1 ping -c 1 -W 1 "$web4"
check "with plane tun" \
    sh -c "$SBIN/dstmctl -s $T/node1.sock show tunnels | grep -q 'plane tun'"

# Another interface in the configuration: the old one is nobody's.
under=
stop node1 TERM
check "the node starts as at first" start node1
check "and has a lease" wait_for 30 has_lease node1
dead node1
sed -i 's/"dstm0"/"dstm7"/' "$T/node1.conf"
mark node1
check "it starts with another interface" start node1
check "it says that the old one is there" \
    said node1 'interface dstm0 is of a dstmd before'
stop node1 TERM
check "the old one's pins are there yet" pins 8
on node1 ip link del dstm0
touch -d '1 hour ago' /sys/fs/bpf/dstmd/*
check "it starts, and there is no old one" start node1
check "nor are its pins" pins 8
done_testing
