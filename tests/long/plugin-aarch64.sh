#!/bin/bash
# SPDX-License-Identifier: MIT
# The plugin in a cross compiler for aarch64, with programs that qemu-user runs. gdb and the agent read at each site the
# values that the program passed; tail calls stay tail calls; every way out of a function has a site; and a function that
# can be called through a pointer begins with an instruction at which BTI permits that.
#
# ARM64_CC names the compiler. Default: the newest aarch64-linux-gnu-gcc-N that has its plugin headers.
# limit: 3600 7200
. tests/lib.sh
need readelf python3 jq
[ "$(uname -m)" != aarch64 ] || skip "this machine is aarch64, where tests/plugin runs without an emulator"

# can_have_plugins COMPILER
can_have_plugins() { have "$1" && [ -e "$("$1" -print-file-name=plugin)/include/gcc-plugin.h" ]; }
cross=${ARM64_CC-}
if [ -z "$cross" ]; then
	for name in $(compgen -c aarch64-linux-gnu-gcc- | grep -x 'aarch64-linux-gnu-gcc-[0-9]*' | sort -Vu); do
		can_have_plugins "$name" && cross=$name
	done
fi
[ "$cross" ] || skip "needs gcc-N-aarch64-linux-gnu and gcc-N-plugin-dev-aarch64-linux-gnu, which Debian's gcc-multilib conflicts with"
can_have_plugins "$cross" || fail "$cross has no plugin headers"

ARM=$B/$cross
make -s O="$ARM" PLUGIN_CC="$cross" PLUGIN_CXX="${CXX:-g++}" CROSS= SAN= "$ARM/lib/probepoint.so" >"$T/make" 2>&1 ||
	{ cat "$T/make"; fail "the plugin does not build"; }
grep -i warning "$T/make" && fail "the plugin builds with warnings"
. tests/plugin/lib.sh
GCC=$cross GXX=${cross/gcc/g++} PLUGIN=$ARM/lib/probepoint.so
SYSROOT=/usr/aarch64-linux-gnu
VERSION=$($GCC -dumpversion | cut -d. -f1)
long=${PROBEPOINT_LONG-}
have qemu-aarch64 || skip "needs qemu-aarch64, which runs the programs; the plugin was built"
have gdb-multiarch || part_skipped "values and hits as gdb sees them: needs gdb-multiarch"
emulate() { qemu-aarch64 -L $SYSROOT "$@"; }

# debug PROGRAM COMMANDS: runs the program under gdb, and prints what gdb prints.
debug() {
	local emulator
	rm -f "$T/gdb.sock"
	qemu-aarch64 -L $SYSROOT -g "$T/gdb.sock" "$1" >"$T/debug.out" 2>&1 & emulator=$!
	wait_for 20 test -S "$T/gdb.sock"
	gdb-multiarch -q -nx -batch -ex "set sysroot $SYSROOT" -ex 'set pagination off' -ex 'set confirm off' -ex "file $1" \
		-ex "target remote $T/gdb.sock" -x "$2" 2>"$T/debug.err" </dev/null
	kill "$emulator" 2>/dev/null
	wait "$emulator" 2>/dev/null
}

# unknown_operands_aarch64 FILE: prints the operands that gdb, libbpf or bcc cannot read, and fails if there are none.
unknown_operands_aarch64() {
	sites "$1" | grep -vE '^(lib[a-z]+|rtld):' | cut -s -d' ' -f2- | grep -oE -- '-?[0-9]+@(\[[^]]*\]|[^ ]*)' |
		grep -vE '^-?[1248]@(-?[0-9]+|x[0-9]+|\[(x[0-9]+|sp)(, -?[0-9]+)?\])$'
}

