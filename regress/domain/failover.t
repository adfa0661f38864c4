#!/bin/sh
# A server with two TEPs on other hosts: one that is silent, or refuses,
# costs a node a few seconds and no error.
set -u
. regress/domain/lib.sh
domain_start
domain_build remote 2
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
conf_node node1 alice >"$T/node1.conf"
conf_node node2 bob >"$T/node2.conf"

check "a TEP starts" start tep
check "another one starts" start far
check "the server starts" start server
up() {
	grep -q "TEP $1 is up" "$T/server.log"
}
check "it has the one" wait_for 20 up tep
check "and the other" wait_for 20 up far
check "a node starts" start node1
check "it has a lease" wait_for 10 has_lease node1
check "of the first pool" test "$(node_address node1)" = "$pool.16"
check "and the page" fetch node1

# The TEP hangs: its connection is there, and it says nothing.
frozen=$(ip netns pids "$NS-tep")
# shellcheck disable=SC2086
kill -STOP $frozen
check "another node starts, while the TEP is silent" start node2
from_far() {
	case $(node_address node2) in
	10.9.0.*) return 0 ;;
	esac
	return 1
}
check "it has a lease of the other TEP" wait_for 10 from_far
check "and the page" fetch node2
refuse "it was told no error" grep -q 'refuses' "$T/node2.log"
# shellcheck disable=SC2086
kill -CONT $frozen
check "the TEP comes back: the first node's packets pass" \
    wait_for 30 fetch node1 2
# What was half made there is removed when notes are compared.
alone() {
	[ "$(ctl tep -j show leases | jq length)" -eq 1 ]
}
check "it has the first node's entry alone" wait_for 40 alone

# A TEP that refuses: its configuration allows other addresses.
stop tep
sed "s,allow $pool.0/24,allow 192.0.2.0/28," "$T/tep.conf" >"$T/t.conf"
mv "$T/t.conf" "$T/tep.conf"
check "the TEP starts again, and refuses all" start tep
first_moved() {
	case $(node_address node1) in
	10.9.0.*) return 0 ;;
	esac
	return 1
}
check "its node loses its lease and gets one of the other" \
    wait_for 60 first_moved
check "and the page" wait_for 5 fetch node1 2
done_testing
