#!/bin/sh
# A whole DSTM domain on this machine, in network namespaces: an IPv6-only
# node gets an IPv4 address and fetches a page from an IPv4-only host.
#
#	demo.sh run [remote]	shows every step, then takes all down;
#				exit status 0 only if all of it happened
#	demo.sh up [remote]	leaves the domain up, to look around
#	demo.sh down		takes down what "up" left
#
# remote: server and TEP on different hosts.
set -u
cd "$(dirname "$0")/.." || exit 1
PLANE=
. regress/domain/lib.sh

STATE=/run/dstmd-demo

step() {
	STEP=$((${STEP:-0} + 1))
	printf '\n%s. %s\n' "$STEP" "$1"
}

show() {
	sed 's/^/      /'
}

fail() {
	echo "FAILED: $1" >&2
	for l in "$T"/*.log; do
		echo "--- the end of ${l##*/}:" >&2
		tail -n 15 "$l" >&2
	done
	exit 1
}

users() {
	ADDED=
	getent passwd _dstmd_session >/dev/null || {
		ADDED=1
		sh etc/users.sh add | show
	}
}

demo_end() {
	status=$?
	[ -z "${ADDED:-}" ] || USERS_REMOVE=1
	if [ -n "${USERS_REMOVE:-}" ]; then
		# once the daemons are gone
		for p in $PIDS; do
			kill "$p" 2>/dev/null
		done
		for p in $PIDS; do
			wait "$p" 2>/dev/null
		done
		sh etc/users.sh remove >/dev/null
	fi
	(exit "$status")
	domain_end
}