# ---- values ----
gcc -std=gnu17 -O1 "$SOURCES/gen.c" -o "$T/gen" || fail "gen.c does not build"
lines=0
# values SEED FUNCTIONS OPTION...: one program.
values() {
	local seed=$1 count=$2
	shift 2
	(cd "$T" && ./gen "$seed" "$count" p && compile $GCC -w "$@" "${with[@]}" p.c -o p) >"$T/log" 2>&1 ||
		{ cat "$T/log"; fail "seed $seed, $*: does not build"; }
	unknown_operands_aarch64 "$T/p" && fail "seed $seed, $*: operands that some reader cannot read"
	probe-list --json "$T/p" >"$T/p.json" || fail "seed $seed, $*: cannot be listed"
	want "seed $seed, $*: functions with an entry" "$count" "$(jq '[.probes[] | select(.name | test("^f[0-9]+__entry"))] | length' "$T/p.json")"
	have gdb-multiarch || { emulate "$T/p" || fail "seed $seed, $*: ended with $?"; return 0; }
	sed -i 's/^run$/continue/' "$T/p.gdb"
	debug "$T/p" "$T/p.gdb" | grep '^f[0-9]*__' >"$T/got"
	same_in_gdb "$T/p.expected" "$T/got" || {
		diff "$T/p.expected" "$T/got" | head -n 10
		head -n 3 "$T/debug.err"
		fail "seed $seed, $*: gdb read something else"
	}
	lines=$((lines + $(wc -l <"$T/got")))
}
seed=${SEED:-$RANDOM} n=0
echo "$cross $($cross -dumpfullversion), seed $seed"
probed 'f[0-9]*'
while read -r flags; do
	values $((seed + n++)) "${long:+2}60" $flags
done <<E
-O0
-O1 -static
-O2 -fcompare-debug
-O2 -g -static -fcompare-debug
-O3
-Os -fPIE -pie
-O2 -flto
-O2 -flto -fno-fat-lto-objects -fPIE -pie
-O2 -fPIC -mbranch-protection=standard
-O1 -mbranch-protection=bti+pac-ret+leaf+b-key
-O2 -ffixed-x18 -fno-omit-frame-pointer
-O2 -mcmodel=large -fno-pic -no-pie
-O2 -mcmodel=tiny -fno-pic -no-pie
-O2 -march=armv8.2-a+sve
-O3 -march=armv8.5-a+memtag+sve2 -fno-tree-ter
-O2 -fstack-clash-protection -fstack-protector-all
-O2 -mno-outline-atomics -mfix-cortex-a53-835769 -mfix-cortex-a53-843419
-O0 -fnon-call-exceptions -ftrapv
-O3 -funroll-all-loops -ftracer
-O1 -foptimize-sibling-calls -fno-inline
E
echo "$lines hits compared"

# ---- vectors, long double, other ABIs ----
probed '*'
cat >"$T/types.c" <<'E'
#include <arm_sve.h>
#include <arm_neon.h>
svint32_t scaled(svint32_t v, svbool_t p, int n) { return svmul_n_s32_x(p, v, n); }
int32x4_t neon(int32x4_t v, long n) { return v + (int)n; }
__fp16 half(__fp16 h, int n) { return h * n; }
long double quad(long double q) { return q * 2; }
struct hfa { double d[4]; };
double first(struct hfa h) { return h.d[0] + h.d[3]; }
int other(svint32_t v, svint32_t w, int n, long m);
int spills(svint32_t v, svint32_t w, int n, long m) { int r = other(w, v, n, m); return other(v, w, n + r, m) + n; }
E
for flags in -O0 -O1 "-O2 -g -fcompare-debug" -O3; do
	$GCC -w -march=armv8.2-a+sve -fPIC -shared -nostdlib $flags "${with[@]}" "$T/types.c" -o "$T/types.so" || fail "$flags types.c: does not build"
	unknown_operands_aarch64 "$T/types.so" && fail "$flags types.c: operands that some reader cannot read"
	probe-list --json "$T/types.so" >"$T/types.json" || fail "$flags types.c: cannot be listed"
	want "$flags: values that have operands" \
		"first h:struct hfa *, half h:__fp16 n:int, neon n:long, quad q.low:unsigned long q.high:unsigned long, scaled n:int, spills n:int m:long" \
		"$(jq -r '[.probes[] | select(.name | endswith("__entry")) | (.name | sub("__entry"; "")) as $name |
			(.sites[0].operands | split("@") | length - 1) as $n | [$name, (.args[] | select(.kind != "none") | .name + ":" + .type)] | join(" ")] | join(", ")' "$T/types.json")"
