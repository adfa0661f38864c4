# A DSTM domain in network namespaces, for the tests here and for the demo.
# To be sourced by sh, as root, from the root of the source tree.
#
#	node1 --+                     +-- server --(IPv4)-- web
#	        +-- core (IPv6 only) -+
#	node2 --+                     +-- tep -----(IPv4)-- web
#
# core forwards IPv6 and knows no IPv4; web knows no IPv6. With co-located
# server and TEP there is no namespace tep, and web is behind server.

B=${B:-build/test}
SLOW=${SLOW:-1}		# of an emulated machine: what waits, waits so many times
SBIN=$PWD/$B/sbin
NS=dstm$$
T=
NAMESPACES=
PIDS=

web4=192.0.2.80
gate4=192.0.2.1
pool=198.51.100
server6=2001:db8:2::2
local6=2001:db8:2::3
tep6=2001:db8:3::3

die() {
	echo "$*" >&2
	exit 1
}

# A command in the namespace of a host.
on() {
	on_host=$1
	shift
	ip netns exec "$NS-$on_host" "$@"
}

# dstmctl of a host's daemon.
ctl() {
	ctl_host=$1
	shift
	"$SBIN/dstmctl" -s "$T/$ctl_host.sock" "$@"
}

# Waits until a command succeeds, at most so many seconds.
wait_for() {
	tries=$(($1 * 10 * SLOW))
	shift
	while ! "$@" >/dev/null 2>&1; do
		tries=$((tries - 1))
		[ "$tries" -gt 0 ] || return 1
		sleep 0.1
	done
}

wait_gone() {
	tries=$(($1 * 10 * SLOW))
	shift
	while "$@" >/dev/null 2>&1; do
		tries=$((tries - 1))
		[ "$tries" -gt 0 ] || return 1
		sleep 0.1
	done
}

host() {
	ip netns add "$NS-$1" || die "cannot make network namespaces"
	NAMESPACES="$NAMESPACES $1"
	on "$1" ip link set lo up
	on "$1" sysctl -qw net.ipv6.conf.all.accept_dad=0 \
	    net.ipv6.conf.default.accept_dad=0
}

# A cable between two hosts: host interface host interface.
cable() {
	ip link add "$2" netns "$NS-$1" type veth peer name "$4" \
	    netns "$NS-$3"
	on "$1" ip link set "$2" up
	on "$3" ip link set "$4" up
}

# Two hosts and nothing else, node and tep: what regress/tunnel drives.
pair() {
	host node
	host tep
	cable node eth0 tep eth0
	on node ip addr add 2001:db8::1/64 dev eth0 nodad
	on tep ip addr add 2001:db8::2/64 dev eth0 nodad
}

# A host on the IPv6-only network: name, its number, addresses.
v6host() {
	v6name=$1
	v6net=2001:db8:$2
	host "$v6name"
	cable "$v6name" eth0 core "to-$v6name"
	on core ip addr add "$v6net::1/64" dev "to-$v6name" nodad
	shift 2
	for v6addr; do
		on "$v6name" ip addr add "$v6addr/64" dev eth0 nodad
	done
	on "$v6name" ip route add default via "$v6net::1"
}

# The IPv4-only world behind a host.
webhost() {
	host web
	cable "$1" v4 web eth0
	on "$1" ip addr add "$gate4/24" dev v4
	on "$1" sysctl -qw net.ipv4.ip_forward=1
	on web sysctl -qw net.ipv6.conf.all.disable_ipv6=1
	on web ip addr add "$web4/24" dev eth0
	on web ip route add default via "$gate4"
}