build_domain() {
	step "The network: $1 server and TEP, all in network namespaces"
	domain_build "$1" 1
	web_start || fail "the web server does not start"
	sed 's/^/      /' <<-EOT
	node1   $(on node1 ip -6 -o addr show dev eth0 scope global |
	    sed 's/.*inet6 \([^ ]*\).*/\1/')    IPv6 only
	server  $server6
	TEP     $([ "$1" = remote ] && echo "$tep6" || echo "$local6")
	web     $web4            IPv4 only, nginx
	EOT
	conf_server "$1" "12 min 5" >"$T/server.conf"
	conf_node node1 alice >"$T/node1.conf"
	[ "$1" = colocated ] || conf_tep >"$T/tep.conf"
	for c in "$T"/*.conf; do
		"$SBIN/dstmd" -n -f "$c" 2>"$T/n.out" || {
			cat "$T/n.out" >&2
			fail "$c is refused"
		}
	done
	step "The node has no IPv4: the page is out of reach"
	on node1 curl -4sS -m 3 "http://$web4/" 2>&1 | show
	fetch node1 2 && fail "IPv4 works already"
	step "dstmd starts: $([ "$1" = remote ] && echo 'TEP, ')server, node"
	[ "$1" = colocated ] || start tep || fail "the TEP does not start"
	start server || fail "the server does not start"
	start node1 || fail "the node does not start"
	wait_for 15 has_lease node1 || fail "no lease"
}

show_lease() {
	step "The lease, as the server sees it (dstmctl show leases)"
	ctl server show leases | show
	step "The tunnel, on the node"
	on node1 ip -4 addr show dev dstm0 | show
	on node1 ip -4 route | show
}

show_page() {
	edge=$([ "$1" = remote ] && echo tep || echo server)
	step "The page, by curl -4, and what core sees of it: IPv6 alone"
	on core tcpdump -nli "to-$edge" -c 6 ip6 proto 4 \
	    >"$T/tcpdump.out" 2>"$T/tcpdump.err" &
	PIDS="$PIDS $!"
	wait_for 5 grep -q 'listening on' "$T/tcpdump.err" ||
	    fail "tcpdump does not start"
	before=$(tunnel_out)
	fetch node1 | show
	grep -q "\"GET / " "$T/web-access.log" || fail "no page was fetched"
	address=$(node_address node1)
	grep -q "^$address " "$T/web-access.log" ||
	    fail "the page was not fetched from $address"
	wait_for 5 test -s "$T/tcpdump.out" || fail "nothing was in the tunnel"
	head -n 3 "$T/tcpdump.out" | cut -c 1-100 | show
	echo "      nginx saw the client $address: no NAT"
	step "Counters of the tunnel at the TEP (dstmctl show tunnels)"
	ctl "$edge" show tunnels | show
	after=$(tunnel_out)
	[ "$after" -gt "$before" ] || fail "the counters did not move"
	echo "      $((after - before)) more packets for this page"
}

tunnel_out() {
	ctl "$edge" -j show tunnels |
	    jq '[.[] | .in_packets // 0, .out_packets // 0] | add // 0'
}

renewed() {
	[ "$(lease server renewals)" -ge 1 ]
}

no_address() {
	[ -z "$(node_address node1)" ]
}

show_end() {
	step "The renewal: the node asks again before its 12 seconds are over"
	wait_for 20 renewed || fail "no renewal"
	[ "$(node_address node1)" = "$address" ] || fail "another address"
	fetch node1 >/dev/null || fail "no IPv4 after the renewal"
	ctl server show leases | show
	step "The release (dstmctl release, on the node): IPv4 is gone"
	ctl node1 release || fail "release"
	wait_for 10 no_address || fail "the address is still there"
	[ -z "$(on node1 ip -4 route)" ] || fail "a route is still there"
	fetch node1 2 && fail "IPv4 still works"
	on node1 curl -4sS -m 3 "http://$web4/" 2>&1 | show
	ctl server show leases | show
	step "The end: SIGTERM"
	for h in node1 server $([ "$1" = remote ] && echo tep); do
		stop "$h" TERM
		tail -n 1 "$T/$h.log" | show
	done
	printf '\nAll of it happened.\n'
}

down() {
	[ -f "$STATE/pids" ] || die "no demo is up"
	read -r NS T NAMESPACES_LINE <"$STATE/domain"
	NAMESPACES=$NAMESPACES_LINE
	PIDS=$(cat "$STATE/pids")
	for p in $PIDS; do
		kill "$p" 2>/dev/null
	done
	for p in $PIDS; do
		wait_gone 10 kill -0 "$p"
	done
	[ ! -f "$STATE/users" ] || sh etc/users.sh remove
	for h in $NAMESPACES; do
		ip netns del "$NS-$h"
	done
	rm -rf "$T" "$STATE"
	echo "The demo is down."
	exit 0
}

up() {
	mkdir -p "$STATE" || exit 1
	echo "$NS $T $NAMESPACES" >"$STATE/domain"
	echo "$PIDS" >"$STATE/pids"
	[ -z "${ADDED:-}" ] || : >"$STATE/users"
	trap - EXIT INT TERM
	cat <<-EOT

	The domain stays up. For example:

	ip netns exec $NS-node1 curl -4 http://$web4/
	ip netns exec $NS-core tcpdump -ni any ip6 proto 4
	$SBIN/dstmctl -s $T/server.sock show leases
	$SBIN/dstmctl -s $T/node1.sock show tunnels
	tail -f $T/server.log

	"make demo-down" takes it down.
	EOT
	exit 0
}

[ "${1:-}" != down ] || down
case ${2:-colocated} in
colocated|remote)	;;
*)	die "usage: demo.sh run|up [remote], demo.sh down" ;;
esac
[ ! -e "$STATE" ] || die "a demo is up already: make demo-down"
domain_start
trap demo_end EXIT
users
build_domain "${2:-colocated}"
show_lease
show_page "${2:-colocated}"
case ${1:-run} in
up)	up ;;
run)	show_end "${2:-colocated}" ;;
*)	die "usage: demo.sh run|up [remote], demo.sh down" ;;
esac
