#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# func:SYMBOL by every form of a function's name, in files with and without symbols; func:SYMBOL+OFFSET.
. tests/lib.sh
. tests/kernel/lib.sh
need_kernel
need objcopy strip objdump nm

cat >"$T/other.c" <<'C'
static __attribute__((noinline, noclone)) long local_one(long a) { __asm__ volatile(""); return a + 2; }
long other_file(long a) { return local_one(a) * 2; }
C
build_once "$T/other.o" "$CC" -O2 -c "$T/other.c" && build_once "$T/names" "$CXX" -O2 -g -Wl,--build-id tests/kernel/names.cc "$T/other.o" ||
	fail "does not compile"
at_end "probe-disable -q -s $S 2>/dev/null"

run() {
	mkfifo "$T/in" "$T/out"
	"$1" <"$T/in" >"$T/out" &
	pid=$!
	exec {in}>"$T/in" {reply}<"$T/out"
	rm "$T/in" "$T/out"
	runs $pid "$1"
}
call() { echo -n x >&$in; read -r -t $patience <&$reply || fail "the target has ended"; }
quit() { exec {in}>&- {reply}<&-; wait "$pid" || fail "the target died: $?"; }
# counts PATTERN HITS: arms the pattern, has the functions called once, and compares the hits
counts() {
	expect 0 probe-enable -s "$S" -p "$pid" "$1"
	call
	want "$1" "$2" "$(count "$S" "$1")"
	expect 0 probe-disable -s "$S" "$1"
}

run "$T/names"
counts 'func:shop::order::total' 1
counts 'func:shop::order::total(int) const' 1
counts "func:$(nm "$T/names" | awk '/order5total/ { print $3 }')" 1
counts 'func:shop::order::operator()' 2
counts 'func:shop::order::operator()(long)' 2
counts 'func:shop::order::operator+' 3
counts 'func:shop::order::operator+(long)%return' 3
counts 'func:shop::over(int)' 4
counts 'func:shop::over(char const*)' 5
counts 'func:shop::made<int>' 6
counts 'func:long shop::made<int>(int)%return' 6
counts 'func:shop::(anonymous namespace)::hidden' 7
counts 'func:other_file%return' 9
# globs, and parameters as a source writes them
expect 0 probe-enable -s "$S" -p "$pid" -f "$T/names" 'func:shop::*' 'func:shop::o*%return'
call
want "hits of func:shop::*" '[1,2,3,4,5,6,7]' "$(probe-stat -s "$S" --json | jq -c '[.probes[] | select(.probe | endswith("%return") | not).hits] | sort')"
want "hits of func:shop::o*%return" '[1,2,3,4,5]' "$(probe-stat -s "$S" --json | jq -c '[.probes[] | select(.probe | endswith("%return")).hits] | sort')"
expect 0 probe-disable -s "$S" 'func:shop::order::*'
want "what a glob leaves" '[4,4,5,5,6,7]' "$(probe-stat -s "$S" --json | jq -c '[.probes[].hits] | sort')"
expect 0 probe-disable -s "$S"
expect 0 probe-enable -s "$S" -p "$pid" -f "$T/names" 'func:shop::over(const char *)'
call
want "hits of func:shop::over(const char *)" '[5]' "$(probe-stat -s "$S" --json | jq -c '[.probes[].hits]')"
expect 0 probe-disable -s "$S"
# an ambiguous name: the error lists all functions, with names that are not ambiguous
expect 1 probe-enable -s "$S" -p "$pid" func:shop::over
want_like "overloads" '*has several functions with this name*func:0x*(shop::over(int))*func:0x*(shop::over(char const\*))*' "$out"
expect 1 probe-enable -s "$S" -p "$pid" func:local_one
addresses=($(nm "$T/names" | awk '$3 == "local_one" { print $1 }' | sed 's/^0*/0x/'))
[ ${#addresses[@]} = 2 ] || fail "not two functions: ${addresses[*]}"
for a in "${addresses[@]}"; do want_like "local functions" "*func:$a (local_one)*" "$out"; done
expect 3 probe-enable -s "$S" -p "$pid" func:local_one func:sum
expect 0 probe-disable -s "$S"
expect 0 probe-enable -s "$S" -p "$pid" "func:${addresses[0]}" "func:${addresses[1]}"
call
want "by their addresses" "[8,9]" "$(probe-stat -s "$S" --json | jq -c '[.probes[].hits] | sort')"
expect 0 probe-disable -s "$S"
expect 1 probe-enable -s "$S" -p "$pid" func:0x12

# inside of a function: each instruction of sum, compared with the iterations of its loop
start=$((0x$(nm "$T/names" | awk '$3 == "sum" { print $1 }')))
objdump -d --disassemble=sum "$T/names" | awk -v start="$start" '/^ +[0-9a-f]+:\t/ { sub(":", "", $1); print $1 }' >"$T/insns"
[ "$(wc -l <"$T/insns")" -gt 5 ] || fail "objdump does not show sum"
inside=0
previous=$start
while read -r hex; do
	at=$((0x$hex))
	for ((i = previous + 1; i < at; i++)); do
		expect 1 probe-enable -s "$S" -p "$pid" "func:sum+$((i - start))"
		want_like "an offset inside an instruction" "*in the middle of an instruction*" "$out"
	done
	previous=$at
	[ $at = $start ] || patterns+=("func:sum+0x$(printf %x $((at - start)))")
done <"$T/insns"
status=0
probe-enable -q -s "$S" -p "$pid" "${patterns[@]}" 2>"$T/said" || status=$?
case $status in 0 | 3) ;; *) fail "$(cat "$T/said")" ;; esac
call
want "instructions run once or five times" '[1,5]' \
	"$(probe-stat -s "$S" --json | jq -c '[.probes[].hits] | unique | map(select(. > 0))')"
