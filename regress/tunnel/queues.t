#!/bin/sh
# A TEP's interface with several queues, each with a tunnel process of its own:
# real packets of many flows, both ways.
set -u
. regress/domain/lib.sh
domain_start
host node
host tep
cable node eth0 tep eth0
for h in node tep; do
	on "$h" ip link set eth0 mtu 1500
done
on node ip addr add 2001:db8::1/64 dev eth0 nodad
on tep ip addr add 2001:db8::2/64 dev eth0 nodad
export PYTHONDONTWRITEBYTECODE=1
python3 regress/tunnel/queues.py "$NS" "$PWD/$B" "$T"
