#!/bin/bash
# SPDX-License-Identifier: MIT
# probe-enable, probe-list, probe-stat and probe-disable with two processes of one program and two sessions.
. tests/lib.sh
. tests/cmd/lib.sh
need_kernel
build_target
build_library
know_sites
start p
start q
mask() { mask_columns | sed "s/\b$S\b/S/g"; }
at_end "probe-disable -q -s $S 2>/dev/null"
at_end "probe-disable -q -s $S-2 2>/dev/null"

want "bytes before arming" "3 90" "$(site_bytes "$p")"

# ---- one process ----
expect_text 0 probe-enable -s "$S" -p "$p" 'target:*' <<'E'
armed  target:say__entry  pid P  1 site  kernel
armed  target:say__return  pid P  1 site  kernel
E
want "bytes in p" "1 90 2 cc" "$(site_bytes "$p")"
want "bytes in q" "3 90" "$(site_bytes "$q")"
tell p "say 61"
tell q "say 61"
tell p "say 62"
want "hits in p" 2 "$(hits "$S" target:say__entry)"

# ---- another process in the same session ----
expect 0 probe-enable --json --session="$S" --pid="$q" --file="$T/target" --backend=kernel app:tick
want "JSON keys" '["armed","pending","refused","session"]' "$(json keys <<<"$out")"
want "armed row" "[{\"probe\":\"app:tick\",\"pid\":$q,\"file\":\"$T/target\",\"backend\":\"kernel\",\"sites\":1,\"verified\":true}]" \
	"$(json '[.armed[]|del(.build_id)]' <<<"$out")"
want "session and other rows" "[\"$S\",[],[]]" "$(json '[.session,.pending,.refused]' <<<"$out")"
want "build id" "$(readelf -n "$T/target" | sed -n 's/.*Build ID: //p')" "$(json '.armed[0].build_id' <<<"$out" | tr -d '"')"
tell q "tick 1000"
tell p "tick 10"
want "hits in q" 1000 "$(hits "$S" app:tick)"

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

# ---- another session with the same sites: each session counts all hits, and ends without effect on the other ----
expect 0 probe-enable -q -s "$S-2" -f "$T/target" 'app:*'
want "output with -q" "" "$out"
tell p "tick 3"
tell q "tick 4"
want "hits in all processes" 7 "$(hits "$S-2" app:tick)"
want "hits in q" 1004 "$(hits "$S" app:tick)"
want "sessions that arm the site" "[[\"$S\",\"$S-2\"]]" "$(probe-list --json "$T/target" | json '[.probes[]|select(.name=="tick").sites[].armed|sort]')"
want "sessions" "$S $S-2" "$(sessions | sort | xargs)"
expect 0 probe-list --sessions
want "row of the session" "$S 3 3 1008" "$(awk -v s="$S" '$1 == s { print $1, $2, $3, $4 }' <<<"$out")"
expect_text 0 probe-disable -v -s "$S-2" <<'E'
disarmed 1 site in session 'S-2'
probe-disable: session 'S-2' has ended
E
no_session "$S-2" || fail "the second session has not ended"
tell q "tick 5"
want "hits in the other session" 1009 "$(hits "$S" app:tick)"

# ---- disarming ----
expect_text 0 probe-disable -v -s "$S" 'target:*return' <<'E'
disarmed 1 site in session 'S'
probe-disable: session 'S' continues with other probes
E
want "bytes in p after disarming one probe" "2 90 1 cc" "$(site_bytes "$p")"
expect_text 1 probe-disable -s "$S" -p "$q" 'target:*' <<'E'
probe-disable: no probe in session 'S' matches
E
expect 0 probe-disable --json -s "$S" -p "$q"
want "JSON of probe-disable" "{\"disarmed\":[{\"session\":\"$S\",\"points\":1}]}" "$(json . <<<"$out")"
want "bytes in q after disarming q" "3 90" "$(site_bytes "$q")"
want "bytes in p after disarming q" "2 90 1 cc" "$(site_bytes "$p")"
expect 0 probe-disable -q -s "$S"
want "output with -q" "" "$out"
want "bytes in p after disarming all" "3 90" "$(site_bytes "$p")"
expect 1 probe-stat -s "$S"
expect 1 probe-disable -s "$S"
expect 1 probe-disable -s "$S" --json
want "JSON keys of an error" '["error"]' "$(json keys <<<"$out")"

