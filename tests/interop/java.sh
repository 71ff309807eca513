#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# An installed Java virtual machine: its hundreds of probes, armed while it runs, count the program's threads,
# collections and calls, and the program continues.
. tests/lib.sh
need jq java javac
need_root
home=$(dirname "$(dirname "$(readlink -f "$(command -v javac)")")")
library=$home/lib/server/libjvm.so
probe-list -q "$library" 2>/dev/null | grep -q hotspot:method__entry || skip "this Java has no probes"

cat >"$T/Work.java" <<'E'
public class Work {
	static int sum;
	static void counted(int n) { sum += n; }
	static void round() throws Exception {
		for (int i = 0; i < 1000; i++)
			counted(i);
		for (int i = 0; i < 3; i++)
			System.gc();
		for (int i = 0; i < 5; i++) {
			Thread t = new Thread(() -> counted(1), "worker-" + i);
			t.start();
			t.join();
		}
		System.out.println("round " + sum);
	}
	public static void main(String[] args) throws Exception {
		System.out.println("ready");
		while (System.in.read() == '\n')
			round();
	}
}
E
expect 0 "$home/bin/javac" -d "$T" "$T/Work.java"
mkfifo "$T/in"
"$home/bin/java" -Xint -XX:+UseSerialGC -XX:-UsePerfData -XX:+DTraceMethodProbes -cp "$T" Work <"$T/in" >"$T/out" 2>&1 &
pid=$!
exec 5>"$T/in"
wait_for 60 grep -q ready "$T/out"

at_end "for s in $S ${S}f; do probe-disable -q -s \$s 2>/dev/null; done"
expect 0 probe-enable -q -s ${S}f -p $pid --if 'arg3 =~ "counted*"' hotspot:method__entry
expect 0 probe-enable -q -s ${S}f -p $pid --if 'arg0 =~ "worker-*"' hotspot:thread__start
for round in 1 2; do
	probe-enable -q --yes --json -s $S -p $pid -f "$library" '*' >"$T/report" || fail "arming ends with $?: $(cat "$T/report")"
	want "armed" "$(probe-list --json "$library" | jq '.probes | length')" "$(json '.armed | length' "$T/report")"
	want "verified" '[true]' "$(json '[.armed[].verified] | unique' "$T/report")"
	want "refused" '[]' "$(json .refused "$T/report")"
	echo >&5
	wait_for 60 grep -q "round $((round * 499505))" "$T/out"
	probe-stat --json -s $S >"$T/stat"
	hits() { json ".probes[] | select(.probe == \"hotspot:$1\").hits" "$T/stat"; }
	want "collections" "3 3" "$(hits gc__begin) $(hits gc__end)"
	[ "$(hits method__entry)" -gt 1005 ] || fail "only $(hits method__entry) calls"
	want "calls and threads" "{\"hotspot:method__entry\":$((round * 1005)),\"hotspot:thread__start\":$((round * 5))}" \
		"$(probe-stat --json -s ${S}f | jq -c '[.probes[] | { key: .probe, value: (.hits - .filtered) }] | from_entries')"
	expect 0 probe-disable -q -s $S
done
expect 0 probe-disable -q -s ${S}f
echo >&5
wait_for 60 grep -q "round $((3 * 499505))" "$T/out"
exec 5>&-
wait $pid || fail "Java ends with $?: $(tail -n 5 "$T/out")"
