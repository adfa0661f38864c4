#!/bin/sh
# Each program maps its own libraries and no other: a hole in libxml2 is one
# in parser, and in nothing else.
B=${B:-build/gcc}
test=0

# only PROGRAM LIBRARY...: of the libraries that parse, it has these alone
parsers="libxml2 libsasl2 libsqlite3 libcrypto libseccomp"
only() {
	program=$1
	shift
	mapped=$(ldd "$B/$program") || mapped="ldd failed"
	found=
	for lib in $parsers; do
		case $mapped in
		*"$lib"*) found="$found $lib" ;;
		esac
	done
	test=$((test + 1))
	if [ "$found" = "${*:+ }$*" ]; then
		echo "ok $test - $program:${found:- none}"
	else
		echo "not ok $test - $program:$found, should be: $*"
	fi
}

only sbin/dstmd libseccomp
only sbin/dstmctl libcrypto
only libexec/dstmd/session libseccomp
only libexec/dstmd/parser libxml2 libseccomp
only libexec/dstmd/auth libsasl2 libcrypto libseccomp
only libexec/dstmd/store libsqlite3 libseccomp
only libexec/dstmd/tunnel libseccomp
only libexec/dstmd/event libseccomp
echo "1..$test"
