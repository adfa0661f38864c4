#!/bin/sh
# plane kernel where it can not be had: refused at the start, with words. Where
# the kernel has it, regress/vm/kernel.t shows that it works.
set -u
. regress/domain/lib.sh
domain_start
host server
on server ip addr add "$server6/128" dev lo
on server ip addr add "$local6/128" dev lo
printf '%s\n' alice-password >"$T/alice.password"
chmod 600 "$T"/*.password
"$SBIN/dstmctl" passwd -f "$T/secrets" alice <"$T/alice.password" >/dev/null

# configuration name, what is said
refused() {
	on server timeout 60 "$SBIN/dstmd" -d -f "$T/$1.conf" >"$T/$1.said" 2>&1
	[ $? -eq 1 ] && grep -q "$2" "$T/$1.said" && return
	cat "$T/$1.said"
	return 1
}
node() {
	cat <<-EOT
	plane kernel
	control "$T/node.sock"
	store "$T/node.store"
	node { server $server6 auth anonymous interface "dstm0" $1 }
	EOT
}
node "on demand idle 60" >"$T/demand.conf"
node "" >"$T/node.conf"
{
	echo "plane kernel"
	conf_server colocated "60 min 5" |
	    sed "s/^user \"alice\".*/pool \"more\" { 203.0.113.0\/24 tep \"more\" }\n&/"
	echo "tep \"more\" { address $server6 $pool.2 interface \"dstm1\" }"
} >"$T/two.conf"

check "leases on demand: refused" refused demand 'plane kernel does not see'
check "two TEPs: refused" refused two 'plane kernel carries one TEP'
if on server ip link add probe type ip6tnl external 2>/dev/null; then
	on server ip link del probe
	ok "a kernel without ip6_tunnel # SKIP it is here"
else
	check "a kernel without ip6_tunnel: refused" \
	    refused node 'this kernel has no ip6_tunnel'
	check "and it says what to do" \
	    grep -q 'choose plane tun or bpf' "$T/node.said"
fi
refuse "no interface is left" \
    sh -c "ip -n $NS-server link show | grep -q dstm"
done_testing
