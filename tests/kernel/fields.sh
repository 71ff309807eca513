#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# --if with fields of structures and names of enumerations: the accepted hits equal the program's own count, with four
# threads at full speed and one session per filter, by the kernel and by the agent in the same program.
. tests/plugin/lib.sh
. tests/agent/lib.sh
. tests/kernel/lib.sh
need_kernel
probed take provider=t
filters=(
	'r->len >= 100'
	'r->path == "/api/x" || r->id == 7'
	'r->level < 0 && r->done'
	'r->more == -3 || r.kind == 5'
	'r->far < -1000000000'
	'r->tag == "abc" && r->column != r->row'
	'state == RUNNING || state == LOST'
	'r->len < 0xffffffffffffffff && r->next > 0 && r->state != RUNNING'
	'pair.x > pair.y'
	'big.len % 3 == 0'
)
for ((i = 0; i < ${#filters[@]}; i++)); do at_end "probe-disable -q -s $S-$i 2>/dev/null"; done
[ "${PROBEPOINT_LONG-}" ] && calls=200000 || calls=$((5000 / slow))

passed() { probe-stat --json -s "$1" | jq '.probes[] | .hits - .filtered'; }
check() { # WHAT BACKEND FROM TO
	for ((i = $3; i < $4; i++)); do
		expect 0 probe-enable -q -b "$2" -s "$S-$i" -p "$p" --if "${filters[i]}" t:take__entry
	done
	tell p "run 4 $calls"
	for ((i = $3; i < $4; i++)); do
		want "$1, $2: hits for ${filters[i]}" $((4 * calls)) "$(count "$S-$i" t:take__entry)"
		want "$1, $2: ${filters[i]}" "$(cut -d' ' -f$((i + 1)) <<<"$answer")" "$(passed "$S-$i")"
		adds_up "$S-$i"
		expect 0 probe-disable -q -s "$S-$i"
		gone "$S-$i"
	done
}
for flags in -O2 $([ "$slow" != 1 ] || echo -O0); do
	build_once "$T/fields" $GCC -w $flags "${with[@]}" -pthread tests/kernel/fields.c || fail "fields.c does not build"
	start p "$T/fields"
	check "$flags" kernel 0 10
	stop p
	start p env LD_PRELOAD="$AGENT" "$T/fields"
	wait_for 10 grep -q libprobepoint-agent /proc/$p/maps
	check "$flags" agent 0 5 # it takes eight sessions on a site
	check "$flags" agent 5 10
	stop p
done

# ---- refused filters ----

start p "$T/fields"
refused() { # FILTER LINE...
	expect 1 probe-enable -q -b kernel -s "$S-0" -p "$p" --if "$1" t:take__entry
	want "$1" "$2" "$(sed 's/^    //' <<<"${out#*: armed 0 of 1: }")"
}
refused 'r->lenn > 1' "'struct request' has no field 'lenn': it has id, level, path, len, tag, in, row, column, kind, more, far, done, state, next
r->lenn > 1
   ^"
refused 'state == WAITING' "unknown name 'WAITING': t:take__entry has r, state, pair.x, pair.y, big, and every probe has pid, tid, comm and cpu
state == WAITING
         ^"
refused '1 < r->in' "'in' is neither an integer nor a string: its type is 'struct inner'
1 < r->in
       ^"
refused 'state.x == 1' "the fields of 'state' are not known
state.x == 1
      ^"
stop p
