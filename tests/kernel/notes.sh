#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Both backends refuse a note that does not point at a nop, or whose semaphore is another variable, with and without
# symbols. The program's results stay correct.
. tests/lib.sh
. tests/kernel/lib.sh
need_kernel
[ "$(uname -m)" = x86_64 ] || skip "tests/kernel/notes.S has code for x86-64"
need strip

build_once "$T/notes" "$CC" -O1 tests/kernel/notes.c tests/kernel/notes.S || fail "does not compile"
strip -o "$T/stripped" "$T/notes"
at_end "probe-disable -q -s $S 2>/dev/null"
reason() { json ".refused[] | select(.probe == \"bad:$1\") | .reason" <<<"$out"; }

for file in notes stripped; do
	export LD_PRELOAD=$B/lib/libprobepoint-agent.so
	converse "$T/$file"
	unset LD_PRELOAD
	ask x
	want "$file, not armed" ok "$answer"

	# in the stripped file, good:named is refused: without symbols its semaphore may be any variable
	good='good:nop good:nopl good:nopw good:padded good:prefixed good:semaphore'
	[ $file = stripped ] || good='good:named '$good
	expect $([ $file = notes ] && echo 0 || echo 3) probe-enable -b kernel --json -s "$S" -p "$pid" 'good:*'
	want "$file: armed" "$good" "$(json '[.armed[] | select(.verified) | .probe] | sort | join(" ")' <<<"$out" | tr -d '"')"
	ask x
	want "$file, armed" ok "$answer"
	want "$file: hits" "$(wc -w <<<"$good")" "$(probe-stat --json -s "$S" | jq '[.probes[].hits] | add')"
	expect 0 probe-disable -s "$S"

	for backend in kernel agent; do
		expect 1 probe-enable -b $backend --json -s "$S" -p "$pid" 'bad:*'
		want "$file, $backend: armed" '[]' "$(json '.armed + .pending' <<<"$out")"
		want "$file, $backend: refused" 15 "$(json '[.refused[].probe] | unique | length' <<<"$out")"
		for name in immediate inside_number prefix; do
			[ $name = prefix ] || want_like "$file: $name" "*is in the middle of an instruction*" "$(reason $name)"
		done
		for name in add ret pause; do want_like "$file: $name" "*is not a nop*" "$(reason $name)"; done
		want_like "$file: xchg" "*would execute wrongly*" "$(reason xchg)"
		want_like "$file: inside_nopl" "*cannot step over*" "$(reason inside_nopl)"
		want_like "$file: inside_xchg" "*is in the middle of an instruction*" "$(reason inside_xchg)"
		for name in in_padding after_return; do
			want_like "$file: $name" "*cannot check whether an instruction begins at*may not be code" "$(reason $name | tr -d '"')"
		done
		want_like "$file: variable" "*may be any variable*" "$(reason variable)"
		want_like "$file: in_bss" "*in .bss*" "$(reason in_bss)"
		[ $file = stripped ] || want_like "$file: begins_as_7" "*is not 0 in the file*" "$(reason begins_as_7)"
		ask x
		want "$file, $backend" ok "$answer"
	done
	exec {in}>&- {reply}<&-
	wait "$pid" || fail "the target ended with $?"
	rm "$T/in" "$T/out"
done

# a label inside an instruction is refused too
expect 1 probe-enable -s "$S" -f "$T/notes" func:in_the_number
want_like "a label in a number" "*is in the middle of an instruction*" "$out"
# the instruction can be armed by function and offset
converse "$T/notes"
expect 0 probe-enable -s "$S" -p "$pid" func:immediate+5
ask x
want "an instruction inside a function" "ok 1" "$answer $(count "$S" func:immediate+5)"
exec {in}>&- {reply}<&-
wait "$pid" || fail "the target ended with $?"
