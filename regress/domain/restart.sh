# Of restart.t and restart-bpf.t: every process is killed under traffic, then
# all at once: no lease is lost. $plane: which data plane.
. regress/domain/lib.sh
domain_start
domain_build colocated 1
web_start || die "no web server"
{ echo "plane $plane"; conf_server colocated "60 min 5"; } >"$T/server.conf"
{ echo "plane $plane"; conf_node node1 alice; } >"$T/node1.conf"
check "the server starts" start server
needs_bpf server
check "it has plane $plane" grep -q "data plane: $plane" "$T/server.log"
check "the node starts" start node1
check "the node has a lease" wait_for 15 has_lease node1
a=$(node_address node1)

# Of plane tun's TEP one for each processor, if this kernel spreads packets.
tunnels() {
	ctl "$1" -j show processes |
	    jq '[.[] | select(.name | startswith("tunnel"))] | length'
}
want=1
if [ "$plane" = tun ] && ! grep -q 'are moved by one process' "$T/server.log"
then
	want=$(nproc)
	[ "$want" -le 4 ] || want=4
fi
check "the server has $want tunnel processes" test "$(tunnels server)" = "$want"
check "the node has one" test "$(tunnels node1)" = 1

# Steady traffic: 100 packets a second, lost ones are counted at the end.
ip netns exec "$NS-node1" ping -i 0.01 "$web4" >"$T/ping.out" 2>&1 &
pinger=$!
PIDS="$PIDS $!"

came_back() {
	new=$(process "$1" "$2")
	[ -n "$new" ] && [ "$new" != 0 ] && [ "$new" != "$3" ]
}
for h in server node1; do
	for p in parser auth store session tunnel tunnel2; do
		old=$(process "$h" "$p")
		# one processor, a node, or plane bpf
		[ "$p" != tunnel2 ] || [ -n "$old" ] || continue
		check "$h: kill -9 of $p" kill -9 "$old"
		check "$h: $p is started again" \
		    wait_for 10 came_back "$h" "$p" "$old"
		check "$h: traffic goes on" wait_for 5 fetch node1 2
		check "$h: the lease is the same" \
		    test "$(node_address node1)" = "$a"
	done
done
kill -INT "$pinger"
wait "$pinger"
summary=$(grep 'packets transmitted' "$T/ping.out")
echo "# $summary"
sent=${summary%% packets*}
got=$(echo "$summary" | sed 's/.*, \([0-9]*\) received.*/\1/')
check "there was traffic all the time" test "${sent:-0}" -ge 50
# Each of the two tunnel restarts may lose what waited in its buffers.
check "what is lost is at most a second of each tunnel's restart" \
    test $((sent - got)) -le 100

# With plane bpf: so many of our programs are at the ingress of a host's outer
# interface. what host number
has_programs() {
	[ "$(on "$1" tc filter show dev eth0 ingress |
	    grep -c 'pref 213 .*handle 0x')" = "$2" ]
}
programs() {
	[ "$plane" != bpf ] || check "$1" has_programs "$2" "$3"
}
for h in server node1; do
	programs "$h: one program is at its outer interface" "$h" 1
done

new_login() {
	ctl server -j show sessions | jq -e '.[] | select(.user == "alice")'
}
check "the node has logged in again" wait_for 30 new_login
renewals=$(lease node1 renewals)
more() {
	[ "$(lease node1 renewals)" -gt "$renewals" ]
}
check "and still renews" wait_for 60 more

stop server KILL
ended() {
	! kill -0 "$1"
}
check "kill -9 of the whole server" wait_for 5 ended "$(pid_of server)"
children_gone() {
	[ -z "$(ip netns pids "$NS-server")" ]
}
check "none of its processes is left" wait_for 5 children_gone
check "the node keeps its address meanwhile" \
    test "$(node_address node1)" = "$a"
check "the server starts again" start server
programs "one program is at its outer interface, the new one" server 1
check "the lease is back" wait_for 5 has_lease server
check "it is the same" test "$(lease server address)" = "$a"
check "and works" wait_for 5 fetch node1 2

stop node1 KILL
gone() {
	! on node1 ip link show dev dstm0
}
if [ "$plane" = bpf ]; then
	check "kill -9 of the whole node: its IPv4 stays" \
	    test "$(node_address node1)" = "$a"
else
	check "kill -9 of the whole node: the kernel undoes its IPv4" \
	    wait_for 5 gone
fi
check "the node starts again" start node1
check "it has a lease" wait_for 15 has_lease node1
programs "one program is at its outer interface" node1 1
check "the same address as before" test "$(node_address node1)" = "$a"
check "and works" fetch node1

for h in server node1; do
	on "$h" ip link del dev dstm0
	check "$h: somebody removes the interface of the tunnel" \
	    wait_for 5 grep -q 'somebody has removed' "$T/$h.log"
	check "$h: it is made again, and works" wait_for 15 fetch node1 2
done
check "the address is the same" test "$(node_address node1)" = "$a"
for h in server node1; do
	programs "$h: one program is at its outer interface" "$h" 1
done

# A route of somebody else's is not ours to replace.
stop node1
on node1 ip route add unreachable default metric 512
check "the node starts beside a default route of its metric" start node1
check "it says so" \
    wait_for 15 grep -q 'another IPv4 default route' "$T/node1.log"
check "and leaves it" \
    sh -c "ip -n $NS-node1 route show | grep -q '^unreachable default'"

kill -HUP "$(pid_of server)"
check "SIGHUP is taken" \
    wait_for 5 grep -q 'SIGHUP' "$T/server.log"
check "SIGHUP does not end it" ctl server show processes
stop server
check "SIGTERM ends it cleanly" grep -q ': ended' "$T/server.log"
refuse "its socket is gone" test -e "$T/server.sock"
programs "no program is left at its outer interface" server 0
refuse "nor the qdisc that held it" \
    sh -c "tc -n $NS-server qdisc show dev eth0 | grep -q clsact"
refuse "nor its tunnel's interface" on server ip link show dev dstm0
stop node1
programs "SIGTERM of the node leaves no program either" node1 0
done_testing
