#!/bin/sh
# GSSAPI with a KDC of our own: MIT Kerberos, on the loopback of the node's
# namespace, its realm and files in this test's directory.
set -u
for tool in krb5kdc kdb5_util kadmin.local kinit; do
	command -v "$tool" >/dev/null 2>&1 || {
		echo "1..0 # SKIP no $tool (krb5-kdc, krb5-admin-server, krb5-user)"
		exit 0
	}
done
/usr/bin/python3 -c 'import gssapi' 2>/dev/null || {
	echo "1..0 # SKIP no python3-gssapi"
	exit 0
}
[ "$(id -u)" -eq 0 ] || {
	echo "1..0 # SKIP needs root"
	exit 0
}
. regress/domain/lib.sh
domain_start
domain_build colocated 1 >/dev/null

export KRB5_CONFIG="$T/krb5.conf" KRB5_KDC_PROFILE="$T/kdc.conf"
cat >"$KRB5_CONFIG" <<-EOT
	[libdefaults]
		default_realm = DSTM.TEST
		dns_lookup_kdc = false
		dns_lookup_realm = false
		dns_canonicalize_hostname = false
		rdns = false
		permitted_enctypes = aes256-cts arcfour-hmac
		allow_weak_crypto = true
		allow_rc4 = true
	[realms]
		DSTM.TEST = {
			kdc = [::1]:8888
		}
		OTHER.TEST = {
			kdc = [::1]:8888
		}
	[domain_realm]
		server.test = DSTM.TEST
EOT
for realm in DSTM.TEST OTHER.TEST; do
	echo "[realms]
	$realm = {
		database_name = $T/$realm.db
		key_stash_file = $T/$realm.stash
		acl_file = $T/kadm5.acl
		supported_enctypes = aes256-cts:normal arcfour-hmac:normal
	}"
done >"$KRB5_KDC_PROFILE"
cat >>"$KRB5_KDC_PROFILE" <<-EOT
	[kdcdefaults]
		kdc_listen = [::1]:8888
		kdc_tcp_listen = [::1]:8888
EOT

kadmin() {
	kadmin.local -r "$1" -q "$2" >>"$T/kdc.log" 2>&1
}
for realm in DSTM.TEST OTHER.TEST; do
	kdb5_util create -s -r "$realm" -P master >>"$T/kdc.log" 2>&1 &&
	    kadmin "$realm" "addprinc -pw alice-krb alice" || {
		cat "$T/kdc.log" >&2
		exit 1
	}
done
cross=krbtgt/DSTM.TEST@OTHER.TEST
for cmd in "addprinc -pw carol-krb carol" "addprinc -pw admin-krb alice/admin" \
    "addprinc -randkey tsp/server.test" \
    "setstr tsp/server.test session_enctypes aes256-cts,arcfour-hmac" \
   "addprinc -randkey host/server.test" \
    "addprinc -pw cross $cross" \
    "ktadd -k $T/tsp.keytab tsp/server.test host/server.test"; do
	kadmin DSTM.TEST "$cmd" || exit 1
done
kadmin OTHER.TEST "addprinc -pw cross $cross" || exit 1
ip netns exec "$NS-node1" krb5kdc -n -r DSTM.TEST -r OTHER.TEST \
    >>"$T/kdc.log" 2>&1 &
PIDS="$PIDS $!"

conf_server colocated 30 | sed 's/auth .*/auth gssapi, scram-sha-256/
    s/secrets .*/&/; /anonymous/d' |
    sed "s,auth gssapi.*,&\nkeytab \"$T/tsp.keytab\"," >"$T/server.conf"
start server || exit 1
export PYTHONDONTWRITEBYTECODE=1
ip netns exec "$NS-node1" /usr/bin/python3 regress/wire/krb5.py "$server6" \
    "$SBIN/dstmctl" "$T/server.sock" "$T" "$(pid_of server)"