done
echo 'int add(int a, long b) { return a + b; } int main(void) { return add(1, 2) != 3; }' >"$T/plain.c"
$GCC -O2 -mgeneral-regs-only "${with[@]}" "$T/plain.c" -o "$T/plain" && emulate "$T/plain" || fail "-mgeneral-regs-only"
for flags in -mabi=ilp32 -mbig-endian; do
	$GCC -O2 $flags "${with[@]}" -c "$T/plain.c" -o "$T/plain.o" || fail "$flags: does not compile"
	want "$flags: sites" "plain:add__entry plain:add__return plain:main__entry plain:main__return" "$(names "$T/plain.o" | tr '\n' ' ' | sed 's/ $//')"
done

# The link of LTO may run without the plugin.
(cd "$T" && ./gen "$seed" 60 p && $GCC -w -O2 -flto -c "${with[@]}" p.c -o p.o && $GCC -O2 -flto p.o -o p) || fail "lto without the plugin"
emulate "$T/p" || fail "lto without the plugin: ended with $?"
want "functions with an entry after LTO without the plugin" 60 "$(names "$T/p" | grep -c "^p:f[0-9]*__entry")"

# ---- branch protection ----
cat >"$T/bti.c" <<'E'
long other(long);
void outside(long);
__attribute__((noipa)) long leaf(long a) { return a + 1; }
/* The part without a call needs no frame, so the function's first block may have no prologue. */
__attribute__((noipa)) long wraps(long a, long b) { if (a < b) return b; outside(a); return other(a) + b; }
__attribute__((noipa)) long loops(long n) { long s = 0; for (long i = 0; i < n; i++) s += other(i); return s; }
__attribute__((noipa)) long jumps(long n) { return other(n + 1); }
__attribute__((noipa)) long other(long n) { return n * 2; }
__attribute__((noipa)) void outside(long n) { static volatile long last; last = n; }
__attribute__((noipa)) long picks(long n, long m)
{
	switch (n) {
	case 0: return m * 3;
	case 1: return other(m) + 4;
	case 2: outside(m); return 7;
	case 3: return m - 1;
	case 4: return m / 7;
	case 5: return other(m + 9);
	}
	return 0;
}
long (*volatile one[])(long) = { leaf, loops, jumps, other };
long (*volatile two[])(long, long) = { wraps, picks };
long all(void)
{
	long sum = 0;
	for (int i = 0; i < 4; i++)
		sum += one[i](i + 3);
	for (int i = 0; i < 14; i++)
		sum += two[i & 1](i / 2, 3);
	return sum;
}
E
cat >"$T/bti-main.c" <<'E'
#include <stdio.h>
long all(void);
int main(void) { printf("%ld\n", all()); return 0; }
E
# pads FILE: prints each function that begins with a landing pad of indirect calls, without clones.
pads() {
	aarch64-linux-gnu-objdump -d "$1" | awk '/^[0-9a-f]+ <[^>]*>:$/ { name = $2; next }
		name && NF { if ($0 ~ /\t(bti\t+c|bti\t+jc|pacia?b?sp)/) print name; name = "" }' | grep -vE '\.|<_|plt' | sort
}
for flags in "-O2 -mbranch-protection=bti" "-O2 -mbranch-protection=standard" "-O1 -mbranch-protection=standard -fno-shrink-wrap" \
	"-O3 -mbranch-protection=pac-ret+leaf+bti" "-O0 -mbranch-protection=standard" "-O2 -mbranch-protection=bti -fpatchable-function-entry=2"; do
	for plugin in 0 1; do
		probe=()
		[ $plugin = 0 ] || probe=("${with[@]}")
		# -z force-bti protects the pages although the C library's objects were built without.
		$GCC $flags -fPIC -shared -nostdlib -Wl,-z,force-bti "${probe[@]}" "$T/bti.c" -o "$T/libbti$plugin.so" 2>"$T/log" &&
			$GCC "$T/bti-main.c" "$T/libbti$plugin.so" -o "$T/bti$plugin" || { cat "$T/log"; fail "$flags bti.c: does not build"; }
		pads "$T/libbti$plugin.so" >"$T/pads$plugin"
		qemu-aarch64 -cpu max -L $SYSROOT -E LD_LIBRARY_PATH="$T" "$T/bti$plugin" >"$T/bti$plugin.out" || fail "$flags: ended with $?"
	done
	want "$flags: functions that begin with a landing pad" "$(cat "$T/pads0")" "$(cat "$T/pads1")"
	[ "$(wc -l <"$T/pads0")" -ge 7 ] || fail "$flags: few landing pads without the plugin: the test is wrong"
	cmp "$T/bti0.out" "$T/bti1.out" || fail "$flags: another result"
