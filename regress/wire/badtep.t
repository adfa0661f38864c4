#!/bin/sh
# A real server whose TEP is of another make, and bad: slow, silent, lying,
# answering twice, in the wrong order. It costs its own nodes an error.
set -u
. regress/domain/lib.sh
domain_start
domain_build remote 1 >/dev/null
conf_server remote "60 min 2" >"$T/server.conf"
echo "limits { request-timeout 2 auth-timeout 3 }" >>"$T/server.conf"
export PYTHONDONTWRITEBYTECODE=1
start server || exit 1
ip netns exec "$NS-tep" python3 regress/wire/badtep.py "$NS" "$tep6" \
    "$server6" "$SBIN/dstmctl" "$T/server.sock" "$T/alice.password"
