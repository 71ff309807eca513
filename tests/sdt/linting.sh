#!/bin/bash
# SPDX-License-Identifier: MIT
#
# probe-list --check: each example of doc/linting.md has the fault that it explains, and programs without faults have none.
. tests/lib.sh
need gcc

awk '/^<!-- beginning -->/ { on = 1; next } on && /^```$/ { exit } on && !/^```/' doc/linting.md >"$T/beginning.c"
awk -v dir="$T" '
	/^## PP/ { code = substr($2, 1, 5) }
	code && /^```c/ { on = 1; next }
	/^```$/ { on = 0 }
	on { print >(dir "/" code ".example") }' doc/linting.md
codes=$(grep -oh 'PP0[0-9][0-9]' runtime/lint*.c | sort -u)
want "codes that doc/linting.md explains" "$codes" "$(grep -o '^## PP0[0-9][0-9]' doc/linting.md | sed 's/## //')"
want "examples" "$(wc -l <<<"$codes")" "$(ls "$T"/*.example | wc -l)"

cd "$T" || exit 1
for example in *.example; do
	code=${example%.example}
	read -ra flags <<<"$(sed -n '1s#/\* \(.*\) \*/#\1#p' "$example")"
	want "lines of the example of $code" 2 "$(wc -l <"$example")"
	if [[ "${flags[*]}" == *lld* ]] && ! command -v ld.lld >/dev/null; then
		part_skipped "$code: needs ld.lld"
		continue
	fi
	cat beginning.c "$example" >$code.c
	gcc "${flags[@]}" $code.c -o $code 2>log || { cat log; fail "$code: the example does not build"; }
	probe-list --check $code >out 2>err
	status=$?
	want "status for $code ($(cat out err))" 3 $status
	grep -q "^$code: $code " out || { cat out err; fail "$code is not found in its example"; }
	others=$(grep -v "^$code: $code " out)
	[ -z "$others" ] || fail "$code: its example has other faults: $others"
	want "JSON of $code" "\"$code\"" "$(probe-list --json --check $code | json '.findings[0].code')"
done

# ---- no faults ----
cat beginning.c - >good.c <<'E2'
NOTE("site", B, "in_data", "p", "n", "-4@%edi 8@-16(%rbp) 8@$7 2@(%rax)");
E2
gcc -no-pie good.c -o good || fail "good does not build"
out=$(probe-list --check good 2>&1) || fail "faults where there are none: $out"
want "message" "probe-list: no faults found in 1 file" "$out"
for file in "$B/examples/weblog" "$B/examples/kv"; do
	out=$(probe-list -q --check "$file" 2>&1) || fail "$out"
done

# ---- the patterns select, and files without probes have no faults ----
probe-list --check -m p:m PP007 >out || grep -q PP007 out || fail "the pattern does not select"
probe-list -q --check -m q:m PP007 >out || fail "a fault of another probe: $(cat out)"
find /usr/bin /usr/lib/x86_64-linux-gnu -maxdepth 1 -type f -size -200k 2>/dev/null | head -n 300 >files
while read -r file; do readelf -SW "$file" 2>/dev/null | grep -q note.stapsdt || echo "$file"; done <files >plain
xargs -d '\n' probe-list -q --check <plain >out 2>err
[ ! -s out ] || fail "files without notes have faults: $(head -n 3 out)"
