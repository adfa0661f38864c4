#!/bin/sh
# The mechanisms beside SCRAM: what field clients send, what is not
# configured, pools that are for some of them.
set -u
. regress/domain/lib.sh
domain_start
domain_build colocated 1 >/dev/null
for user in alice bob; do
	"$SBIN/dstmctl" passwd -f "$T/secrets" -r hexos "$user" \
	    <"$T/$user.password" >/dev/null || exit 1
done
cat >"$T/server.conf" <<-EOT
	control "$T/server.sock"
	store "$T/server.store"
	secrets "$T/secrets"
	limits { auth-failures 60000 auth-timeout 3 success-pause 300 }
	server {
		listen on $server6
		auth digest-md5, plain, scram-sha-256
		lifetime 30
		pool "strong" { $pool.32/29 tep "tep" auth scram-sha-256 }
		pool "any" { $pool.64/29 tep "tep" }
		user "alice" { pool "strong" pool "any" leases 2 }
		user "bob" { pool "strong" }
	}
	tep "tep" { address $local6 $pool.1 interface "dstm0" }
EOT
start server || exit 1
export PYTHONDONTWRITEBYTECODE=1
ip netns exec "$NS-node1" python3 regress/wire/mechs.py "$server6" \
    "$SBIN/dstmctl" "$T/server.sock" "$T/alice.password" "$T/bob.password" \
    "$T/server.log"
