#!/bin/sh
# Two servers: the first sends a node to the second, which its configuration
# trusts, and another one to where it does not.
set -u
. regress/domain/lib.sh
domain_start
domain_build colocated 2
web_start || die "no web server"
far6=2001:db8:4::2
v6host far 4 "$far6"
cable far v4 web eth1
on far ip addr add 203.0.113.1/24 dev v4
on far sysctl -qw net.ipv4.ip_forward=1
on web ip addr add 203.0.113.80/24 dev eth1
on web ip route add 10.9.0.0/24 via 203.0.113.1
conf_server colocated "20 min 2" | sed "s,quarantine.*,&\\
		redirect to $far6," >"$T/server.conf"
conf_server colocated "20 min 2" | sed "s,server.sock,far.sock,
	s,server.store,far.store,
	s,$server6,$far6,
	s,tep \"tep\" {.*,tep \"tep\" { address $far6 10.9.1.1 interface dstm0 },
	s,$pool.0/24 exclude .*,10.9.0.0/24," >"$T/far.conf"
conf_node node1 alice | sed "s,server $server6,&\\
		server $far6," >"$T/node1.conf"
conf_node node2 bob >"$T/node2.conf"

check "a server starts" start server
check "another one starts" start far
check "the first drains" ctl server drain
check "a node that knows both starts" start node1
from_far() {
	case $(node_address node1) in
	10.9.0.*) return 0 ;;
	esac
	return 1
}
check "it is redirected, and gets a lease of the second" wait_for 10 from_far
check "which it says" grep -q 'server 1 sends us to server 2' "$T/node1.log"
check "IPv4 goes by the second" on node1 ping -c 1 -W 2 203.0.113.80
check "a node that knows the first alone starts" start node2
check "it does not follow" \
    wait_for 10 grep -q 'sends us to nobody' "$T/node2.log"
refuse "and has no lease" has_lease node2
check "the first drains no more" ctl server drain off
check "and it has one" wait_for 40 has_lease node2
check "the second drains, renewals as well" ctl far drain all
from_first() {
	case $(node_address node1) in
	"$pool".*) return 0 ;;
	esac
	return 1
}
check "its node moves to the first when the lease is over" \
    wait_for 60 from_first
check "and has the page" fetch node1
done_testing
