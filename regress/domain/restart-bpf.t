#!/bin/sh
# The same with plane bpf, and no program of a daemon that is gone stays on an
# interface.
set -u
grep -q "^BPF_LIBS = ." config.mk || {
	echo "1..0 # SKIP built without clang and libbpf"
	exit 0
}
plane=bpf
. regress/domain/restart.sh