done

# ---- tail calls ----
DEPTH=300000 STACK=800
on_small_stack() { (ulimit -c 0 && exec qemu-aarch64 -s $((STACK * 1024)) -L $SYSROOT "$@"); }
$GCC -DDEPTH=$DEPTH -O0 "$SOURCES/tail.c" -o "$T/plain" || fail "tail.c does not build"
(on_small_stack "$T/plain" >"$T/plain.out") 2>/dev/null && fail "calls that are not tail calls do not overflow this stack"
for flags in -O2 "-O1 -foptimize-sibling-calls" "-O2 -fPIC -g -fcompare-debug" -O3 "-O2 -flto" "-Os -mbranch-protection=standard"; do
	$GCC -DDEPTH=$DEPTH $flags "$SOURCES/tail.c" -o "$T/plain" && on_small_stack "$T/plain" >"$T/plain.out" ||
		fail "$flags tail.c: overflows without the plugin too"
	$GCC -DDEPTH=$DEPTH $flags "${with[@]}" "$SOURCES/tail.c" -o "$T/tail" || fail "$flags tail.c: does not build"
	on_small_stack "$T/tail" >"$T/tail.out" || fail "$flags tail.c: ended with $?"
	cmp "$T/plain.out" "$T/tail.out" || fail "$flags tail.c: other results"
done
for ((i = 0; i < (long ? 20 : 3); i++)); do
	for flags in -O2 "-O1 -foptimize-sibling-calls" "-O3 -fno-ipa-sra"; do
		what="tails.py make $((seed + i)) 100, $flags"
		python3 "$SOURCES/tails.py" make $((seed + i)) 100 >"$T/tails.c" || fail "$what"
		$GCC -w $flags -fno-ipa-icf -S "$T/tails.c" -o "$T/plain.s" && $GCC -w $flags -fno-ipa-icf "${with[@]}" -S "$T/tails.c" -o "$T/probed.s" ||
			fail "$what: does not build"
		python3 "$SOURCES/tails.py" lost "$T/plain.s" "$T/probed.s" >"$T/out" || { head -n 20 "$T/out"; fail "$what: calls that were jumps"; }
		grep -q '^[1-9][0-9]* tail calls' "$T/out" || fail "$what: $(cat "$T/out")"
	done
