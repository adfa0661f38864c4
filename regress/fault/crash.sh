# The body of crash.t and crash-remote.t: the processes of a domain are killed
# at random moments while many clients work, see crash.py.
# environment: DSTMD_CYCLES, DSTMD_SEED (the schedule of a run again)
. regress/domain/lib.sh
domain_start
domain_build "$where" 2 >/dev/null
printf 'crowd-password\n' >"$T/crowd.password"
chmod 600 "$T/crowd.password"
"$SBIN/dstmctl" passwd -f "$T/secrets" crowd <"$T/crowd.password"
# Fewer addresses than there are nodes, so that they go from hand to hand.
QUARANTINE=3 conf_server "$where" "60 min 2" |
    sed -e "s,$pool.0/24 exclude.*,10.9.0.10 - 10.9.0.50," \
    -e 's,^user "alice".*,&\
user "crowd" { pool "lab" leases 0 },' >"$T/server.conf"
echo 'limits { per-source 100 source-rate 1000 auth-failures 1000
	request-rate 10000 request-timeout 5 }' >>"$T/server.conf"
conf_tep | sed "s,allow $pool.0/24,allow 10.9.0.0/24," >"$T/tep.conf"
conf_node node1 alice >"$T/node1.conf"
# The crowd's addresses.
on node2 ip -6 route add local 2001:db8:12:0:1::/80 dev lo
on node2 sysctl -qw net.ipv6.ip_nonlocal_bind=1
on core ip -6 route add 2001:db8:12:0:1::/80 via 2001:db8:12::10
export PYTHONDONTWRITEBYTECODE=1 PYTHONPATH=regress/wire
ip netns exec "$NS-node2" python3 regress/fault/crash.py "$where" "$NS" \
    "$T" "$SBIN" "$server6" "$web4"
