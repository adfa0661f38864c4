#!/bin/sh
# dstmd -n on the files beside this one, TAP on standard output.
#
#	ok-*.conf	accepted; what -nv prints is accepted too, and printed
#			as it is
#	bad-*.conf	refused; its lines "#> text" are, in this order, all that
#			is said on standard error
#
# The files are copied first, as dstmd refuses those that others may write.

here=$(cd "$(dirname "$0")" && pwd) || exit 1
top=$(cd "$here/../.." && pwd) || exit 1
dstmd=${DSTMD:-build/gcc/sbin/dstmd}
case $dstmd in
/*)	;;
*)	dstmd=$top/$dstmd ;;
esac
if [ ! -x "$dstmd" ]; then
	echo "1..0 # SKIP no $dstmd"
	exit 0
fi

dir=$(mktemp -d) || exit 1
trap 'cd / && rm -rf "$dir"' EXIT
trap 'exit 1' HUP INT TERM
umask 077
cp -R "$here"/*.conf "$here/inc" "$dir" || exit 1
for f in "$top"/etc/dstmd.conf.*; do
	cp "$f" "$dir/ok-etc-$(basename "$f" | tr . -).conf" || exit 1
done
chmod -R go-w "$dir"
cd "$dir" || exit 1
# The complete examples of the manual: all but the last, a fragment.
awk '/^\.Sh/ { on = $2 == "EXAMPLES" }
    on && /^\.Ed/ { out = ""; next }
    on && /^\.Bd/ { out = "ok-man-" ++n ".conf"; next }
    out != "" { print >out }' "$top/man/dstmd.conf.5"
rm -f ok-man-4.conf

count=0
failed=0
result() {	# status name
	count=$((count + 1))
	if [ "$1" -eq 0 ]; then
		echo "ok $count - $2"
	else
		failed=$((failed + 1))
		echo "not ok $count - $2"
		sed 's/^/# /' err diff 2>/dev/null
	fi
	rm -f diff
}

accept() {	# file
	"$dstmd" -n -f "$1" >out 2>err || return 1
	[ ! -s out ] || return 1
	"$dstmd" -nv -f "$1" >printed 2>err || return 1
	"$dstmd" -nv -f printed >again 2>err || return 1
	diff printed again >diff
}

refuse() {	# file
	sed -n 's/^#> //p' "$1" >expected
	if "$dstmd" -n -f "$1" >out 2>err; then
		echo accepted >diff
		return 1
	fi
	[ -s expected ] && [ ! -s out ] || return 1
	diff expected err >diff
}

for f in ok-*.conf; do
	accept "$f"
	result $? "accepts ${f%.conf}"
done
for f in bad-*.conf; do
	refuse "$f"
	result $? "refuses ${f%.conf}"
done

# A pipe, without a name of its own.
"$dstmd" -nv -f ok-full.conf 2>err | "$dstmd" -n -f /dev/stdin 2>err
result $? "accepts its own output by a pipe"

# Files that others may write to.
cp ok-node.conf open.conf
chmod 666 open.conf
echo "open.conf: others may write to it (mode 0666): chmod go-w it" >expected
"$dstmd" -n -f open.conf 2>err
[ $? -eq 1 ] && diff expected err >diff
result $? "refuses a file that others may write to"

echo "nosuch.conf: No such file or directory" >expected
"$dstmd" -n -f nosuch.conf 2>err
[ $? -eq 1 ] && diff expected err >diff
result $? "refuses a file that is not there"

# As somebody who is not root: a copy, as the tree may be closed to others.
if [ "$(id -u)" -eq 0 ] && command -v setpriv >/dev/null 2>&1; then
	chmod 755 . && cp "$dstmd" dstmd && chmod 755 dstmd
	chmod 644 ok-full.conf
	setpriv --reuid 65534 --regid 65534 --clear-groups \
	    ./dstmd -n -f ok-full.conf >out 2>err
	result $? "tests root's file as an ordinary user"
	cp ok-node.conf own.conf && chown 65534 own.conf
	setpriv --reuid 65534 --regid 65534 --clear-groups \
	    ./dstmd -n -f own.conf >out 2>err
	result $? "tests one's own file as an ordinary user"
	echo "own.conf: owned by uid 65534, must be root's" >expected
	"$dstmd" -n -f own.conf 2>err
	[ $? -eq 1 ] && diff expected err >diff
	result $? "refuses, as root, a file of somebody else"
fi

echo "1..$count"
[ "$failed" -eq 0 ]
