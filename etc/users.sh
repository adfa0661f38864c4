#!/bin/sh
# The users that dstmd's processes run as, one for each: no home, no shell.
#
#	users.sh add	makes those that are missing
#	users.sh remove	deletes them
#
# Needs root. Safe to run again. Says what it did.

users="_dstmd_session _dstmd_parser _dstmd_auth _dstmd_store _dstmd_tunnel
    _dstmd_event"

die() {
	echo "users.sh: $*" >&2
	exit 1
}

have_user() {
	getent passwd "$1" >/dev/null 2>&1
}

have_group() {
	getent group "$1" >/dev/null 2>&1
}

# On Linux system users are below 1000; OpenBSD has no such option.
system=
case $(uname) in
Linux)	system=-r ;;
esac
nologin=/sbin/nologin
[ -x /usr/sbin/nologin ] && nologin=/usr/sbin/nologin
home=/nonexistent
[ -d /var/empty ] && home=/var/empty

add() {
	if have_group "$1"; then
		echo "group $1 is there"
	else
		groupadd $system "$1" || die "cannot make the group $1"
		echo "group $1 made"
	fi
	if have_user "$1"; then
		[ "$(id -u "$1")" -ne 0 ] || die "user $1 is root"
		echo "user $1 is there"
	else
		useradd $system -g "$1" -d "$home" -s "$nologin" \
		    -c "dstmd ${1#_dstmd_}" "$1" ||
		    die "cannot make the user $1"
		echo "user $1 made"
	fi
}

remove() {
	if have_user "$1"; then
		userdel "$1" || die "cannot delete the user $1 (is dstmd running?)"
		echo "user $1 deleted"
	else
		echo "user $1 is not there"
	fi
	# userdel may have taken the group along.
	if have_group "$1"; then
		groupdel "$1" || die "cannot delete the group $1"
		echo "group $1 deleted"
	fi
}

case $#:$1 in
1:add|1:remove)
	;;
*)
	echo "usage: users.sh add | remove" >&2
	exit 2
	;;
esac
[ "$(id -u)" -eq 0 ] || die "needs root"
for user in $users; do
	"$1" "$user"
done
