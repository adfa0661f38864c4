#!/bin/sh
# The Debian packages that dstmd needs: to build, to run the demo, to test,
# to lint. Installs those that are missing (as root) and says which.
# usage: packages.sh build|demo|regress|vm|bench|fuzz|lint|all ...
set -eu

build="gcc libc6-dev make pkgconf byacc libbsd-dev libevent-dev libxml2-dev
    libsasl2-dev libsasl2-modules libseccomp-dev libsqlite3-dev libmnl-dev
    libssl-dev libkrb5-dev libbpf-dev clang"
demo="iproute2 procps iputils-ping curl nginx-light jq tcpdump"
fuzz="afl++ clang llvm libclang-rt-14-dev"
regress="$demo libcmocka-dev python3 perl mandoc clang libclang-rt-14-dev
    sqlite3 util-linux mount e2fsprogs strace iptables nftables iperf3 krb5-kdc
    krb5-admin-server krb5-user python3-gssapi libsasl2-modules-gssapi-mit"
vm="$demo python3 iperf3 qemu-system-x86 busybox-static cpio kmod"
bench="$demo python3 ethtool openvpn wireguard-go wireguard-tools"
lint="mandoc cppcheck clang shellcheck libsasl2-dev linux-libc-dev git
    python3"

list=
for group; do
	case $group in
	build)		list="$list $build" ;;
	demo)		list="$list $build $demo" ;;
	regress)	list="$list $build $regress" ;;
	vm)		list="$list $build $vm" ;;
	bench)		list="$list $build $bench" ;;
	fuzz)		list="$list $build $fuzz" ;;
	lint)		list="$list $build $lint" ;;
	all)		list="$list $build $regress $vm $bench $fuzz $lint" ;;
	*)		echo "usage: packages.sh build|demo|regress|vm|bench|fuzz|lint|all" >&2
			exit 2 ;;
	esac
done

command -v dpkg-query >/dev/null 2>&1 || {
	echo "packages.sh: no Debian here; these must be there:$list" >&2
	exit 0
}
missing=
for p in $list; do
	case " $missing " in
	*" $p "*)	continue ;;
	esac
	state=$(dpkg-query -W -f='${db:Status-Status}' "$p" 2>/dev/null || :)
	[ "$state" = installed ] || missing="$missing $p"
done
[ -n "$missing" ] || exit 0
if [ "$(id -u)" -ne 0 ]; then
	echo "packages.sh: missing; as root: apt-get install$missing" >&2
	exit 1
fi
echo "packages.sh: installing$missing"
export DEBIAN_FRONTEND=noninteractive
log=$(mktemp)
trap 'rm -f "$log"' EXIT
# shellcheck disable=SC2086  # a list of words
if ! apt-get install -y --no-install-recommends $missing >"$log" 2>&1; then
	apt-get update >"$log" 2>&1 || :
	apt-get install -y --no-install-recommends $missing >>"$log" 2>&1 || {
		cat "$log" >&2
		exit 1
	}
fi
