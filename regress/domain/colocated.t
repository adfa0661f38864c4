#!/bin/sh
# Co-located server and TEP: two nodes at once, real packets, renewal,
# delete by the node, revocation, expiry, spoofed packets.
set -u
. regress/domain/lib.sh
domain_start
domain_build colocated 2
web_start || die "no web server"
conf_server colocated "20 min 5" | sed "s,user \"alice\" {,& address $pool.77," \
    >"$T/server.conf"
conf_node node1 alice >"$T/node1.conf"
conf_node node2 anonymous "route table 100" >"$T/node2.conf"

refuse "no IPv4 before dstmd runs" fetch node1 2
check "the server starts" start server
check "the first node starts" start node1
check "the second node starts" start node2
check "the first node gets a lease by SCRAM-SHA-256" \
    wait_for 15 has_lease node1
check "the second node gets a lease by ANONYMOUS" \
    wait_for 15 has_lease node2
check "the first fetches the page over IPv4" fetch node1
a1=$(node_address node1)
a2=$(node_address node2)
check "the first has the address that is reserved for it" \
    test "$a1" = "$pool.77"
# A table of its own is for those who ask for it by their source address.
fetch_bound() {
	on node2 curl -4sf -m 5 --interface "$a2" "http://$web4/"
}
check "the second by its own table, from its address" fetch_bound
refuse "but not without asking for it" fetch node2 2
check "their addresses differ" test "$a1" != "$a2"
check "the web server saw the first's address" \
    grep -q "^$a1 " "$T/web-access.log"
check "the web server saw the second's address" \
    grep -q "^$a2 " "$T/web-access.log"
check "inbound IPv4 reaches the node" on web ping -c 2 -W 2 "$a1"
check "node to node, through the TEP" on node1 ping -c 2 -W 2 "$a2"

mtu() {
	on "$1" cat "/sys/class/net/dstm0/mtu"
}
check "the node's inner MTU is 1500 - 40" test "$(mtu node1)" = 1460
check "the TEP's inner MTU is 1500 - 40" test "$(mtu server)" = 1460
check "a packet of the inner MTU passes with DF" \
    on node1 ping -M "do" -s 1432 -c 2 -W 2 "$web4"
refuse "a larger one does not" on node1 ping -M "do" -s 1433 -c 1 -W 2 "$web4"
on web tcpdump -nvli eth0 -c 1 \
    'tcp[tcpflags] & tcp-syn != 0 and dst port 80' \
    >"$T/syn.out" 2>"$T/syn.err" &
PIDS="$PIDS $!"
wait_for 5 grep -q 'listening on' "$T/syn.err"
fetch node1 >/dev/null
check "the SYN seen by the web server has MSS 1420" \
    wait_for 5 grep -q 'mss 1420' "$T/syn.out"

# A node that uses another's inner source.
drops() {
	ctl server -j show tunnels | jq "[.[].drops? // empty | .$1] | add"
}
before=$(drops outer_source)
on node2 ip addr add "$a1/32" dev lo
on node2 ip route add "$web4/32" dev dstm0
on node2 ping -I "$a1" -c 3 -W 1 -i 0.2 "$web4" >/dev/null 2>&1
on node2 ip addr del "$a1/32" dev lo
on node2 ip route del "$web4/32" dev dstm0
check "the spoofing node stops its own packets or the TEP does" \
    test "$(on web grep -c "$a1" "$T/web-access.log")" -ge 1
python3 - "$NS" "$a1" "$web4" "$local6" <<'EOT'
# 4over6 by hand from node2, with node1's inner source
import os, socket, struct, sys
ns, src, dst, tep = sys.argv[1:]
libc_setns = __import__('ctypes').CDLL(None, use_errno=True).setns
fd = os.open('/run/netns/%s-node2' % ns, os.O_RDONLY)
if libc_setns(fd, 0) != 0:
    sys.exit(1)
s = socket.socket(socket.AF_INET6, socket.SOCK_RAW, 4)
def ip4(a, b):
    h = struct.pack('!BBHHHBBH4s4s', 0x45, 0, 28, 1, 0, 64, 17, 0,
        socket.inet_aton(a), socket.inet_aton(b))
    c = sum(struct.unpack('!10H', h))
    c = (c & 0xffff) + (c >> 16)
    c = ~((c & 0xffff) + (c >> 16)) & 0xffff
    return h[:10] + struct.pack('!H', c) + h[12:] + \
        struct.pack('!HHHH', 9, 9, 8, 0)
for i in range(5):
    s.sendto(ip4(src, dst), (tep, 0))
    s.sendto(ip4('203.0.113.9', dst), (tep, 0))
EOT
counted() {
	[ "$(drops outer_source)" -ge $((before + 5)) ] &&
	    [ "$(drops inner_source)" -ge 5 ]
}
check "spoofed inner and outer sources are dropped and counted" \
    wait_for 5 counted
on web ping -c 3 -i 0.2 -W 1 "$pool.200" >/dev/null 2>&1
no_lease_counted() {
	[ "$(drops no_lease)" -ge 3 ]
}
check "packets to an address without lease are dropped and counted" \
    wait_for 5 no_lease_counted

renewed() {
	[ "$(lease node1 renewals)" -ge 1 ]
}
check "the node renews before the end" wait_for 20 renewed
check "with the same address" test "$(node_address node1)" = "$a1"

check "dstmctl release on the node" ctl node1 release
gone() {
	[ -z "$(node_address "$1")" ]
}
check "the node's IPv4 is gone" wait_for 10 gone node1
refuse "and its interface" on node1 ip link show dev dstm0
refuse "IPv4 is out of reach again" fetch node1 2
quarantined() {
	ctl server -j show leases | jq -e \
	    ".[] | select(.address == \"$1\" and .state == \"quarantine\")"
}
check "the address is in quarantine at the server" wait_for 5 quarantined "$a1"
check "the other node does not notice" fetch_bound

check "the operator revokes the second's lease" ctl server release "$a2"
check "the node obeys the delete on its connection" \
    wait_for 10 grep -q 'server took it back' "$T/node2.log"
refuse "dstmctl release of a free address fails" ctl server release "$pool.250"
check "and asks for a lease again" wait_for 20 has_lease node2
rules() {
	[ "$(on node2 ip rule | grep -c 'lookup 100')" -eq 1 ]
}
check "one policy rule is there" rules
stop node2
no_rules() {
	! on node2 ip rule | grep 'lookup 100'
}
check "after SIGTERM no rule is left" no_rules
check "and no address" gone node2
left() {
	[ "$(ctl server -j show leases | jq '[.[] |
	    select(.state == "bound")] | length')" -eq 0 ]
}
check "a lease that nobody renews expires at the server" wait_for 30 left
check "the log says so" grep -q 'is over' "$T/server.log"
stop server
check "the server ended cleanly" grep -q 'ended' "$T/server.log"
done_testing