# ---- patterns that match nothing, and similar names ----
expect_text 3 probe-enable -s "$S" -p "$p" 'app:tick' 'app:tack' 'say_entry' <<'E'
armed  app:tick  pid P  1 site  kernel
probe-enable: no probe matches 'app:tack'; similar: app:tick
probe-enable: no probe matches 'say_entry'; similar: target:say__entry
E
expect 3 probe-enable --json -s "$S-2" -p "$p" 'app:tick' 'app:tack'
want "JSON if one pattern matches nothing" '[1,[{"probe":"app:tack","pid":null,"file":null,"offset":null,"reason":"no probe matches"}],"string"]' \
	"$(json '[(.armed|length),.refused,(.error|type)]' <<<"$out")"
expect 0 probe-disable -q -s "$S"
expect 0 probe-disable -q -s "$S-2"

# A similar name outweighs a wrong provider.
expect 1 probe-enable -s "$S" -p "$p" 'tick:entry' 'zebra:tick'
want_like "message for a right name with a wrong provider" "*no probe matches 'zebra:tick'; similar: app:tick*" "$out"
# The reason of a refusal is printed once if rows and errors go to the same file, and in both if they do not.
[ "$(uname -m)" = aarch64 ] && zero='mov w0, 0' || zero='xor %eax, %eax'
cat >"$T/liar.s" <<A
	.globl main
main:	$zero
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
want "reasons in one file" 1 "$(grep -c 'is not a nop' <<<"$out")"
probe-enable -s "$S" -f "$T/liar" app:liar >"$T/rows" 2>"$T/errors"
want "reasons in two files" "1 1" "$(grep -c 'is not a nop' "$T/rows") $(grep -c 'is not a nop' "$T/errors")"
# A damaged note is reported if a pattern matches nothing, because the note may be the cause.
cp "$T/liar" "$T/damaged"
at=$(grep -obUaP 'app\x00liar' "$T/damaged" | head -n 1 | cut -d: -f1)
printf '\001' | dd of="$T/damaged" bs=1 seek="$at" conv=notrunc 2>/dev/null
expect 1 probe-enable -s "$S" -f "$T/damaged" app:liar
want_like "message about a damaged note" "*no probe matches 'app:liar'*note at offset 0x* left out: its provider is not terminated or not text*" "$out"

# ---- a file that no process maps yet ----
expect_text 0 probe-enable -s "$S" -p "$p" -f "$T/lib.so" lib:call <<'E'
pending  lib:call  T/lib.so  pid P
probe-enable: 1 probe is pending; it is armed when a process maps the file
E
expect 0 probe-enable -q --json -s "$S-2" -f "$T/lib.so" 'lib:*'
want "JSON of a pending probe" "[[],[{\"probe\":\"lib:call\",\"file\":\"$T/lib.so\"}],[]]" "$(json '[.armed,.pending,.refused]' <<<"$out")"
tell p "load $T/lib.so"
offset=$(probe-list --json "$T/lib.so" | jq '.probes[0].sites[0].offset')
base=$(awk -v f="$T/lib.so" '$6 == f && $2 ~ /x/ { split($1, a, "-"); print a[1], $3 }' "/proc/$p/maps")
address=$((16#${base% *} - 16#${base#* } + offset))
want "byte after the library is loaded" cc "$(dd if="/proc/$p/mem" bs=1 count=1 skip="$address" 2>/dev/null | od -An -tx1 | tr -d ' ' | x86_bytes)"
expect 0 probe-disable -q -s "$S"
expect 0 probe-disable -q -s "$S-2"
want "byte after disarming" 90 "$(dd if="/proc/$p/mem" bs=1 count=1 skip="$address" 2>/dev/null | od -An -tx1 | tr -d ' ' | x86_bytes)"
stop p
stop q
