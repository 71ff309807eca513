#!/bin/bash
# SPDX-License-Identifier: MIT
# A session's life by its commands: enable, list, count, disable; two processes of one program, two sessions.
. tests/lib.sh
. tests/cmd/lib.sh
need_kernel
build_target
build_library
know_sites
start p
start q
# Ids of any width make columns of any width.
mask() { sed "s,$T,T,g; s/\b$p\b/P/g; s/\b$q\b/Q/g; s/\b$S\b/S/g; s/   *\([^ ]\)/  \1/g"; }
at_end "probe-disable -q -s $S 2>/dev/null"
at_end "probe-disable -q -s $S-2 2>/dev/null"

want "unarmed" "3 90" "$(site_bytes "$p")"

# ---- one process ----
expect_text 0 probe-enable -s "$S" -p "$p" 'target:*' <<'E'
armed  target:say__entry  pid P  1 site  kernel
armed  target:say__return  pid P  1 site  kernel
E
want "armed there" "1 90 2 cc" "$(site_bytes "$p")"
want "and not elsewhere" "3 90" "$(site_bytes "$q")"
tell p "say 61"
tell q "say 61"
tell p "say 62"
want "hits" 2 "$(hits "$S" target:say__entry)"

# ---- more of it, for another process ----
expect 0 probe-enable --json --session="$S" --pid="$q" --file="$T/target" --backend=kernel app:tick
want "keys" '["armed","pending","refused","session"]' "$(json keys <<<"$out")"
want "armed" "[{\"probe\":\"app:tick\",\"pid\":$q,\"file\":\"$T/target\",\"backend\":\"kernel\",\"sites\":1,\"verified\":true}]" \
	"$(json '[.armed[]|del(.build_id)]' <<<"$out")"
want "rest" "[\"$S\",[],[]]" "$(json '[.session,.pending,.refused]' <<<"$out")"
want "build id" "$(readelf -n "$T/target" | sed -n 's/.*Build ID: //p')" "$(json '.armed[0].build_id' <<<"$out" | tr -d '"')"
tell q "tick 1000"
tell p "tick 10"
want "hits of the other" 1000 "$(hits "$S" app:tick)"

expect_text 0 probe-stat -s "$S" <<'E'
  HITS  SITES  PROBE  PID  FILE
  1000  1  app:tick  Q  T/target
  2  1  target:say__entry  P  T/target
  2  1  target:say__return  P  T/target
E
expect_text 0 probe-list "$T/target" -m 'say*' <<'E'
T/target  2 probes, 2 sites
  PROBE  SITES  ARMED  SIGNATURE
  target:say__entry  1  S  (const char *text, int number, unsigned long big, void *pointer, char letter, _Bool truth)
  target:say__return  1  S  (int result)
E

# ---- another session on the same points: each counts every hit, and its end disturbs nobody ----
expect 0 probe-enable -q -s "$S-2" -f "$T/target" 'app:*'
want "quiet" "" "$out"
tell p "tick 3"
tell q "tick 4"
want "all processes" 7 "$(hits "$S-2" app:tick)"
want "one process" 1004 "$(hits "$S" app:tick)"
want "armed" "[[\"$S\",\"$S-2\"]]" "$(probe-list --json "$T/target" | json '[.probes[]|select(.name=="tick").sites[].armed|sort]')"
want "sessions" "$S $S-2" "$(sessions | sort | xargs)"
expect 0 probe-list --sessions
want "their line" "$S 3 3 1008" "$(awk -v s="$S" '$1 == s { print $1, $2, $3, $4 }' <<<"$out")"
expect_text 0 probe-disable -v -s "$S-2" <<'E'
disarmed 1 site in session 'S-2'
probe-disable: session 'S-2' has ended
E
no_session "$S-2" || fail "it is still there"
tell q "tick 5"
want "the other goes on" 1009 "$(hits "$S" app:tick)"

# ---- taking out ----
expect_text 0 probe-disable -v -s "$S" 'target:*return' <<'E'
disarmed 1 site in session 'S'
probe-disable: session 'S' goes on with other probes
E
want "one left in p" "2 90 1 cc" "$(site_bytes "$p")"
expect_text 1 probe-disable -s "$S" -p "$q" 'target:*' <<'E'
probe-disable: nothing in session 'S' matches
E
expect 0 probe-disable --json -s "$S" -p "$q"
want "json" "{\"disarmed\":[{\"session\":\"$S\",\"points\":1}]}" "$(json . <<<"$out")"
want "none left in q" "3 90" "$(site_bytes "$q")"
want "p's still there" "2 90 1 cc" "$(site_bytes "$p")"
expect 0 probe-disable -q -s "$S"
want "quiet" "" "$out"
want "none left in p" "3 90" "$(site_bytes "$p")"
expect 1 probe-stat -s "$S"
expect 1 probe-disable -s "$S"
expect 1 probe-disable -s "$S" --json
want "json error" '["error"]' "$(json keys <<<"$out")"

