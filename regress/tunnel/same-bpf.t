#!/bin/sh
# The fast path's verdicts and packets are those of the tunnel process's code
# (same.c). environment: DSTMD_SEED, of which a failure says its own
set -u
B=${B:-build/test}
[ -x "$B/regress/tunnel/same" ] || {
	echo "1..0 # SKIP built without clang and libbpf, or no \"make tools\""
	exit 0
}
[ "$(id -u)" -eq 0 ] || {
	echo "1..0 # SKIP not root"
	exit 0
}
"$B/regress/tunnel/same" "$B/tunnel/bpf/4over6.o" 100000 \
    "${DSTMD_SEED:-$(date +%s)}" || echo "not ok 1 - it does not run"
