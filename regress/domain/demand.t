#!/bin/sh
# A node on demand: no lease until the host sends, none when it is silent.
set -u
. regress/domain/lib.sh
domain_start
domain_build colocated 1
web_start || die "no web server"
conf_server colocated "60 min 5" >"$T/server.conf"
conf_node node1 alice "on demand idle 3" >"$T/node1.conf"
nobody=192.0.0.6

on node1 sysctl -qw net.ipv4.ip_dynaddr=0
check "the server starts" start server
check "the node starts" start node1
check "it says what a connection needs that asks" \
    grep -q 'ip_dynaddr=1' "$T/node1.log"
idle() {
	[ "$(node_address node1)" = "$nobody" ]
}
check "its interface is there, without a lease" wait_for 5 idle
refuse "the server has leased nothing" has_lease server
check "a packet finds its way" on node1 ip -4 route get "$web4"

# What an application sees whose host does not change a waiting TCP's source.
refuse "without ip_dynaddr the connection that asks fails" fetch node1 2
check "but there is a lease" wait_for 5 has_lease node1
check "and the next one works" fetch node1 2
stop node1
on node1 sysctl -qw net.ipv4.ip_dynaddr=1
: >"$T/node1.log"
check "the node starts again, with ip_dynaddr" start node1
refuse "it has nothing to say" grep -q 'ip_dynaddr=1' "$T/node1.log"
check "it has no lease" wait_for 5 idle

check "the connection that asks works, after a second" fetch node1
a=$(node_address node1)
check "it was a packet that asked" grep -q 'a packet for dstm0' "$T/node1.log"
check "the web server saw the leased address" \
    grep -q "^$a " "$T/web-access.log"
refuse "the one without a lease is gone" idle

given_back() {
	ctl server -j show leases | jq -e \
	    ".[] | select(.address == \"$a\" and .state == \"quarantine\")"
}
check "silence: the lease is given back" wait_for 10 given_back
check "the interface stays" wait_for 2 idle
refuse "no lease is left on the node" has_lease node1
on node1 ping -c 3 -W 1 "$web4" >"$T/ping.out"
check "of an application without TCP the first packet is lost" \
    grep -q '3 packets transmitted, 2 received' "$T/ping.out"
check "the address is the same" test "$(node_address node1)" = "$a"
on node1 ping -i 1 -c 6 "$web4" >/dev/null
check "packets keep it" has_lease node1
refuse "without a break" given_back

# A stranger's packets do not: to what answers them nobody is at home.
ip netns exec "$NS-web" sh -c 'while :; do
	curl -4s -m 1 "http://$1:81/"; ping -c 1 -W 1 "$1"; sleep 0.3
done' stranger "$a" >/dev/null 2>&1 &
stranger=$!
PIDS="$PIDS $!"
check "the stranger reaches the node" wait_for 5 on web ping -c 1 -W 1 "$a"
check "a stranger's packets do not keep it" wait_for 10 given_back
kill "$stranger"

old=$(process node1 tunnel)
check "kill -9 of tunnel, while there is no lease" kill -9 "$old"
check "a packet still asks" wait_for 10 fetch node1 4
check "it is given back" wait_for 10 given_back
on node1 ip link del dev dstm0
check "somebody removes the interface: it is made again" wait_for 10 idle
check "and a packet asks" fetch node1

# The operator.
node() {
	ctl node1 -j show node | jq -r ".[0].$1"
}
is() {
	[ "$(node state)" = "$1" ]
}
check "show node: bound" is bound
check "its address" test "$(node address)" = "$a"
check "its server" test "$(node server)" = "$server6"
check "its TEP" test "$(node tep_ipv6)" = "$local6"
check "when it is renewed" test "$(node next)" -gt 20 -a "$(node next)" -lt 40
before=$(node renewals)
renewed() {
	[ "$(node renewals)" -gt "$before" ]
}
check "dstmctl renew" ctl node1 renew
check "renews it" wait_for 2 renewed
check "idle again" wait_for 10 is idle
refuse "dstmctl renew without a lease fails" ctl node1 renew
check "dstmctl up asks, without a packet" ctl node1 up
check "bound" wait_for 5 is bound
check "dstmctl down" ctl node1 down
gone() {
	! on node1 ip link show dev dstm0
}
check "gives it back, with the interface" wait_for 5 gone
check "the server knows" wait_for 5 given_back
check "it is down" is down
refuse "an application is told at once" fetch node1
sleep 1
check "and no packet changes that" is down
check "dstmctl up" ctl node1 up
check "the same address, and the page" wait_for 5 fetch node1
check "is bound" is bound
stop server
check "without a server it can not be renewed" ctl node1 renew
failed() {
	case $(node error) in
	"server 1: "*) return 0 ;;
	esac
	return 1
}
check "show node says why" wait_for 10 failed
ctl node1 show node | sed 's/^/# /'
check "the server starts again" start server
check "the node is at peace" wait_for 20 is idle
refuse "a server is no node" ctl server up
check "a packet asks" wait_for 5 fetch node1 4

