#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# func:SYMBOL of functions that begin with endbr64: each call is counted once, however the function is called and whatever
# jumps to the instruction after endbr64. That instruction is armed where nothing jumps to it and the kernel emulates it.
. tests/lib.sh
. tests/kernel/lib.sh
need_kernel
need nm od
seed=${SEED:-$RANDOM}
echo "seed $seed"

# Addresses are those of the file.
build_once "$T/entries" "$CC" -O2 -no-pie -fcf-protection tests/kernel/entries.c || skip "the compiler has no -fcf-protection"
mkfifo "$T/in" "$T/out"
"$T/entries" <"$T/in" >"$T/out" &
pid=$!
exec {in}>"$T/in" {reply}<"$T/out"
runs $pid "$T/entries"
at_end "probe-disable -q -s $S 2>/dev/null; probe-disable -q -s $S-other 2>/dev/null"
names=(push push_r12 subtract nop thunk loop loop_short cold table_back table cold_table cold_unnamed computed table_unknown
	inner calls_inner called_inside fib which)
declare -A place=()
while read -r address _ name; do place[$name]=$((0x$address)); done < <(nm --defined-only "$T/entries")
# traps: sets trap[NAME] to the offsets, up to 4, from the function's start that have a trap, as in "4"
declare -A trap=()
traps() {
	local bytes name k low=${place[_init]} high=${place[_fini]}
	# shellcheck disable=SC2207 # numbers
	bytes=($(memory $pid "$low" $((high - low)) | od -An -v -w65536 -tu1))
	for name in "${names[@]}"; do
		trap[$name]=
		for k in 0 1 2 3 4; do
			[ "${bytes[place[$name] - low + k]}" != 204 ] || trap[$name]+="${trap[$name]:+ }$k"
		done
	done
}
# go N: has the program make N calls, and reads its counts
declare -A truth
go() {
	local line key value
	echo "$((seed++)) $1" >&$in
	read -r -t $patience line <&$reply || fail "the target has ended"
	truth=()
	# shellcheck disable=SC2086 # a line of words
	set -- $line
	while [ $# -gt 0 ]; do
		key=$1 value=$2
		truth[$key]=$((${truth[$key]:-0} + value))
		shift 2
	done
}
# counts_agree SUFFIX [KEY]: compares the counts of func:NAME and SUFFIX with the program's own, since `before`
counts_agree() {
	local name wanted
	for name in "${names[@]}"; do wanted+="func:$name$1 $((truth[$name] - ${before[$name]:-0}))"$'\n'; done
	want "${2:-hits} of func:NAME$1" "$(sort <<<"${wanted%$'\n'}")" \
		"$(probe-stat --json -s "$S" | jq -r ".probes[] | \"\(.probe) \(.${2:-hits})\"" | sort)"
}

expect 0 probe-enable -s "$S" -p $pid "${names[@]/#/func:}"
traps
for name in "${names[@]}"; do
	case $name in
	subtract | nop | loop | loop_short | cold | table_back | computed | table_unknown | inner | calls_inner) armed=0 ;;
	*) armed=4 ;;
	esac
	# The compiler begins fib and which as it likes.
	[[ $name = fib || $name = which ]] || want "the trap in $name" $armed "${trap[$name]}"
done
go 3000
declare -A before=()
counts_agree ""
for name in cold which called_inside; do [ "${truth[$name]}" -gt 50 ] || fail "too few calls of $name"; done

# Another session arms endbr64 itself: both count, and either may end first.
expect 0 probe-enable -s "$S-other" -p $pid -f "$T/entries" "func:+$(printf 0x%x "${place[push]}")"
traps
want "the traps in push" "0 4" "${trap[push]}"
had=${truth[push]}
go 300
counts_agree ""
want "hits of endbr64" $((truth[push] - had)) "$(probe-stat --json -s "$S-other" | jq '.probes[0].hits')"
expect 0 probe-disable -s "$S-other"
traps
want "the trap that is left in push" 4 "${trap[push]}"
go 10
counts_agree ""
expect 0 probe-disable -s "$S"
traps
want "traps that are left" "" "$(tr -d " " <<<"${trap[*]}")"

# Registers are those of the call.
tracing "$T/traced" --json -n 3 -p $pid --if 'arg0 == 3' func:push
go 2000
wait $tracer || fail "probe-trace: $(cat "$T/traced.err")"
want "arguments" "3 3 3" "$(jq .args.arg0 "$T/traced" | xargs)"

# Returns.
for name in "${!truth[@]}"; do before[$name]=${truth[$name]}; done
names=(push push_r12 subtract thunk table cold_table cold_unnamed called_inside fib)
returns=("${names[@]/#/func:}")
expect 0 probe-enable -s "$S" -p $pid "${returns[@]/%/%return}"
go 1000
counts_agree %return
counts_agree %return entries
expect 0 probe-disable -s "$S"

# A process that replaced its endbr64 by a jump would not reach the place after it.
if printf '\xeb\x02' | dd of="/proc/$pid/mem" bs=1 seek="${place[push]}" conv=notrunc 2>/dev/null; then
	expect 1 probe-enable -s "$S" -p $pid func:push
	want_like "a changed endbr64" "*changed its code there*" "$out"
else
	part_skipped "a changed endbr64: this kernel lets only tracers write code by /proc/PID/mem"
fi
exec {in}>&-
wait $pid || fail "the target ended with $?"