# Hosts and cables: "colocated" or "remote", then how many nodes.
domain_build() {
	host core
	on core sysctl -qw net.ipv6.conf.all.forwarding=1
	i=1
	while [ "$i" -le "${2:-1}" ]; do
		v6host "node$i" "1$i" "2001:db8:1$i::10"
		i=$((i + 1))
	done
	if [ "$1" = remote ]; then
		v6host server 2 "$server6"
		v6host tep 3 "$tep6"
		webhost tep
	else
		v6host server 2 "$server6" "$local6"
		webhost server
	fi
	printf '%s\n' alice-password >"$T/alice.password"
	printf '%s\n' bob-password >"$T/bob.password"
	printf '%s\n' dstm1-password >"$T/dstm1.password"
	chmod 600 "$T"/*.password
	"$SBIN/dstmctl" passwd -f "$T/secrets" alice <"$T/alice.password"
	"$SBIN/dstmctl" passwd -f "$T/secrets" bob <"$T/bob.password"
	"$SBIN/dstmctl" passwd -f "$T/tep-secrets" dstm1 <"$T/dstm1.password"
}

# Configurations. conf_server colocated|remote LIFETIME [more lines]
conf_server() {
	cat <<-EOT
	control "$T/server.sock"
	store "$T/server.store"
	secrets "$T/secrets"
	server {
		listen on $server6
		auth scram-sha-256, anonymous
		lifetime $2
		quarantine ${QUARANTINE:-5}
		pool "lab" {
			$pool.0/24 exclude $pool.0/28
			tep "tep"
		}
		user "alice" { pool "lab" leases 2 }
		user "bob" { pool "lab" leases 2 }
		anonymous { pool "lab" }
	}
	EOT
	if [ "$1" = remote ]; then
		cat <<-EOT
		tep "tep" {
			connect to $tep6
			login "dstm1" password "$T/dstm1.password"
		}
		EOT
	else
		cat <<-EOT
		tep "tep" { address $local6 $pool.1 interface "dstm0" }
		EOT
	fi
}

conf_tep() {
	cat <<-EOT
	control "$T/tep.sock"
	store "$T/tep.store"
	secrets "$T/tep-secrets"
	tep "tep" {
		address $tep6 $pool.1
		interface "dstm0"
		listen on $tep6
		server "dstm1" { allow $pool.0/24 }
	}
	EOT
}

# conf_node NAME USER [ROUTE]; USER "anonymous" needs no password
conf_node() {
	if [ "$2" = anonymous ]; then
		login="auth anonymous"
	else
		login="auth scram-sha-256
		login \"$2\" password \"$T/$2.password\""
	fi
	cat <<-EOT
	control "$T/$1.sock"
	store "$T/$1.store"
	node {
		server $server6
		$login
		interface "dstm0"
		${3:-route metric 512}
	}
	EOT
}

# Starts dstmd on a host: its configuration is $T/HOST.conf, log HOST.log. What
# carries packets is a process, unless the configuration or PLANE (empty: the
# default) says: it is attacked, and killed, and counted by.
PLANE=${PLANE-tun}
start() {
	[ -z "$PLANE" ] || grep -q '^plane ' "$T/$1.conf" ||
	    sed -i "1i plane $PLANE" "$T/$1.conf"
	ip netns exec "$NS-$1" "$SBIN/dstmd" -d ${VERBOSE:--v} \
	    -f "$T/$1.conf" >>"$T/$1.log" 2>&1 &
	eval "pid_$1=$!"
	PIDS="$PIDS $!"
	wait_for 15 ctl "$1" show processes ||
	    { cat "$T/$1.log" >&2; return 1; }
}

pid_of() {
	eval "echo \$pid_$1"
}

# Skips the rest where the daemon of that host did not get plane bpf.
needs_bpf() {
	why=$(sed -n 's/.*\(plane bpf: .*\); using tun/\1/p' "$T/$1.log")
	[ -z "$why" ] || {
		echo "1..$TEST # SKIP $why"
		exit 0
	}
}

# Ends it with a signal (TERM) and waits until it has.
stop() {
	kill "-${2:-TERM}" "$(pid_of "$1")" 2>/dev/null
	wait "$(pid_of "$1")" 2>/dev/null
}

# The pid of one of a daemon's processes: HOST PROCESS.
process() {
	ctl "$1" -j show processes |
	    jq -r ".[] | select(.name == \"$2\") | .pid"
}

# A field of a lease: HOST FIELD.
lease() {
	ctl "$1" -j show leases | jq -r ".[0].$2 // empty"
}

has_lease() {
	[ "$(lease "$1" state)" = bound ]
}

# The IPv4 address that a node has on its tunnel.
node_address() {
	on "$1" ip -4 -o addr show dev dstm0 2>/dev/null |
	    sed -n 's,.* inet \([0-9.]*\)/.*,\1,p'
}

web_start() {
	mkdir -p "$T/web"
	echo "the page of the IPv4-only host" >"$T/web/index.html"
	chmod 755 "$T" "$T/web"
	cat >"$T/nginx.cf" <<-EOT
	daemon off;
	pid $T/nginx.pid;
	error_log $T/nginx.log;
	events { }
	http {
		access_log $T/web-access.log;
		client_body_temp_path $T/nginx-body;
		proxy_temp_path $T/nginx-proxy;
		fastcgi_temp_path $T/nginx-fastcgi;
		uwsgi_temp_path $T/nginx-uwsgi;
		scgi_temp_path $T/nginx-scgi;
		server { listen $web4:80; root $T/web; }
	}
	EOT
	ip netns exec "$NS-web" nginx -c "$T/nginx.cf" >>"$T/nginx.log" 2>&1 &
	PIDS="$PIDS $!"
	wait_for 10 on web curl -4sf -m 2 "http://$web4/" ||
	    { cat "$T/nginx.log" >&2; return 1; }
}

fetch() {
	on "$1" curl -4sf -m "${2:-5}" "http://$web4/"
}

domain_end() {
	status=$?
	trap - EXIT INT TERM
	for p in $PIDS; do
		kill "$p" 2>/dev/null
	done
	for p in $PIDS; do
		wait "$p" 2>/dev/null
	done
	if [ -n "${KEEP_LOGS:-}" ] && [ "$status" -ne 0 ]; then
		for l in "$T"/*.log; do
			echo "== $l" >&2
			tail -n 60 "$l" >&2
		done
	fi
	for h in $NAMESPACES; do
		ip netns del "$NS-$h" 2>/dev/null
	done
	[ -z "$T" ] || rm -rf "$T"
	exit "$status"
}

domain_start() {
	[ "$(id -u)" -eq 0 ] || die "needs root"
	T=$(mktemp -d /tmp/dstm.XXXXXX) || exit 1
	trap domain_end EXIT
	trap 'exit 130' INT TERM
}

# TAP
TEST=0
FAILED=0
ok() {
	TEST=$((TEST + 1))
	echo "ok $TEST - $1"
}
not_ok() {
	TEST=$((TEST + 1))
	FAILED=$((FAILED + 1))
	echo "not ok $TEST - $1"
}
# check DESCRIPTION COMMAND...: passes if it succeeds
check() {
	what=$1
	shift
	if "$@" >"$T/check.out" 2>&1; then
		ok "$what"
	else
		not_ok "$what"
		sed 's/^/# /' "$T/check.out"
	fi
}
# refuse DESCRIPTION COMMAND...: passes if it fails
refuse() {
	what=$1
	shift
	if "$@" >"$T/check.out" 2>&1; then
		not_ok "$what"
		sed 's/^/# /' "$T/check.out"
	else
		ok "$what"
	fi
}
done_testing() {
	echo "1..$TEST"
	if [ "$FAILED" -gt 0 ]; then
		for l in "$T"/*.log; do
			echo "# == ${l##*/}"
			tail -n 40 "$l" | sed 's/^/# /'
		done
		exit 1
	fi
	exit 0
}
