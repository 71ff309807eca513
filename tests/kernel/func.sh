#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# func:SYMBOL: functions without notes, and the reasons why some are refused.
. tests/lib.sh
need_root
need jq nm objdump strip

build_once "$T/functions" "$CC" -O2 tests/kernel/functions.c || fail "does not compile"
mkfifo "$T/go"
"$T/functions" <"$T/go" >"$T/out" &
pid=$!
exec {go}>"$T/go"
runs $pid "$T/functions"
at_end "probe-disable -q -s $S 2>/dev/null"

# The program calls each 100 times.
expect 0 probe-enable -s "$S" -p "$pid" func:plain func:begins_with_endbr
echo -n x >&$go
hits() { probe-stat -s "$S" --json | jq -c '[.probes[] | {(.probe): .hits}] | add'; }
counted() { [ "$(hits)" = '{"func:begins_with_endbr":100,"func:plain":100}' ]; }
wait_for 10 counted
expect 0 probe-disable -s "$S"

tracing "$T/traced" --json -n 3 -p "$pid" --if 'arg0 >= 97' func:plain
echo -n x >&$go
wait $tracer || fail "probe-trace: $(cat "$T/traced.err")"
want "arguments in the registers of the calling convention" '[97,-97][98,-98][99,-99]' \
	"$(jq -c '[.args.arg0, (.args.arg2 | if . >= 2147483648 then . - 4294967296 else . end)]' "$T/traced" | tr -d '\n')"

# refused NAME REASON
refused() {
	expect 1 probe-enable -s "$S" -p "$pid" "func:$1"
	want_like "func:$1" "*$2*" "$out"
}
# Stands for a kernel that replaces 5-byte nops: uprobe() returns ENXIO.
cat >"$T/uprobe.c" <<'C'
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdarg.h>
long syscall(long number, ...)
{
	long (*next)(long, ...) = (long (*)(long, ...))dlsym(RTLD_NEXT, "syscall");
	long a[6];
	va_list args;
	if (number == 336) {
		errno = ENXIO;
		return -1;
	}
	va_start(args, number);
	for (int i = 0; i < 6; i++)
		a[i] = va_arg(args, long);
	va_end(args);
	return next(number, a[0], a[1], a[2], a[3], a[4], a[5]);
}
C
build_once "$T/uprobe.so" $CC -shared -fPIC "$T/uprobe.c" || fail "uprobe.so"
export LD_PRELOAD="$T/uprobe.so" ASAN_OPTIONS=verify_asan_link_order=0
refused begins_with_nop5 '5-byte nop'
refused begins_with_int3 'is a trap already'
refused begins_with_ud2 'is a trap already'
refused no_such_function "no function matches 'func:no_such_function'"
expect 3 probe-enable -s "$S" -p "$pid" func:plain func:begins_with_nop5
unset LD_PRELOAD ASAN_OPTIONS
expect 0 probe-disable -s "$S"
want "sessions left" "" "$(probe-list --sessions 2>/dev/null | grep -w "$S")"
echo -n x >&$go
exec {go}>&-
wait "$pid" || fail "the target died"
want "the target's result" 34800 "$(cat "$T/out")"

# ---- which function a name means ----
cat >"$T/lib.c" <<'C'
long everywhere = 5; /* a function of the program */
long lib_use(void) { return everywhere; }
C
cat >"$T/main.c" <<'C'
#include <stdio.h>
#include <stdlib.h>
long lib_use(void), untyped(long n);
__asm__(".text\n.globl untyped\nuntyped: lea 2(%rdi),%rax\n ret\n");
static long __attribute__((noinline, used)) everywhere(long n) { __asm__ volatile("" : "+r"(n)); return n + 1; }
static long __attribute__((used)) add_plain(long a, long b) { return a + b; }
static long __attribute__((used)) add_other(long a, long b) { return b + a + 0 * a; }
static long (*pick(void))(long, long) { return getenv("OTHER") ? add_other : add_plain; }
long add(long a, long b) __attribute__((ifunc("pick")));
int main(void)
{
	char line[64];

	setvbuf(stdout, NULL, _IOLBF, 0);
	while (fgets(line, sizeof(line), stdin)) {
		long sum = lib_use();

		for (long i = 0; i < 10; i++)
			sum = add(sum, everywhere(i) + untyped(i));
		printf("%ld\n", sum);
	}
	return 0;
}
C
"$CC" -O1 -fPIC -shared "$T/lib.c" -o "$T/libother.so" &&
	"$CC" -O1 "$T/main.c" -L"$T" -lother -Wl,-rpath,"$T" -o "$T/names" || fail "does not compile"
