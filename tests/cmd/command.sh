#!/bin/bash
# SPDX-License-Identifier: MIT
# -- COMMAND of probe-enable and probe-trace: the exit statuses are those of env(1), and the probes are armed before the
# first instruction.
. tests/lib.sh
. tests/cmd/lib.sh
need_kernel
build_target
at_end "probe-disable -q -s $S 2>/dev/null"

printf '#!/bin/sh\nexec %s\n' "$T/target" >"$T/script"
printf 'echo no interpreter named\n' >"$T/no-interpreter"
printf '#!/no/such/interpreter\n' >"$T/bad-interpreter"
chmod +x "$T/script" "$T/no-interpreter" "$T/bad-interpreter"
mkdir "$T/folder"

# as_env MESSAGE COMMAND...: the exit status is that of env(1), and the error message contains MESSAGE.
as_env() {
	local what=$1 status
	shift
	env "$@" </dev/null >/dev/null 2>&1
	status=$?
	expect $status probe-enable -q -f "$T/target" -s "$S" app:tick -- "$@" </dev/null
	expect $status probe-trace -q -f "$T/target" app:tick -- "$@" </dev/null
	[ -z "$what" ] || want_like "message" "probe-trace: cannot run *$what*" "$out"
	probe-disable -q -s "$S" 2>/dev/null
	no_session "$S" || fail "$*: the session has not ended"
}
as_env "No such file" "$T/not-there"
as_env "No such file" no-such-command-anywhere
as_env "No such file" ''
touch "$T/not-executable"
as_env "Permission denied" "$T/not-executable"
as_env "Permission denied" "$T/folder"
as_env "" sh -c 'exit 0'
as_env "" sh -c 'exit 3'
as_env "" sh -c 'exit 125'
as_env "" sh -c 'kill -KILL $$' # env(1) execs it, and the shell reports 137
PATH=$T/folder:$T:$PATH as_env "" target
want "status of the second file in PATH if the first is not executable" 7 "$(
	mkdir "$T/a" "$T/b"; touch "$T/a/both"; printf '#!/bin/sh\nexit 7\n' >"$T/b/both"; chmod +x "$T/b/both"
	PATH=$T/a:$T/b:$PATH probe-trace -q -f "$T/target" app:tick -- both; echo $?)"

# A command that cannot be executed leaves nothing armed, and does not change what was armed before.
expect 127 probe-enable -q -s "$S" -f "$T/target" app:tick -- "$T/bad-interpreter"
no_session "$S" || fail "the session has not ended"
expect 127 probe-enable -q -s "$S" --children -f "$T/target" app:tick -- "$T/bad-interpreter"
no_session "$S" || fail "the session has not ended with --children"
expect 0 probe-enable -q -s "$S" -f "$T/target" app:tick
expect 127 probe-enable -q -s "$S" -f "$T/target" 'target:*' -- "$T/bad-interpreter"
want "probes armed before stay armed" '["app:tick"]' "$(probe-stat --json -s "$S" | json '[.probes[].probe]')"
expect 0 probe-disable -q -s "$S"

# ---- nothing to arm: the command is not started ----
for how in "probe-enable -s $S" probe-trace; do
	expect 125 $how 'no:such' -- touch "$T/ran"
	expect 125 $how --json 'no:such' -- touch "$T/ran"
	want "unexpected keys" '["error"]' "$(json 'keys - ["session","armed","pending","refused"]' <<<"$out")"
	expect 125 $how -f "$T/not-there" 'a:*' -- touch "$T/ran"
	expect 125 $how -b agent 'app:*' -- touch "$T/ran"
	[ ! -e "$T/ran" ] || fail "$how: the command ran"
	no_session "$S" || fail "$how: the session has not ended"
done

# ---- standard streams belong to the command, and arguments are passed unchanged ----
expect 0 probe-enable -q -s "$S" -f "$T/target" app:tick -- printf '[%s]' -x '' 'a b' -- --json
want "arguments" '[-x][][a b][--][--json]' "$out"
expect 0 probe-disable -q -s "$S"
want "standard output of the command" $'ok\nok' "$(printf 'tick 5\nsay 61\n' | probe-enable -s "$S" 'app:*' 'target:*' -- "$T/target" 2>"$T/err")"
want "rows on standard error" 3 "$(grep -c '^pending ' "$T/err")"
want "hits" "5 1 1" "$(hits "$S" app:tick) $(hits "$S" target:say__entry) $(hits "$S" target:say__return)"
expect 0 probe-disable -q -s "$S"
printf 'exit 9\n' | probe-enable --json -s "$S" 'app:*' -- "$T/target" >"$T/out"
want "status of the command" 9 $?
want "first line is JSON" "[\"$S\",1]" "$(head -n 1 "$T/out" | json '[.session,(.armed+.pending|length)]')"
expect 0 probe-disable -q -s "$S"
# The command runs if some of the probes are armed, and its status counts.
expect 4 probe-enable -q -s "$S" 'app:*' 'no:such' -- "$T/target" <<<'exit 4'
expect 0 probe-disable -q -s "$S"
# A script: with -f FILE, the probes are armed in the process that the script becomes.
expect 5 probe-enable -q -s "$S" -f "$T/target" 'app:*' -- "$T/script" <<<$'tick 6\nexit 5'
want "hits after exec" 6 "$(hits "$S" app:tick)"
expect 0 probe-disable -q -s "$S"
want "arguments traced" "0 1 2 3" "$(printf 'tick 4\nexit 0\n' | probe-trace -q app:tick -- "$T/target" |
	sed -n 's/.*arg0=//p' | xargs)"

# ---- a probe in a constructor, which runs before main ----
printf '%s\n' '#include <sys/sdt.h>' '__attribute__((constructor)) static void early(void) { STAP_PROBE(early, bird); }' \
	'int main(void) { return 0; }' | "$CC" -Iinclude -xc - -o "$T/early" || fail "early does not build"
for i in 1 2 3 4 5; do
	expect 0 probe-enable -q -s "$S" 'early:*' -- "$T/early"
	want "hits in the constructor, round $i" 1 "$(hits "$S" early:bird)"
	expect 0 probe-disable -q -s "$S"
done

# ---- the command inherits no descriptors and no ignored signals ----
want "number of descriptors" "$(sh -c 'ls /proc/self/fd | wc -l')" "$(probe-enable -q -s "$S" -f "$T/target" app:tick -- sh -c 'ls /proc/self/fd | wc -l')"
expect 0 probe-disable -q -s "$S"
signals="sed -n 's/^Sig[BIC][a-z]*:.//p' /proc/self/status | xargs"
want "blocked, ignored and caught signals" "$(sh -c "$signals")" "$(probe-trace -q -f "$T/target" app:tick -- sh -c "$signals")"

# ---- an unprivileged user starts a program of another C library: neither the agent nor the kernel can be used ----

if ! have musl-gcc; then
	part_skipped "musl programs need musl-gcc"
elif [ "$(id -u)" != 0 ]; then
	part_skipped "musl programs: only root can change the user"
else
	printf 'int main(void) { __asm__ volatile(""); return 3; }\n' >"$T/musl.c"
	musl-gcc -o "$T/musl" "$T/musl.c" || fail "musl-gcc cannot build"
	chmod 755 "$T" "$T/musl"
	want "status without probes" 3 "$(nobody "$T/musl"; echo $?)"
	for_others
	expect 125 nobody env -u XDG_RUNTIME_DIR "$T/product/bin/probe-enable" -b agent -s $S 'app:*' -- "$T/musl"
	want_like "message names the program" "*'$T/musl'*" "$out"
fi
