#!/bin/bash
# SPDX-License-Identifier: MIT
# tests/run counts tests that pass, fail and are skipped. It shows the end of a failed test's output twice, the second time
# after the list of these tests, for five tests at most.
. tests/lib.sh

mkdir -p "$T/tree/tests/area" && cp tests/run tests/limit "$T/tree/tests"
cd "$T/tree" || exit 1
echo 'seq 100; exit 3' >tests/area/long.sh
echo 'echo "needs nothing"; exit 77' >tests/area/left.sh
echo 'echo "skipped: one part"' >tests/area/good.sh
for i in 1 2 3 4 5; do echo "echo 'reason $i'; exit 1" >"tests/area/z$i.sh"; done

# run TEST...: runs them one after the other, with the output in $out and what follows the list of failed tests in $ends.
run() {
	out=$(env -u LIMIT -u LIMIT_WALL JOBS=1 B="$T/tree/build" tests/run "$@" 2>&1)
	status=$?
	ends=$(sed '1,/^Failed:/d' <<<"$out")
}

run area
want "the status with failed tests" 1 $status
want "the last line" "1 passed, 6 failed, 1 skipped" "$(tail -n 1 <<<"$out")"
want "the skipped ones" "area/good, a part: one part;area/left: needs nothing;" \
	"$(sed -n '/^Skipped:/,/^$/s/^    //p' <<<"$out" | tr '\n' ';')"
want "the failed ones" "area/long area/z1 area/z2 area/z3 area/z4 area/z5" "$(sed '/^$/,$d' <<<"$ends" | xargs)"
want "the end of a long output" "$(seq 61 100 | xargs)" "$(sed '/^Failed:/,$d' <<<"$out" | sed -n 's/^  | \([0-9]\)/\1/p' | xargs)"
want "the end of a long output, at the end" "$(seq 89 100 | xargs)" "$(sed -n 's/^    | \([0-9]\)/\1/p' <<<"$ends" | xargs)"
want "the reasons at the end" "1 2 3 4" "$(sed -n 's/^    | reason //p' <<<"$ends" | xargs)"
run area/good area/left
want "the status without failed tests" 0 $status
want "the last line without failed tests" "1 passed, 0 failed, 1 skipped" "$(tail -n 1 <<<"$out")"
exit 0