mkfifo "$T/in" "$T/answer"
"$T/names" <"$T/in" >"$T/answer" &
pid=$!
exec {in}>"$T/in" {reply}<"$T/answer"
ask() { echo x >&$in; read -r -t $patience answer <&$reply || fail "the target is gone"; want "the target's result" 125 "$answer"; }
ask
# a variable of that name in a library does not matter
expect 0 probe-enable -s "$S" -p "$pid" func:everywhere
ask
want "hits" '{"func:everywhere":10}' "$(hits)"
expect 0 probe-disable -s "$S"
# an indirect function is refused with its candidates, which can be armed
expect 1 probe-enable -s "$S" -p "$pid" func:add
want_like "ifunc" "*'add' of '$T/names' is an indirect function*func:add_plain, func:add_other (pid $pid uses func:add_plain)*" "$out"
want "times that the reason is printed" 1 "$(grep -c 'indirect function' <<<"$out")"
expect 3 probe-enable -s "$S" -p "$pid" func:add func:add_plain func:add_other
ask
want "hits" '{"func:add_other":0,"func:add_plain":10}' "$(hits)"
expect 0 probe-disable -s "$S"
# a function that cannot be armed does not affect others
expect 3 probe-enable --json -s "$S" -p "$pid" func:untyped func:everywhere func:nothing_there
want "armed, refused" '[["func:everywhere"],["func:untyped","func:nothing_there"]]' \
	"$(jq -c '[[.armed[].probe], [.refused[].probe]]' <<<"$out")"
want "by name" "$T/names null" "$(jq -r '.refused[0] | "\(.file) \(.offset)"' <<<"$out")"
want_like "by name" "*'untyped' of '$T/names' is not a function*" "$out"
ask
want "hits" '{"func:everywhere":10}' "$(hits)"
expect 0 probe-disable -s "$S"
# similar names, and globs
expect 1 probe-enable -s "$S" -p "$pid" func:everywere
want_like "a similar name" "*no function matches 'func:everywere'; similar: func:everywhere*" "$out"
expect 0 probe-enable -s "$S" -p "$pid" -f "$T/names" 'func:add_[op]*' 'func:everyw*'
ask
want "hits of globs" '{"func:add_other":0,"func:add_plain":10,"func:everywhere":10}' "$(hits)"
expect 0 probe-disable -s "$S" 'func:add*'
want "what a glob leaves" '["func:everywhere"]' "$(probe-stat -s "$S" --json | jq -c '[.probes[].probe]')"
expect 0 probe-disable -s "$S"
expect 1 probe-enable -s "$S" -p "$pid" -f "$T/names" 'func:nothing*'
want_like "a glob that matches nothing" "*no function matches 'func:nothing\*'*" "$out"
expect 1 probe-enable -s "$S" -p "$pid" func:everywhere%retrun
want_like "another ending" "*only %return*" "$out"
# addresses in a stripped file
strip -o "$T/stripped" "$T/names"
address=$(nm "$T/names" | awk '$3 == "everywhere" { print $1 }')
expect 1 probe-enable -s "$S" -f "$T/stripped" func:everywhere
exec {in}>&- {reply}<&-
wait "$pid" || fail "the target died"
"$T/stripped" <"$T/in" >"$T/answer" &
pid=$!
exec {in}>"$T/in" {reply}<"$T/answer"
ask
expect 0 probe-enable -s "$S" -p "$pid" -f "$T/stripped" "func:0x$address" "func:0x$address%return"
ask
want "hits by address" '[10,10]' "$(probe-stat -s "$S" --json | jq -c '[.probes[].hits]')"
expect 0 probe-disable -s "$S"
last=$(objdump -d --disassemble=everywhere "$T/names" | awk '$NF ~ /^ret/ { sub(":", "", $1); print $1; exit }')
expect 0 probe-enable -s "$S" -p "$pid" -f "$T/stripped" "func:+0x$last"
ask
want "hits of an instruction" 10 "$(probe-stat -s "$S" --json | jq '.probes[0].hits')"
expect 0 probe-disable -s "$S"
expect 1 probe-enable -s "$S" -p "$pid" -f "$T/stripped" "func:+0x$(printf %x $((0x$address + 1)))"
want_like "an address inside an instruction" "*is in the middle of an instruction, which begins at 0x*" "$out"
expect 1 probe-enable -s "$S" -p "$pid" -f "$T/stripped" "func:0x$last"
want_like "an address inside a function" "*no function of '$T/stripped' begins at 0x$last*begins at 0x*" "$out"
expect 1 probe-enable -s "$S" -p "$pid" "func:+0x$last"
want_like "an address without a file" "*name it (-f FILE)*" "$out"
exec {in}>&- {reply}<&-
wait "$pid" || fail "the target died"
