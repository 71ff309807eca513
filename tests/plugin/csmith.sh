#!/bin/bash
# SPDX-License-Identifier: MIT
# Generated programs with all functions probed compile, and print the same checksum as without the plugin.
. tests/plugin/lib.sh
need csmith readelf
probed '*'
inc=
for dir in /usr/include/csmith /usr/include/csmith-*; do [ -f "$dir/csmith.h" ] && inc=$dir; done
[ "$inc" ] || skip "csmith's headers are not installed"

count=${COUNT:-2} first=${SEED:-$RANDOM}
[ "${PROBEPOINT_LONG-}" ] && count=${COUNT:-500}
echo "seeds from $first"
one() {
	local seed=$1 dir=$T/$1
	shift
	mkdir "$dir"
	(cd "$dir" && csmith --seed "$seed" --max-funcs 12 --no-volatile-pointers >p.c) || return 1
	$GCC -w -I"$inc" -O1 "$dir/p.c" -o "$dir/plain" || { rm -r "$dir"; return 0; }
	timeout 5 "$dir/plain" >"$dir/plain.out" 2>&1 || { rm -r "$dir"; return 0; } # does not end, or not well
	for flags in "-O0 -g" "-O1 -g -fchecking $COMPARE" "-O2 -g -fchecking $COMPARE" "-O3 -fchecking" "-Os -g -flto"; do
		$GCC -w -I"$inc" $flags "${with[@]}" "$dir/p.c" -o "$dir/probed" >"$dir/log" 2>&1 || {
			# -fcompare-debug may fail without the plugin too
			$GCC -w -I"$inc" $flags $COMPARE "$dir/p.c" -o "$dir/probed" >/dev/null 2>&1 || { rm -r "$dir"; return 0; }
			head -n 20 "$dir/log"; echo "seed $seed, $flags: does not compile"
			return 1
		}
		timeout 120 "$dir/probed" >"$dir/out" 2>&1
		cmp "$dir/plain.out" "$dir/out" || {
			# a program with undefined behaviour may differ without the plugin too
			$GCC -w -I"$inc" $flags "$dir/p.c" -o "$dir/again" && timeout 120 "$dir/again" >"$dir/again.out" 2>&1
			cmp -s "$dir/again.out" "$dir/out" || { echo "seed $seed, $flags: other results"; return 1; }
		}
	done
	sites "$dir/probed" | grep -q main__entry || { echo "seed $seed: main has no site"; return 1; }
	rm -r "$dir"
	echo .
}
done=0
for ((i = 0; done < count && i < 4 * count; i++)); do # some do not compile, or do not end, without the plugin too
	out=$(one $((first + i))) || fail "$out"
	[ "$out" ] && done=$((done + 1))
done
echo "$done programs of $i ran"
[ "$done" -gt 0 ] || skip "no generated program ended in time"
