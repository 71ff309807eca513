#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Programs with probes of their own: Debian's Python and a JVM, all their probes at once, and their strings.
. tests/lib.sh
need_root
need jq

at_end "probe-disable -q -s $S 2>/dev/null"
python=/usr/bin/python3
if [ -x "$python" ] && [ "$(probe-list --json "$(readlink -f "$python")" | jq '[.probes[] | select(.provider == "python")] | length')" -gt 0 ]; then
	# Python has no probes of calls since 3.12. Its probe of audit events has a name as the first argument.
	probe=function__entry string=arg1
	probe-list "$(readlink -f "$python")" -m python:function__entry >/dev/null 2>&1 || probe=audit string=arg0
	cat >"$T/calls.py" <<-'E'
		import sys
		def first(): sys.audit("first")
		def second(n):
		    sys.audit("second")
		    for i in range(n): first()
		sys.stdin.readline()
		second(1234)
		sys.stdin.readline()
	E
	mkfifo "$T/go"
	"$python" "$T/calls.py" <"$T/go" &
	pid=$!
	exec {go}>"$T/go"
	wait_for 10 eval '[ "$(cat /proc/$pid/syscall | cut -d" " -f1)" = 0 ]'
	expect 0 probe-enable -s "$S" -p "$pid" 'python:*'
	tracing "$T/trace" --json -p "$pid" --string arg0 --string $string python:$probe
	echo >&$go
	wait_for 10 eval '[ "$(jq -c "select(.args.$string==\"first\")" "$T/trace" | wc -l)" = 1234 ]'
	echo >&$go
	exec {go}>&-
	wait "$pid" || fail "Python died"
	wait "$tracer"
	want "calls by name" '["first",1234] ["second",1]' "$(jq -sc "group_by(.args.$string)[] | [.[0].args.$string, length]" "$T/trace" |
		grep -E '^\["(first|second)",' | paste -sd' ')"
	[ $probe = audit ] || want "file names" "$T/calls.py" "$(jq -r 'select(.args.arg1 == "second") | .args.arg0' "$T/trace")"
	want "each row adds up" true "$(probe-stat -s "$S" --json | jq 'all(.probes[]; .hits == .filtered + .idle + .recorded + .lost)')"
	want "hits of $probe" true \
		"$(probe-stat -s "$S" --json | jq --arg probe python:$probe 'any(.probes[]; .probe == $probe and .hits >= 1235)')"
	expect 0 probe-disable -s "$S"
else
	part_skipped "Python: $python has no probes"
fi

if have java && have javac; then
	cat >"$T/Threads.java" <<-'E'
		public class Threads {
			public static void main(String[] a) throws Exception {
				System.out.println("ready");
				System.in.read();
				for (int i = 0; i < 40; i++) {
					Thread t = new Thread(() -> { }, "probed-" + i);
					t.start();
					t.join();
				}
				System.out.println("done");
				System.in.read();
			}
		}
	E
	javac -d "$T" "$T/Threads.java" || fail "javac"
	mkfifo "$T/java"
	java -Xmx128m -cp "$T" Threads <"$T/java" >"$T/java.out" &
	pid=$!
	exec {java}>"$T/java"
	wait_for 60 grep -q ready "$T/java.out"
	expect 0 probe-enable --yes --json -s "$S" -p "$pid" 'hotspot*:*'
	want "over 500 sites armed, none refused, all read back" true \
		"$(jq '([.armed[].sites] | add) > 500 and .refused == [] and all(.armed[]; .verified)' <<<"$out")"
	tracing "$T/threads" --json -p "$pid" --string arg0 hotspot:thread__start
	echo >&$java
	wait_for 20 grep -q done "$T/java.out"
	wait_for 10 grep -q 'probed-39' "$T/threads"
	kill -TERM "$tracer"
	wait "$tracer"
	want "threads by name" "$(seq -f 'probed-%g' 0 39)" "$(jq -r '.args.arg0' "$T/threads" | grep ^probed)"
	want "threads counted" true \
		"$(probe-stat -s "$S" --json | jq 'any(.probes[]; .probe == "hotspot:thread__start" and .hits >= 40)')"
	expect 0 probe-disable -s "$S"
	echo >&$java
	exec {java}>&-
	wait "$pid" || fail "the JVM died"
else
	part_skipped "the JVM: needs a JDK"
fi
exit 0
