#!/bin/bash
# SPDX-License-Identifier: MIT
# Values survive each way out: what generated programs with probes of random signatures have written down is what
# probe-trace prints as text, JSON and OTLP, what babeltrace2 reads from its trace, and what probe-report exports from it.
. tests/lib.sh
. tests/cmd/lib.sh
need python3
[ -f "$B/lib/probepoint.so" ] || skip "needs the plugin"
signatures=20 rounds=4 runs=1
[ -z "${PROBEPOINT_LONG-}" ] || signatures=200 rounds=8 runs=6
seed=${SEED:-$RANDOM}
backends=(agent kernel)
[ "$(id -u)" = 0 ] || { backends=(agent); part_skipped "the kernel backend needs root"; }

# program DIR SEED OPTION...: makes the program DIR/program.
program() {
	local dir=$1 seed=$2 with file
	shift 2
	with=(-g -w -Iinclude -fplugin="$B/lib/probepoint.so" -fplugin-arg-probepoint-provider=rt
		'-fplugin-arg-probepoint-functions=f[0-9]*,F[0-9]*')
	mkdir -p "$dir"
	python3 tests/trace/round-trip-make.py "$dir" "$seed" $signatures $rounds || fail "seed $seed: no sources"
	"${PLUGIN_CC:-gcc}" -std=gnu17 "$@" "${with[@]}" -c "$dir/plugin.c" -o "$dir/c.o" &&
		"${PLUGIN_CXX:-g++}" "$@" "${with[@]}" -c "$dir/plugin.cc" -o "$dir/cc.o" &&
		"$CC" -std=gnu17 "$@" -w -Iinclude -c "$dir/plain.c" -o "$dir/plain.o" &&
		"$CC" -std=gnu17 "$@" -w -Iinclude -c "$dir/main.c" -o "$dir/main.o" &&
		"${PLUGIN_CXX:-g++}" "$@" "$dir"/*.o -o "$dir/program" || fail "seed $seed, $*: the program does not build"
}

# traced NAME OPTION...: traces one run, whose records go to NAME.out.
traced() {
	local name=$1
	shift
	probe-trace -b "$b" --buffer 16M "$@" 'rt:*' -- "$dir/program" "$name.log" >"$name.out" 2>"$name.err" ||
		fail "seed $seed, $b: probe-trace $*: $(cat "$name.err")"
	want_like "seed $seed, $b: nothing is lost" "*$(grep -c . "$name.log") recorded, 0 lost*" "$(cat "$name.err")"
}
# same FORM LOG FILE: notes the form if it differs.
wrong=()
same() { python3 tests/trace/round-trip.py "$@" || wrong+=("seed $seed, $b: $1"); }

for ((run = 0; run < runs; run++, seed++)); do
	echo "seed $seed"
	dir=$T/$run
	options=(-O2 -O0 -O1 -O3 -Os -Og)
	program "$dir" $seed "${options[run % 6]}"
	for b in "${backends[@]}"; do
		for form in text json otlp; do
			[ $form = text ] && option=() || option=(--$form)
			traced "$dir/$b.$form" "${option[@]}"
			same $form "$dir/$b.$form.log" "$dir/$b.$form.out"
		done
		traced "$dir/$b.ctf" -o "$dir/$b.trace"
		if have babeltrace2; then
			babeltrace2 --no-delta --names=payload "$dir/$b.trace" >"$dir/$b.read" 2>"$dir/$b.err" || fail "seed $seed, $b: babeltrace2: $(cat "$dir/$b.err")"
			same ctf "$dir/$b.ctf.log" "$dir/$b.read"
		fi
		if have probe-report; then
			probe-report --perfetto "$dir/$b.perfetto" "$dir/$b.trace" >"$dir/$b.out" 2>"$dir/$b.err" ||
				fail "seed $seed, $b: probe-report: $(cat "$dir/$b.err")"
			same perfetto "$dir/$b.ctf.log" "$dir/$b.perfetto"
		fi
	done
done
have babeltrace2 || part_skipped "babeltrace2 is not installed: no trace is read with it"
have probe-report || part_skipped "probe-report is not built: nothing is exported"
[ ${#wrong[@]} = 0 ] || fail "forms differ from the program's log: ${wrong[*]}"
