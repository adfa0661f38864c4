#!/bin/sh
# Taken-over processes under the real parent: each of the five is replaced by
# one that says whatever it likes (rogue.c), with the child's own privileges.
# The parent's programs are bind-mounted over in its own mount namespace.
set -u
. regress/domain/lib.sh
domain_start
domain_build colocated 2 >/dev/null
skip() {
	echo "1..0 # SKIP $*"
	exit 0
}
unshare -m true 2>/dev/null || skip "no mount namespaces here"
{
	conf_server colocated "600 min 2 max 600"
	echo 'limits { per-source 500 source-rate 1000 request-timeout 5 auth-timeout 10
		request-rate 100000 auth-failures 10000 }'
	echo "tep \"far\" { connect to $tep6
		login \"dstm1\" password \"$T/dstm1.password\" }"
} >"$T/server.conf"
sed -i 's,^	anonymous {,	pool "far" { 10.9.9.0/28 tep "far" }\n&,' \
    "$T/server.conf"
{
	conf_node node2 bob
} >"$T/node2.conf"
# What never reads its link has a daemon of its own, without a network.
cat >"$T/deaf.conf" <<-EOT
control "$T/deaf.sock"
store "$T/deaf.store"
server {
	listen on 2001:db8:11::10
	auth anonymous
	pool "lab" { 198.51.100.0/28 tep "far" }
	anonymous { pool "lab" }
}
tep "far" { connect to $tep6
	login "dstm1" password "$T/dstm1.password" }
EOT
on node1 ip -6 route add local 2001:db8:11:0:1::/80 dev lo
on node1 sysctl -qw net.ipv6.ip_nonlocal_bind=1
on core ip -6 route add 2001:db8:11:0:1::/80 via 2001:db8:11::10
export PYTHONDONTWRITEBYTECODE=1 PYTHONPATH=regress/wire
ip netns exec "$NS-node1" python3 regress/fault/rogue.py "$PWD/$B" "$T" "$NS"