done
cat >"$T/must.c" <<'E'
typedef int op(int, const unsigned char *);
static op add, end;
static op *const table[] = { end, add };
static int add(int acc, const unsigned char *pc) { acc += pc[1]; __attribute__((musttail)) return table[pc[2]](acc, pc + 2); }
static int end(int acc, const unsigned char *pc) { (void)pc; return acc; }
static void two(int *p);
static void one(int *p) { if (--*p > 0) __attribute__((musttail)) return two(p); }
static void two(int *p) { if (--*p > 0) __attribute__((musttail)) return one(p); }
int main(void) { static const unsigned char code[] = { 1, 5, 1, 6, 0 }; int n = DEPTH; one(&n); return (add(0, code) != 11) + (n > 0); }
E
if [ "$VERSION" -ge 15 ]; then
	for flags in -O0 -O1 -O2 "-O0 -fexceptions" "-O2 -fexceptions -g -mbranch-protection=standard"; do
		$GCC -DDEPTH=$DEPTH $flags "${with[@]}" "$T/must.c" -o "$T/must" || fail "musttail $flags: does not build"
		on_small_stack "$T/must" || fail "musttail $flags: ended with $?"
	done
else
	part_skipped "calls that must be tail calls: needs GCC 15"
fi

# ---- ways out of functions ----
# hits PROGRAM: prints "NAME HITS" for each probe of the program itself, as gdb counts them.
hits() {
	local name
	names "$1" | grep "^${1##*/}:" >"$T/hit.names"
	while read -r name; do
		printf 'break -probe-stap %s\ncommands\nsilent\nprintf "hit %s\\n"\ncontinue\nend\n' "$name" "${name#*:}"
	done <"$T/hit.names" >"$T/hit.gdb"
	echo continue >>"$T/hit.gdb"
	debug "$1" "$T/hit.gdb" | awk '$1 == "hit" { n[$2]++ } END { for (name in n) print name, n[name] }'
}
cat >"$T/ends.c" <<'E'
#include <setjmp.h>
#include <stdlib.h>
static jmp_buf back;
__attribute__((noinline)) int jumps(int n) { if (n > 2) longjmp(back, n); return n; }
__attribute__((noinline)) int aborts(int n) { if (n == -1) abort(); return n; }
int main(int argc, char **argv) { (void)argv; if (!setjmp(back)) return jumps(argc + 7); return aborts(argc) == 1 ? 0 : 1; }
E
for flags in -O0 "-O2 -mbranch-protection=standard"; do
	$GCC $flags "${with[@]}" "$T/ends.c" -o "$T/ends" && emulate "$T/ends" || fail "$flags ends.c: $?"
	want "$flags: sites before calls that do not return" 2 "$(ppn "$T/ends" 2 | grep -c '04000000$')"
	have gdb-multiarch || continue
	want "$flags: hits of a function that longjmp leaves" "jumps__entry 1 jumps__return 1" "$(hits "$T/ends" | grep ^jumps | sort | tr '\n' ' ' | sed 's/ $//')"
