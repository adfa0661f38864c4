#!/bin/sh
# The store's disk is full, and then it fails: no success is said that is not
# true, the reason is said, and the service is back when the disk is. The disk
# is a small file system in a file, on one of memory that can be full as well.
set -u
. regress/domain/lib.sh
domain_start
domain_build colocated 1 >/dev/null
mkdir "$T/memory" "$T/server.store" "$T/aside"
unmount() {
	for dir in "$T/aside" "$T/server.store" "$T/memory"; do
		umount "$dir" 2>/dev/null || umount -l "$dir" 2>/dev/null
	done
}
end_all() {
	disk_status=$?
	for p in $PIDS; do
		kill "$p" 2>/dev/null
	done
	for p in $PIDS; do
		wait "$p" 2>/dev/null
	done
	unmount
	# domain_end takes the status of the command before it
	(exit "$disk_status")
	domain_end
}
trap end_all EXIT
skip() {
	echo "1..0 # SKIP $*"
	exit 0
}
mount -t tmpfs -o size=12m,mode=755 tmpfs "$T/memory" ||
    skip "no file system can be mounted here"
truncate -s 8M "$T/memory/disk"
mkfs.ext4 -q -m 0 -O ^has_journal "$T/memory/disk" || die "no ext4"
mount -o loop "$T/memory/disk" "$T/server.store" ||
    skip "there are no loop devices here"
disk=$(findmnt -n -o SOURCE "$T/server.store")
mount "$disk" "$T/aside" || die "it can not be mounted twice"
rmdir "$T/server.store/lost+found"
chown _dstmd_store "$T/server.store"
chmod 750 "$T/server.store"
conf_server colocated "600 min 2" |
    sed "s,$pool.0/24 exclude.*,10.9.0.0/20," >"$T/server.conf"
echo 'limits { per-source 500 source-rate 1000 connections 4000
	request-timeout 3 }' \
    >>"$T/server.conf"
on node1 ip -6 route add local 2001:db8:11:0:1::/80 dev lo
on node1 sysctl -qw net.ipv6.ip_nonlocal_bind=1
on core ip -6 route add 2001:db8:11:0:1::/80 via 2001:db8:11::10
export PYTHONDONTWRITEBYTECODE=1 PYTHONPATH=regress/wire
ip netns exec "$NS-node1" python3 regress/fault/disk.py "$NS" "$T" "$SBIN" \
    "$server6"
