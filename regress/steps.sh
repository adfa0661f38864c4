# What regress/run and regress/nightly have in common; to be sourced by sh from
# the root of the source tree.

passed=0
failed=0
skipped=
users_added=
# Lines of a step that passed which are worth a look.
show='skipped: \|^unsteady: \|^ *not ok'

say() {
	printf '== %s\n' "$*"
}

# One step: its name, its command; the output is shown if it fails.
run() {
	name=$1
	shift
	out=$(mktemp)
	begin=$(date +%s)
	if "$@" >"$out" 2>&1; then
		passed=$((passed + 1))
		printf 'ok      %-40s %3d s\n' "$name" $(($(date +%s) - begin))
		grep "$show" "$out"
	else
		failed=$((failed + 1))
		printf 'FAILED  %s\n' "$name"
		sed 's/^/    /' "$out"
	fi
	rm -f "$out"
}

build() {
	make -s -j2 VARIANT="$1" tools
}

end() {
	[ -z "$users_added" ] || sh etc/users.sh remove >/dev/null
}

# The users that the processes run as, for this run where there are none.
users() {
	trap end EXIT
	trap 'exit 130' INT TERM
	getent passwd _dstmd_session >/dev/null || {
		sh etc/users.sh add
		users_added=1
	}
}

# The sum; fails where a step has.
steps_end() {
	[ -z "$skipped" ] || say "skipped: $skipped"
	echo "$passed passed, $failed failed"
	[ "$failed" -eq 0 ]
}