done
cxx_flags=(-O2 -O0 "-O1 -g -foptimize-sibling-calls -fcompare-debug" "-O2 -flto" "-O2 -mbranch-protection=standard -fnon-call-exceptions")
have "$GXX" || { part_skipped "C++: needs $GXX"; cxx_flags=(); }
for flags in "${cxx_flags[@]}"; do
	$GXX -w $flags -DDEPTH=40 "$SOURCES/unwind.cc" -o "$T/plain" && emulate "$T/plain" >"$T/plain.out" || fail "$flags: fails without the plugin too"
	$GXX -w $flags -DDEPTH=40 "${with[@]}" "$SOURCES/unwind.cc" -o "$T/unwind" || fail "$flags: does not build"
	emulate "$T/unwind" >"$T/out" || fail "$flags: ended with $?"
	cmp "$T/plain.out" "$T/out" || fail "$flags: other results"
	$GXX -w $flags "${with[@]}" -c "$SOURCES/debug.cc" -o "$T/debug.o" || fail "$flags debug.cc: does not compile"
	have gdb-multiarch || continue
	hits "$T/unwind" >"$T/hits"
	awk -v flags="$flags" '
		{ split($1, part, /__[a-z]*$/); kind = substr($1, length(part[1]) + 3); seen[part[1]] = 1; n[part[1], kind] += $2 }
		END {
			for (f in seen) {
				functions++
				out = n[f, "return"] + n[f, "unwind"]
				# quits() exits, so main is not left
				if (n[f, "entry"] != out && !(f == "main" && n[f, "entry"] == 1)) {
					print flags ": " f ": " n[f, "entry"] " in, " n[f, "return"] " + " n[f, "unwind"] " out"
					bad = 1
				}
			}
			if (functions < 18 || n["passes", "unwind"] != 16 || n["passes", "return"] != 32 || n["thrower", "unwind"] != 41) {
				print flags ": " functions " functions, passes " n["passes", "unwind"] ", thrower " n["thrower", "unwind"]
				bad = 1
			}
			exit bad
		}' "$T/hits" || fail "$flags: the sums are wrong"
done

# ---- the agent ----
cat >"$T/app.c" <<'E'
#include <stdio.h>
#include <string.h>
struct large { long v[9]; };
__attribute__((noipa)) long sums(int a, unsigned char b, double c, const char *d, struct large e, __int128 f) { return a + b + (long)c + d[0] + e.v[0] + (long)f; }
__attribute__((noipa)) long many(long a, long b, long c, long d, long e, long f, long g, long h, long i, short j) { return a + b + c + d + e + f + g + h + i + j; }
int main(void)
{
	char line[16];
	while (fgets(line, sizeof line, stdin) && *line != 'e') {
		struct large e = { { 5 } };
		long r = sums(-3, 200, 0.5, "probe", e, (__int128)7 << 64 | 9) + many(1, 2, 3, 4, 5, 6, 7, 8, -9, -10);
		printf("%ld\nok\n", r);
		fflush(stdout);
	}
	return 0;
}
E
. tests/agent/lib.sh
# qemu-user shows a process its own mappings, not the emulator's, only if it opens the file by this name.
make -s O="$ARM/agent" CC="$cross" CPPFLAGS=-DMAPS='\"/proc/self/maps\"' CROSS= SAN= MISSING= "$ARM/agent/lib/libprobepoint-agent.so" >"$T/make" 2>&1 ||
	{ cat "$T/make"; fail "the agent does not build"; }
agent=$ARM/agent/lib/libprobepoint-agent.so
under_agent() { exec qemu-aarch64 -L $SYSROOT -E LD_PRELOAD="$agent" -E PROBEPOINT_LISTEN=1 "$@"; }
number=0
# recorded PROBE: arms it, runs the functions once, and prints the values of the record.
recorded() {
	poke arm "$S" $((++number)) -r "$T/app" "$1"
	want "$flags: $1 is armed" "attachment $number armed 1 pending 0 refused 0" "$(rescan)"
	say go
	want "$flags: result" 340 "$said"
	values=$(poke read "$pid" "$S" 20 | sed -n "s/^$number:0 .* faults \(.*\)/\1/p" | head -n 1)
	poke drop "$S" $number
	rescan >/dev/null
}
for flags in -O0 -O2 "-O2 -fPIE -pie -mbranch-protection=standard"; do
	$GCC $flags "${with[@]}" "$T/app.c" -o "$T/app" || fail "$flags app.c: does not build"
	target "$T/app"
	recorded app:many__entry
	want "$flags: values of integers" "0 1 2 3 4 5 6 7 8 fffffffffffffff7 fffffffffffffff6" "$values"
	recorded app:many__return
	want "$flags: a result" "0 11" "$values"
	recorded app:sums__entry
	want_like "$flags: values of other types" "0 fffffffffffffffd c8 3fe0000000000000 *" "$values"
	target_end
done
