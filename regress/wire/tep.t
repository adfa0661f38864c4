#!/bin/sh
# A real TEP, spoken to by a server of another make: what it obeys, and whom.
set -u
. regress/domain/lib.sh
domain_start
domain_build remote 1 >/dev/null
conf_tep | sed "s,server \"dstm1\".*,&\\
		server \"dstm2\" { allow 203.0.113.0/24 }\\
		accept from 2001:db8:10::/48 accept from 2001:db8:11::/64," >"$T/tep.conf"
printf '%s\n' dstm2-password >"$T/dstm2.password"
"$SBIN/dstmctl" passwd -f "$T/tep-secrets" dstm2 <"$T/dstm2.password"
"$SBIN/dstmctl" passwd -f "$T/tep-secrets" mallory <"$T/dstm2.password"
start tep || exit 1
export PYTHONDONTWRITEBYTECODE=1
ip netns exec "$NS-server" python3 regress/wire/tep.py "$tep6" \
    "$SBIN/dstmctl" "$T/tep.sock"
