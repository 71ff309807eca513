#!/bin/bash
# SPDX-License-Identifier: MIT
# probe-list: text, columns and JSON, compared with readelf, an independent reader of the same notes.
. tests/lib.sh
. tests/cmd/lib.sh
need jq readelf
build_target
build_library

mask() { sed -E 's/0x[0-9a-f]+/ADDRESS/g; s/-?[1248]@[^ ]+/OPERAND/g; s/build-id [0-9a-f]{40}/build-id ID/'; }
top=$PWD
cd "$T" || exit 1

expect_text 0 probe-list target <<'E'
target  3 probes, 3 sites
  PROBE               SITES  ARMED  SIGNATURE
  app:tick                1  -      -
  target:say__entry       1  -      (const char *text, int number, unsigned long big, void *pointer, char letter, _Bool truth)
  target:say__return      1  -      (int result)
E
expect_text 0 probe-list -q -m 'say*' -m '*:tick' target lib.so <<'E'
  app:tick                1  -      -
  target:say__entry       1  -      (const char *text, int number, unsigned long big, void *pointer, char letter, _Bool truth)
  target:say__return      1  -      (int result)
E
expect_text 0 probe-list --match 'lib:*' --file lib.so target <<'E'
lib.so  1 probe, 1 site
  PROBE     SITES  ARMED  SIGNATURE
  lib:call      1  -      -
E
expect_text 0 probe-list --sites --verbose lib.so <<'E'
lib.so  1 probe, 1 site  build-id ID
  PROBE     SITES  ARMED  SIGNATURE
  lib:call      1  -      -
      ADDRESS  offset ADDRESS  OPERAND  in call
E
# A file with several names is listed once.
ln -s target again
ln target hard
expect 0 probe-list again target hard
want "headings" 1 "$(grep -c ' probes, ' <<<"$out")"

# ---- patterns that match nothing: similar names ----
expect_text 1 probe-list -m 'app:tik' target <<'E'
probe-list: no probe matches 'app:tik'; similar: app:tick
E
expect_text 1 probe-list -m 'tick*:say__entry' target <<'E'
probe-list: no probe matches 'tick*:say__entry'; similar: target:say__entry
E
expect_text 1 probe-list -m say target <<'E'
probe-list: no probe matches 'say'; similar: target:say__entry, target:say__return
E
expect_text 1 probe-list -m 'zebra:crossing' target <<'E'
probe-list: no probe matches 'zebra:crossing': no similar name among 3 probes; list them with probe-list
E
expect_text 1 probe-list -m 'func:main' target <<'E'
probe-list: no probe matches 'func:main': only probes are listed, not functions
E
expect_text 3 probe-list -q -m 'app:tick' -m 'app:tock' target <<'E'
  app:tick      1  -      -
probe-list: no probe matches 'app:tock'; similar: app:tick
E

# ---- JSON ----
expect 0 probe-list --json target
want "keys of the document" '["probes"]' "$(json keys <<<"$out")"
want "keys of a probe" '["args","build_id","file","name","provider","signature","sites"]' "$(json '.probes[0]|keys' <<<"$out")"
want "keys of a site" '["address","armed","function","offset","operands","semaphore_offset","source"]' \
	"$(json '.probes[0].sites[0]|keys' <<<"$out")"
want "names" '["app:tick","target:say__entry","target:say__return"]' \
	"$(json '[.probes[]|.provider+":"+.name]' <<<"$out")"
want "keys without a value" '[null,null,[]]' "$(json '.probes[0]|[.signature,.sites[0].semaphore_offset,.sites[0].armed]' <<<"$out")"
want "build id" "$(readelf -n target | sed -n 's/.*Build ID: //p')" "$(json '.probes[0].build_id' <<<"$out" | tr -d '"')"
want "addresses" "$(readelf -nW target | sed -n 's/.*Location: 0x0*\([0-9a-f]*\),.*/\1/p' | sort)" \
	"$(json '.probes[].sites[].address' <<<"$out" | xargs printf '%x\n' | sort)"
want "operands" "$(readelf -nW target | sed -n 's/.*Arguments: //p' | sort)" \
	"$(json '.probes[].sites[].operands' <<<"$out" | tr -d '"' | sort)"
nops="90 66 2e 0f 1f 84 00 00 00 00 00"
[ "$(uname -m)" != aarch64 ] || nops="1f 20 03 d5"
size=$(wc -w <<<"$nops")
want "bytes at the offsets" "$nops" "$(for o in $(json '.probes[].sites[].offset' <<<"$out"); do
	dd if=target bs=1 skip="$o" count="$size" 2>/dev/null | od -An -tx1 -v | xargs; done | sort -u)"

# ---- very many probes: JSON is printed in pieces, and is one document ----
{
	echo '#include <sys/sdt.h>'
	echo 'int main(int c, char **v) {'
	for i in {1..3000}; do echo "STAP_PROBE2(many, probe_$i, c, v);"; done
	echo 'return 0; }'
} | "$CC" -I"$top/include" -xc - -o many || fail "many does not build"
expect 0 probe-list --json many
want "probes of many" '[3000,3000]' "$(json '[(.probes|length),([.probes[].name]|unique|length)]' <<<"$out")"
want "sites of many" "$(readelf -nW many | grep -c Location:)" "$(json '[.probes[].sites[]]|length' <<<"$out")"
probe-list --json many | head -c 100 >/dev/null
want "statuses if the pipe is closed" "141 0" "${PIPESTATUS[*]}"

# ---- processes: the probes of all files that they map ----
cd "$top" || exit 1
start p
tell p "load $T/lib.so"
mask() { sed "s,$T,T,"; }
expect_text 0 probe-list -p "$p" -m 'lib:*' -m 'app:*' <<'E'
T/target  1 probe, 1 site
  PROBE     SITES  ARMED  SIGNATURE
  app:tick      1  -      -

T/lib.so  1 probe, 1 site
  PROBE     SITES  ARMED  SIGNATURE
  lib:call      1  -      -
E
# ---- all processes: each file is listed once, with the number of processes that map it ----
start q
start r
out=$(probe-list --all-processes -m 'app:*' 2>/dev/null | mask)
grep -qx 'T/target  1 probe, 1 site  in 3 processes' <<<"$out" || fail "three processes: $out"
[ "$(grep -c '^T/target ' <<<"$out")" = 1 ] || fail "target is not listed once: $out"
stop q
stop r
expect 2 probe-list --sessions --all-processes

# ---- names without a path ----
(
	cd "$T" && mkdir elsewhere && cp target elsewhere/only-in-path
	PATH=$T/elsewhere:$PATH probe-list -m 'app:tick' only-in-path
) >"$T/found" 2>&1 || fail "a program in PATH is not found: $(cat "$T/found")"
grep -q "^$T/elsewhere/only-in-path  1 probe" "$T/found" || fail "which program? $(cat "$T/found")"
(
	cd "$T" && cp lib.so elsewhere/libonly-here.so
	LD_LIBRARY_PATH=$T/elsewhere probe-list libonly-here.so
) >"$T/found" 2>&1 || fail "a library is not found: $(cat "$T/found")"
grep -q "^$T/elsewhere/libonly-here.so  1 probe" "$T/found" || fail "which library? $(cat "$T/found")"
expect 1 probe-list no-such-file.so

rm "$T/lib.so"
expect 0 probe-list -p "$p" -m 'lib:*' --json
want "probes of a removed library" '["lib:call"]' "$(json '[.probes[]|.provider+":"+.name]' <<<"$out")"
stop p
