# SPDX-License-Identifier: MIT
# For tests of flight recorders, after tests/lib.sh: tests/trace/recorder.c, and checks of its records against its log.

need jq
build_once "$T/recorder" "$CC" -O2 -g -Iinclude -pthread tests/trace/recorder.c || fail "recorder.c does not build"

# begin THREADS [COMMAND...]: starts the program, under COMMAND, and sets $pid. say LINE: waits for the reply, in $said.
begin() {
	rm -f "$T/log" "$T/in" "$T/out"
	mkfifo "$T/in" "$T/out"
	"${@:2}" "$T/recorder" "$T/log" "$1" <"$T/in" >"$T/out" &
	pid=$!
	exec {in}>"$T/in" {from}<"$T/out"
	read -r -t $patience -u "$from" said
	want "the program begins" ready "$said"
}
say() {
	echo "$1" >&"$in"
	read -r -t $patience -u "$from" said || fail "the program does not reply to '$1'"
}
finish() {
	echo end >&"$in"
	exec {in}>&- {from}<&-
	wait $pid 2>/dev/null
}
log() { od -An -v -t u8 -w8 "$T/log" | awk -v n="$1" 'NR <= n { print NR - 1, $1 }'; }

counted() { probe-stat --json -s $S | jq "[.probes[] | select(.probe == \"recorder:hit\").$1] | add"; }
# snapshot FILE [ARGUMENT...]: records as JSON
snapshot() {
	probe-trace --json --snapshot -s $S "${@:2}" >"$1" 2>"$1.err" || fail "probe-trace --snapshot: $(cat "$1" "$1.err")"
}
# whole WHAT FILE: checks that no record is torn, that they are in the order of time, and that no record is missing between two of
# a thread. A gap between a thread that has ended and the thread that went on with its numbers is right: snapshot-turns.sh.
whole() {
	local wrong
	jq -r '[.time, .probe, .args.arg0, .args.arg1, .args.arg2, (.args.arg3 | length), .tid] | @tsv' "$2" >"$2.table" ||
		fail "$1: $(tail -n 1 "$2")"
	want "$1: records out of order" "" "$(awk '$1 < last { print last, $1; exit } { last = $1 }' "$2.table")"
	grep 'recorder:hit' "$2.table" | cut -f 3- >"$2.hits"
	want "$1: records that are torn" "" "$(awk '$3 != -1 - $2 || $4 != $2 % 40 { print; exit }' "$2.hits")"
	wrong=$(awk '$1 in last && $2 != last[$1] + 1 && ($5 == tid[$1] || $2 <= last[$1]) { print; exit }
		{ last[$1] = $2; tid[$1] = $5 }' "$2.hits")
	want "$1: a record after which one is missing" "" "$wrong"
}
# tails WHAT FILE THREADS [MORE]: checks that the records of each thread end with the log; MORE: or one later.
tails() {
	awk '{ last[$1] = $2 } END { for (i in last) print i, last[i] }' "$2.hits" | sort -n >"$2.last"
	log "$3" | awk '$2' >"$2.log"
	awk -v more="${4:-0}" 'NR == FNR { last[$1] = $2; next } $1 in last && (last[$1] - $2 < 0 || last[$1] - $2 > more) {
		print "thread " $1 ": the last record is " last[$1] ", the log has " $2 }' "$2.last" "$2.log" >"$2.wrong"
	want "$1: the last records" "" "$(cat "$2.wrong")"
	[ -s "$2.last" ] || fail "$1: there are no records"
}
accounts() { # WHAT
	want "$1: hits" "$(log 64 | awk '{ sum += $2 } END { print sum }')" "$(counted hits)"
	want "$1: the sum" "$(counted hits)" \
		$(($(counted filtered) + $(counted idle) + $(counted recorded) + $(counted lost)))
}
