#!/bin/bash
# SPDX-License-Identifier: MIT
# probe-stat: the order of rows, counts, selection, repeated reports and rates.
. tests/lib.sh
. tests/cmd/lib.sh
need_kernel
build_target
start p
at_end "probe-disable -q -s $S 2>/dev/null"
mask() { mask_columns | sed -E "s/^(  [0-9]+)  [0-9.]+  1  app/\1  RATE  1  app/"; }

expect_text 1 probe-stat -s "$S" <<E
probe-stat: no session '$S'; probe-list --sessions lists the sessions
E
expect 0 probe-enable -q -s "$S" -p "$p" 'app:*' 'target:*'
tell p "say 61"
tell p "tick 100000"
expect_text 0 probe-stat --session="$S" <<'E'
  HITS  SITES  PROBE  PID  FILE
  100000  1  app:tick  P  T/target
  1  1  target:say__entry  P  T/target
  1  1  target:say__return  P  T/target
E
expect_text 0 probe-stat -q -v -s "$S" <<'E'
  100000  0  100000  0  0  1  app:tick  P  T/target
  1  0  1  0  0  1  target:say__entry  P  T/target
  1  0  1  0  0  1  target:say__return  P  T/target
E
expect 0 probe-stat --json -s "$S"
want "keys of the document" '["probes","session","time","uncounted"]' "$(json keys <<<"$out")"
want "keys of a row" \
	'["abandoned","backend","entries","file","file_state","filtered","hits","idle","lost","missed","overwritten","pid","probe","recorded","sites","state","under_way","unmatched","unsampled"]' \
	"$(json '.probes[0]|keys' <<<"$out")"
want "values of a row" "[\"app:tick\",$p,\"$T/target\",\"kernel\",1,100000,0,100000,0,0,0]" \
	"$(json '.probes[0]|[.probe,.pid,.file,.backend,.sites,.hits,.filtered,.idle,.recorded,.lost,.missed]' <<<"$out")"

# ---- selected rows ----
expect_text 0 probe-stat -s "$S" 'target:*' 'app:*ck' <<'E'
  HITS  SITES  PROBE  PID  FILE
  100000  1  app:tick  P  T/target
  1  1  target:say__entry  P  T/target
  1  1  target:say__return  P  T/target
E
expect_text 0 probe-stat -s "$S" -q --top 2 -p "$p,1" <<'E'
  100000  1  app:tick  P  T/target
  1  1  target:say__entry  P  T/target
E
want "JSON rows for a pattern" '["target:say__return"]' "$(probe-stat -s "$S" --json '*:say__r*' | jq -c '[.probes[].probe]')"
want "JSON rows for --top 1" '["app:tick"]' "$(probe-stat -s "$S" --json --top 1 | jq -c '[.probes[].probe]')"
expect_text 3 probe-stat -s "$S" -q 'app:*' nothing <<E
probe-stat: no probe in session '$S' matches 'nothing'
  100000  1  app:tick  P  T/target
E
want "JSON rows for --sort=name --top 2" '["app:tick","target:say__entry"]' \
	"$(probe-stat -s "$S" --json --sort=name --top 2 | jq -c '[.probes[].probe]')"
expect_text 0 probe-stat -s "$S" -q --plain --sort name '*:say*' 'app:*' <<'E'
  100000  1  app:tick  P  T/target
  1  1  target:say__entry  P  T/target
  1  1  target:say__return  P  T/target
E
expect 2 probe-stat -s "$S" --sort busy
want_like "message for an unknown order" "*--sort: unknown order 'busy'; give hits, rate, lost, name, p50 or p99*" "$out"
expect 1 probe-stat -s "$S" --json nothing
want "JSON if nothing matches" "[0,\"no probe in session '$S' matches 'nothing'\"]" "$(json '[(.probes|length), .error]' <<<"$out")"
expect 1 probe-stat -s "$S" -p 1
want_like "message for a process without hits" "*session '$S' has no probe that is armed only for pid 1 or was hit by it*" "$out"
# Probes without hits are hidden from the table, but not from JSON. This is reported once.
expect 0 probe-enable -q -s "$S-0" -p "$p" 'target:*'
expect_text 0 probe-stat -s "$S-0" -i 0.01 -n 2 <<'E'
  HITS  HITS/S  SITES  PROBE  FILE
probe-stat: 2 probes without hits are not shown; show all with -a

  HITS  HITS/S  SITES  PROBE  FILE
E
expect_text 0 probe-stat -q -a -s "$S-0" <<'E'
  0  1  target:say__entry  P  T/target
  0  1  target:say__return  P  T/target
E
expect_text 0 probe-stat -q -s "$S-0" say__entry <<'E'
  0  1  target:say__entry  P  T/target
E
want "JSON rows without hits" 2 "$(probe-stat --json -s "$S-0" | jq '.probes | length')"
expect 0 probe-disable -q -s "$S-0"

# ---- repeated reports ----
expect_text 0 probe-stat -s "$S" -i 0.01 -n 2 <<'E'
  HITS  HITS/S  SITES  PROBE  PID  FILE
  100000  -  1  app:tick  P  T/target
  1  -  1  target:say__entry  P  T/target
  1  -  1  target:say__return  P  T/target

  HITS  HITS/S  SITES  PROBE  PID  FILE
  100000  RATE  1  app:tick  P  T/target
  1  0.0  1  target:say__entry  P  T/target
  1  0.0  1  target:say__return  P  T/target
E
probe-stat -s "$S" --interval=0.05 --times=20 --json >"$T/out" &
for i in {1..20}; do tell p "tick 1000"; done
wait $!
want "JSON objects" 20 "$(json 'select(.session and (.probes|length) == 3)' "$T/out" | wc -l)"
want "hits never decrease" true "$(jq -s '[.[].probes[0].hits] | . == sort' "$T/out")"

# probe-stat -i ends with the session, or by an interrupt. A first report without a session is an error.
: >"$T/out" # so that only new lines are waited for
env --default-signal=INT probe-stat -s "$S" -i 0.05 >>"$T/out" &
watcher=$!
wait_for 20 sh -c "[ \$(wc -l <'$T/out') -gt 8 ]"
kill -INT $watcher
wait $watcher
want "status after SIGINT" 0 $?
: >"$T/out"
probe-stat -s "$S" -i 0.05 >>"$T/out" 2>"$T/err" &
watcher=$!
wait_for 20 sh -c "[ \$(wc -l <'$T/out') -gt 8 ]"
expect 0 probe-disable -q -s "$S"
wait $watcher
want "status after the session has ended" 0 $?
want "message after the session has ended" "probe-stat: session '$S' has ended" "$(cat "$T/err")"
expect 1 sh -c "probe-stat -s '$S' >/dev/full"
stop p
