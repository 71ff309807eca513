#!/bin/bash
# SPDX-License-Identifier: MIT
# limit: 1800 7200
# Tests fail if the code is wrong: each of these mutations of the code makes the named test fail.
#
# For each row of the table the test changes one file of a copy of the tree by a sed expression, builds, runs the named
# test and expects it to fail. The file is a glob, so that a row survives when code moves within its directory; exactly
# one file must change. If none does, or if the tree does not compile, mend the row. MUTATION=NAME runs one row.
. tests/lib.sh
need make
need_root

# name ~ files ~ sed expression ~ test
mutations() {
	cat <<'E'
peer of another user is served ~ runtime/agent/inproc/*.c ~ s/ \|\| who\.uid == geteuid\(\)/ || true/ ~ agent/patch-peer
offset of a site is one too high ~ sdt/image.c ~ s/(\*offset = s->offset \+ \(address - s->address\));/\1 + 1;/ ~ unit/image
register r8 is read as r9 ~ sdt/operand-x86_64.c ~ s/NEW\("r8", 8\)/NEW("r8", 9)/ ~ unit/operand
<= compares as < ~ runtime/fetch/lex.c ~ s/("<=", *[0-9]+,) FETCH_LE/\1 FETCH_LT/ ~ unit/filter
jump is computed without its length ~ runtime/agent/inproc/patch-x86_64.c ~ s/SITE_AT \+ JUMP\)/SITE_AT)/ ~ agent/patch
missed call counts twice ~ runtime/kernel/emit-*.c ~ s/(offsetof\(struct kernel_calls, missed\)), 1\)/\1, 2)/ ~ kernel/return
lost hit counts as filtered ~ runtime/kernel/emit.c ~ s/(count\(&?e, offsetof\(struct kernel_counts, )lost\)/\1filtered)/ ~ kernel/exact
reused pid passes for the process ~ runtime/process*.c ~ s/start_time && (stat\.start_)?time != start_time/false/ ~ cmd/dead
DEL reaches the terminal ~ cmd/escape.c ~ s/c < 0x7f/c <= 0x7f/ ~ unit/escape
int3 is taken for a plain instruction ~ runtime/[ci]*.c ~ s/case (0xcc|INT3):/case 0xd7:/ ~ unit/insn-check
E
}

# mutate GLOB EXPRESSION: changes the one file of the glob in which the expression matches. Sets file.
mutate() {
	local candidate
	file=
	for candidate in $1; do
		cp -p "$candidate" "$T/candidate" || return 1
		sed -E -i "$2" "$candidate"
		cmp -s "$candidate" "$T/candidate" && { cp -p "$T/candidate" "$candidate"; continue; }
		[ -z "$file" ] || { echo "$file and $candidate change" >&2; return 1; }
		file=$candidate
		cp -p "$T/candidate" "$T/original"
	done
	[ "$file" ]
}

mkdir "$T/tree"
cp -a base bench cmd doc examples include plugin runtime scripts sdt tests Makefile config.mk "$T/tree"
cp -a "$B" "$T/tree/build"
cd "$T/tree" || exit 1
export B=$T/tree/build

# build TEST: builds the tree, and TEST if it is a unit test.
build() {
	local unit=
	[[ $1 != unit/* ]] || unit=build/tests/$1
	MAKEFLAGS='' make -s -j2 O=build all $unit >"$T/log" 2>&1
}

# run_test TEST: 0: passed, 77: skipped, another status: failed.
run_test() {
	local command=(bash "tests/$1.sh")
	[[ $1 != unit/* ]] || command=("$B/tests/$1")
	env -u PROBEPOINT_LONG timeout 1800 "${command[@]}" >"$T/log" 2>&1
}

while IFS='~' read -r name glob expression test; do
	name=${name% } glob=${glob// /} expression=${expression# } expression=${expression% } test=${test// /}
	[ -z "${MUTATION-}" ] || [ "$MUTATION" = "$name" ] || continue
	build "$test" || fail "$test is not built: $(tail -n 5 "$T/log")"
	run_test "$test"
	case $? in
	0) ;;
	77) part_skipped "$name: $test: $(tail -n 1 "$T/log")"; continue ;;
	*) fail "$test fails without a mutation: $(tail -n 5 "$T/log")" ;;
	esac
	mutate "$glob" "$expression" || fail "$name: the expression must change exactly one file of $glob"
	build "$test" || fail "$name: does not compile: $(tail -n 5 "$T/log")"
	run_test "$test"
	case $? in
	0 | 77) echo "NOT NOTICED: $name ($file): $test"; missed=1 ;;
	*) echo "noticed: $name ($file): $test" ;;
	esac
	cp "$T/original" "$file"
done <<<"$(mutations)"
[ -z "${missed-}" ] || fail "a test passes in spite of a mutation"