expect 0 probe-disable -s "$S"
# at the addition in the loop, the registers have the sum so far and the address
add=$(objdump -d --disassemble=sum "$T/names" | awk '/\tadd +\(%rdi\),%rax|\tadd +\(%r[a-z]+\),%rax/ { sub(":", "", $1); print $1; exit }')
if [ -n "$add" ]; then
	expect 0 probe-enable -q --record -s "$S" -p "$pid" "func:sum+$((0x$add - start))"
	call
	expect 0 timeout -s INT 60 probe-trace -q --json -n 5 -s "$S"
	want "registers in the middle" '[0,1,3,6,10]' "$(jq -sc '[.[].args.rax]' <<<"$out")"
	expect 0 probe-disable -q -s "$S"
else
	part_skipped "registers in the middle: the compiler uses another addition"
fi
expect 1 probe-enable -s "$S" -p "$pid" func:sum+100000
want_like "past the end" '*has only * bytes: +0x186a0 is outside of it*' "$out"
expect 1 probe-enable -s "$S" -p "$pid" func:sum+0x
expect 1 probe-enable -s "$S" -p "$pid" func:sum%retrun
quit

# stripped: without a debug file, with one found by debug link, with one of another program, and by build-id
objcopy --only-keep-debug "$T/names" "$T/names.debug"
strip "$T/names" -o "$T/stripped"
run "$T/stripped"
expect 1 probe-enable -s "$S" -p "$pid" func:sum
quit
mkdir "$T/.debug"
(cd "$T" && objcopy --add-gnu-debuglink=names.debug stripped linked)
run "$T/linked"
counts func:sum 1
counts 'func:shop::over(int)%return' 4
quit
mv "$T/names.debug" "$T/.debug/"
run "$T/linked"
counts func:sum 1
quit
cp "$T/.debug/names.debug" "$T/good"
printf x >>"$T/.debug/names.debug" # its sum is wrong now
run "$T/linked"
expect 1 probe-enable -s "$S" -p "$pid" func:sum
quit
id=$(readelf -n "$T/names" | awk '/Build ID/ { print $3 }')
dir=/usr/lib/debug/.build-id/${id:0:2}
[ -d "$dir" ] || at_end "rmdir -p $dir 2>/dev/null"
at_end "rm -f $dir/${id:2}.debug"
mkdir -p "$dir" && cp "$T/good" "$dir/${id:2}.debug" || fail "cannot write to $dir"
run "$T/stripped"
counts func:sum 1
counts 'func:shop::(anonymous namespace)::hidden%return' 7
quit