# ---- done in part, and what resembles ----
expect_text 3 probe-enable -s "$S" -p "$p" 'app:tick' 'app:tack' 'say_entry' <<'E'
armed  app:tick  pid P  1 site  kernel
probe-enable: nothing matches 'app:tack': there is app:tick
probe-enable: nothing matches 'say_entry': there is target:say__entry
E
expect 3 probe-enable --json -s "$S-2" -p "$p" 'app:tick' 'app:tack'
want "in part" '[1,[{"probe":"app:tack","pid":null,"file":null,"offset":null,"reason":"no probe matches"}],"string"]' \
	"$(json '[(.armed|length),.refused,(.error|type)]' <<<"$out")"
expect 0 probe-disable -q -s "$S"
expect 0 probe-disable -q -s "$S-2"

# the name weighs more than the provider
expect 1 probe-enable -s "$S" -p "$p" 'tick:entry' 'zebra:tick'
want_like "a name and a wrong provider" "*nothing matches 'zebra:tick': there is app:tick*" "$out"
# a refusal's reason stands once where rows and errors are read together, and in both where they are not
cat >"$T/liar.s" <<'A'
	.globl main
main:	xor %eax, %eax
	ret
	.pushsection .note.stapsdt,"","note"
	.balign 4
	.4byte 8, 2f-1f, 3
	.asciz "stapsdt"
1:	.8byte main, 0, 0
	.asciz "app"
	.asciz "liar"
	.asciz ""
2:	.balign 4
	.popsection
	.section .note.GNU-stack, "", @progbits
A
"$CC" -o "$T/liar" "$T/liar.s" || fail "liar.s does not assemble"
expect 1 probe-enable -s "$S" -f "$T/liar" app:liar
want "in one place" 1 "$(grep -c 'is not a nop' <<<"$out")"
probe-enable -s "$S" -f "$T/liar" app:liar >"$T/rows" 2>"$T/errors"
want "in two" "1 1" "$(grep -c 'is not a nop' "$T/rows") $(grep -c 'is not a nop' "$T/errors")"
# notes that were left out are told when they are a reason for what is missing
cp "$T/liar" "$T/damaged"
at=$(grep -obUaP 'app\x00liar' "$T/damaged" | head -n 1 | cut -d: -f1)
printf '\001' | dd of="$T/damaged" bs=1 seek="$at" conv=notrunc 2>/dev/null
expect 1 probe-enable -s "$S" -f "$T/damaged" app:liar
want_like "a note left out" "*nothing matches 'app:liar'*note at offset 0x* left out: its provider is not terminated or not text*" "$out"

# ---- pending: in a file that nobody maps yet ----
expect_text 0 probe-enable -s "$S" -p "$p" -f "$T/lib.so" lib:call <<'E'
pending  lib:call  T/lib.so  pid P
probe-enable: 1 probe is pending: armed as soon as a process maps the file
E
expect 0 probe-enable -q --json -s "$S-2" -f "$T/lib.so" 'lib:*'
want "pending" "[[],[{\"probe\":\"lib:call\",\"file\":\"$T/lib.so\"}],[]]" "$(json '[.armed,.pending,.refused]' <<<"$out")"
tell p "load $T/lib.so"
offset=$(probe-list --json "$T/lib.so" | jq '.probes[0].sites[0].offset')
base=$(awk -v f="$T/lib.so" '$6 == f && $2 ~ /x/ { split($1, a, "-"); print a[1], $3 }' "/proc/$p/maps")
address=$((16#${base% *} - 16#${base#* } + offset))
want "armed by the load" cc "$(dd if="/proc/$p/mem" bs=1 count=1 skip="$address" 2>/dev/null | od -An -tx1 | tr -d ' ')"
expect 0 probe-disable -q -s "$S"
expect 0 probe-disable -q -s "$S-2"
want "disarmed" 90 "$(dd if="/proc/$p/mem" bs=1 count=1 skip="$address" 2>/dev/null | od -An -tx1 | tr -d ' ')"
stop p
stop q
