#!/bin/sh
# Dead peer detection: the TEP is gone while its server says that all is well;
# then the network is, and nobody says anything.
set -u
. regress/domain/lib.sh
domain_start
domain_build remote 1
web_start || die "no web server"
far6=2001:db8:4::2
v6host far 4 "$far6"
cable far v4 web eth1
on far sysctl -qw net.ipv4.ip_forward=1
on far ip addr add 203.0.113.1/24 dev v4
on far ip route add default via 203.0.113.80
on web ip addr add 203.0.113.80/24 dev eth1
on web ip route add 10.9.0.0/24 via 203.0.113.1
conf_server remote "60 min 5" | sed "s,pool \"lab\" {,pool \"far\" { 10.9.0.0/24 tep \"far\" }\\
		&,
	s,user \"\\([a-z]*\\)\" { pool \"lab\",& pool \"far\"," >"$T/server.conf"
cat >>"$T/server.conf" <<-EOT
tep "far" {
	connect to $far6
	login "dstm1" password "$T/dstm1.password"
}
EOT
conf_tep >"$T/tep.conf"
conf_tep | sed "s,tep.sock,far.sock,
	s,tep.store,far.store,
	s,$tep6 $pool.1,$far6 10.9.1.1,
	s,listen on $tep6,listen on $far6,
	s,allow $pool.0/24,allow 10.9.0.0/24," >"$T/far.conf"
cat >"$T/event" <<-EOT
#!/bin/sh
echo "\$1 \$DSTMD_REASON" >>$T/events
EOT
chmod 755 "$T" "$T/event"
: >"$T/events"
chmod 666 "$T/events"
conf_node node1 alice "route metric 512
	keepalive 5
	event \"$T/event\"" >"$T/node1.conf"

said() {
	grep -q "$1" "$T/node1.log"
}
life() {
	[ "$(ctl node1 -j show node | jq -r '.[0].tep')" = "$1" ]
}

check "a TEP starts" start tep
check "another one starts" start far
check "the server starts" start server
check "a node starts" start node1
check "it has a lease" wait_for 15 has_lease node1
a=$(node_address node1)
check "of the first pool" test "$a" = "$pool.16"
check "it finds that the TEP answers" wait_for 10 life answers
check "the host sees nothing of that" \
    sh -c "! ip netns exec $NS-node1 nstat -asz IcmpInEchoReps | grep -q '[1-9]'"

# The network carries nothing: nobody knows whose fault it is.
on core sysctl -qw net.ipv6.conf.all.forwarding=0
check "the TEP is silent, the server is asked" \
    wait_for 20 said 'does not answer: the server is asked'
check "the operator sees it" life silent
on core sysctl -qw net.ipv6.conf.all.forwarding=1
check "the network is back: the TEP answers again" \
    wait_for 30 said 'answers again'
check "the lease was kept" test "$(node_address node1)" = "$a"
check "and carries packets" wait_for 5 fetch node1 2
refuse "nothing was given back" said 'given back'

# Traffic is life: no request is sent while there is some.
packets() {
	ctl tep -j show tunnels |
	    jq ".[] | select(.address == \"$a\") | .in_packets"
}
before=$(packets)
check "traffic for two intervals" on node1 ping -c 10 -i 1 "$web4"
after=$(packets)
check "no echo of ours went with it ($before, $after)" \
    test $((after - before)) -eq 10

# The TEP hangs; its server renews without waiting for it.
frozen=$(ip netns pids "$NS-tep")
# shellcheck disable=SC2086
kill -STOP $frozen
check "the TEP hangs: the lease is given back" \
    wait_for 60 said "the lease of $a is given back"
check "the event says why" \
    wait_for 5 grep -q '^lost the TEP does not answer' "$T/events"
moved() {
	case $(node_address node1) in
	10.9.0.*) return 0 ;;
	esac
	return 1
}
check "there is another, of the TEP that lives" wait_for 60 moved
check "and the page" wait_for 5 fetch node1 2
check "its TEP answers" wait_for 10 life answers
# shellcheck disable=SC2086
kill -CONT $frozen
done_testing