stop node1
check "after SIGTERM there is no interface" gone
check "the node starts again" start node1
check "a packet asks" wait_for 5 fetch node1 4
check "for the address of before" test "$(node_address node1)" = "$a"
stop node1

# The outer address changes: renumbering, roaming.
conf_node node1 alice >"$T/node1.conf"
check "the node starts, always on" start node1
check "it has a lease" wait_for 5 is bound
a=$(node address)
o=$(node outer)
on node1 ip addr add 2001:db8:11::20/64 dev eth0 nodad
on node1 ip addr del "$o/64" dev eth0
moved() {
	is bound && [ "$(node outer)" = 2001:db8:11::20 ]
}
check "its outer address goes: it asks from another" wait_for 5 moved
check "and has the page" wait_for 5 fetch node1 2
refuse "its IPv4 is another, as that is leased for the old" \
    test "$(node address)" = "$a"
both() {
	[ "$(ctl server -j show leases | jq '[.[] |
	    select(.state == "bound")] | length')" -eq "$1" ]
}
check "the server holds the old lease to its end" both 2
stop server
sed 's,user "alice" {,& prefix 2001:db8:11::/64,' "$T/server.conf" \
    >"$T/prefix.conf"
mv "$T/prefix.conf" "$T/server.conf"
check "the server allows alice all of the network" start server
check "the node is there" wait_for 10 fetch node1 2
online() {
	ctl node1 -j show sessions | jq -e '.[] | select(.mechanism != null)'
}
check "with a session" wait_for 30 online
on node1 ip addr add 2001:db8:11::30/64 dev eth0 nodad
on node1 ip addr del 2001:db8:11::20/64 dev eth0
a=$(node address)
check "it moves again: its lease is given back at once" \
    wait_for 5 given_back
check "it has one" wait_for 5 is bound
check "and the page" wait_for 5 fetch node1 2
a=$(node address)
on node1 ip addr del 2001:db8:11::30/64 dev eth0
check "a break of the network" wait_gone 5 online
sleep 6
on node1 ip addr add 2001:db8:11::30/64 dev eth0 nodad
on node1 ip route replace default via 2001:db8:11::1
check "it calls when its address is there again" \
    wait_for 3 online
check "the lease is the same" test "$(node address)" = "$a"
check "and works" wait_for 3 fetch node1 2
stop node1

# The operator's script.
cat >"$T/event.sh" <<-EOT
#!/bin/sh
{ id -un; env | sort; grep -E "NoNewPrivs|CapEff|Seccomp:" /proc/self/status; } \
    >"$T/events/\$1" 2>&1
echo "\$1 \$DSTMD_IPV4" >>"$T/events/all"
[ "\$1" != lost ] || { sleep 97.$$ & sleep 97.$$; }
EOT
mkdir "$T/events"
chown _dstmd_event "$T/events"
chmod 777 "$T/event.sh"
conf_node node1 alice "event \"$T/event.sh\"" >"$T/node1.conf"
# on -d it would stay: it must end by itself, before it does anything
fails() {
	on node1 timeout 5 "$SBIN/dstmd" -d -f "$T/node1.conf" >"$T/fails" 2>&1
	[ $? -eq 1 ] && grep -q 'others may write to it' "$T/fails"
}
check "a script that others may write is refused" fails
chmod 755 "$T/event.sh"
check "the node starts, with a script" start node1
said() {
	grep -q "^$2" "$T/events/$1"
}
a=
check "up" wait_for 5 said all up
a=$(node address)
check "with the address" said up "DSTMD_IPV4=$a\$"
check "and the TEP" said up "DSTMD_TEP6=$local6\$"
check "as a user of its own" said up '_dstmd_event$'
check "without capabilities" said up 'CapEff:.0*$'
check "and no way to them" said up 'NoNewPrivs:.1$'
check "but any system call" said up 'Seccomp:.0$'
check "dstmctl down" ctl node1 down
check "down" wait_for 5 said down "DSTMD_REASON=given back\$"
check "dstmctl up" ctl node1 up
twice() {
	[ "$(grep -c '^up' "$T/events/all")" -eq "$1" ]
}
check "up again" wait_for 5 twice 2
check "the server takes it back" ctl server release "$(node address)"
check "lost" wait_for 5 said lost "DSTMD_REASON=the server took it back\$"
check "a script that hangs does not hold the daemon" wait_for 5 is bound
refuse "but the next one, which waits" twice 3
check "until it is killed" wait_for 15 twice 3
check "as the log says" grep -q 'does not end: killed' "$T/node1.log"
refuse "with what it had started" pgrep -r R,S,D -f "sleep 97.$$"
stop node1
check "at the end it was down" grep -q "^down" "$T/events/all"
check "which the daemon has waited for" \
    sh -c 'tail -n 1 "$1" | grep -q "^down"' - "$T/events/all"
done_testing
