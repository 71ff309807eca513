#!/bin/bash
# SPDX-License-Identifier: MIT
# Sites of a probe whose arguments have different types share a table of aggregates if their keys can be compared. Else each type
# has a table whose heading, JSON and metrics name the type. Both backends agree.
. tests/lib.sh
. tests/cmd/lib.sh
need_kernel
cat >"$T/program.c" <<'E2'
#include <sys/sdt.h>
int main(void)
{
	static char text[] = "text";

	for (int i = -2; i < 2; i++) {
		STAP_PROBE1(types, narrow, i);
		STAP_PROBE1(types, narrow, (unsigned)i);
		STAP_PROBE1(types, narrow, (short)i);
		STAP_PROBE1(types, narrow, (long)i);
		STAP_PROBE1(types, wide, (long)i);
		STAP_PROBE1(types, wide, (unsigned long)i);
		STAP_PROBE1(types, wide, i);
		STAP_PROBE1(types, other, (unsigned)i);
	}
	return !text[0];
}
E2
"$CC" -O1 -Iinclude "$T/program.c" -o "$T/program" || fail "does not compile"
# rows: the counts and keys of each table, after its heading
rows() { awk '/^types:/ { $1 = $1; print; on = 1; next } on && !/COUNT|total/ && NF { print $1, $2 }' <<<"$1" | sed 's/^  *//; s/  */ /g'; }
wanted='types:narrow count() by arg0
3 -1
3 -2
4 0
4 1
1 4294967294
1 4294967295
types:other count() by arg0
1 0
1 1
1 4294967294
1 4294967295
types:wide count() by arg0 (arg0 signed)
2 -1
2 -2
2 0
2 1
types:wide count() by arg0 (arg0 unsigned)
1 0
1 1
1 18446744073709551614
1 18446744073709551615'
# Keys with equal counts have no order.
sorted() { awk '/^types:/ { n++ } { print n, !/^types:/, $0 }' | sort -k 1,1n -k 2,2n -k 4,4n | cut -d ' ' -f 3-; }
for backend in kernel agent; do
	expect 0 probe-stat -q -b $backend --agg 'count() by arg0' 'types:*' -- "$T/program"
	want "tables, $backend" "$(sorted <<<"$wanted")" "$(rows "$out" | sorted)"
done

# Extremes and sums of both types: 64 bits that are signed are not compared with unsigned ones.
expect 0 probe-stat -q --json -b kernel --agg 'min(arg0), max(arg0), count()' 'types:*' -- "$T/program"
want "types and extremes in JSON" 'null -2 4294967295 16|null 0 4294967295 4|min(arg0) signed -2 1 8|min(arg0) unsigned 0 18446744073709551615 4' \
	"$(python3 -c '
import json, sys
for t in json.load(sys.stdin)["aggregates"]:
    v = t["total"]["values"]
    print(t.get("types", "null"), v[0]["min"], v[1]["max"], v[2]["count"])' <<<"$out" | paste -sd '|')"
expect 0 probe-stat -q --openmetrics -b kernel --agg 'count()  by arg0' 'types:*' -- "$T/program"
want "series of both types" '1 types="arg0 signed",key="1" 2|1 types="arg0 unsigned",key="1" 1' \
	"$(sed -n 's/^probepoint_values_total.*\(types="[^"]*",key="1"\),.*} /\1 /p' <<<"$out" | sort | uniq -c | sed 's/^ *//' | paste -sd '|')"

# A file that was built again with another enumeration has two tables, with the names of each.
at_end "probe-disable -q -s $S 2>/dev/null"
for names in "RED, GREEN" "APPLE, PEAR"; do
	printf 'enum type { %s };\n%s\n' "$names" '__attribute__((noipa)) void paint(enum type c) { __asm__ volatile("" : : "r"(c)); }
		int main(void) { paint(0); paint(1); paint(1); return 0; }' | "$CC" -g -O1 -xc - -o "$T/new" || fail "does not compile"
	mv "$T/new" "$T/painter"
	expect 0 probe-enable -q -b kernel -s $S -f "$T/painter" --agg 'count() by c' func:paint
	"$T/painter"
done
want "tables of two enumerations" 'func:paint count() by c (c enum {APPLE, PEAR})|2 PEAR|1 APPLE|func:paint count() by c (c enum {RED, GREEN})|2 GREEN|1 RED' \
	"$(probe-stat -q -s $S | awk '/^func:/ { $1 = $1; print; on = 1; next } on && !/COUNT|total/ && NF { print $1, $2 }' | paste -sd '|')"
