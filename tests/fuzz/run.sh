#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# first
# libFuzzer with sanitizers finds no fault in the parsers of untrusted input: some seconds each, minutes in check-long.
. tests/lib.sh
need clang
flags=(-std=gnu17 -w -g "-fsanitize=fuzzer,address,undefined" -fno-sanitize-recover=all -D_GNU_SOURCE
	-DPP_VERSION='""' -Iinclude -I.)
echo 'int LLVMFuzzerTestOneInput(void) { return 0; }' | clang -fsanitize=fuzzer,address -xc - -o "$T/none" 2>/dev/null ||
	skip "needs libclang-rt-dev: clang cannot link libFuzzer and sanitizers"
# Without optimization the programs compile in half the time, and run fewer inputs.
seconds=1 level=-O0
[ -z "${PROBEPOINT_LONG-}" ] || seconds=300 level=-O1
flags+=($level)

# objects SOURCES...: compiles the sources that are not compiled yet; sets the array made to their objects.
objects() {
	local source object inside
	made=()
	for source; do
		object=$T/${source//\//_}.o
		[[ $source == runtime/agent/inproc/* ]] && inside=-DAGENT_INSIDE || inside=
		[ -e "$object" ] || clang "${flags[@]}" $inside -c "$source" -o "$object" || fail "cannot build $source"
		made+=("$object")
	done
}

# fuzz_run NAME OPTIONS...: runs the fuzzer $T/fuzz_NAME on its corpus; sets runs.
fuzz_run() {
	local name=$1
	SEEDS='' "$T/fuzz_$name" "${@:2}" -rss_limit_mb=2048 -artifact_prefix="$T/" "$T/$name" >"$T/said" 2>&1 ||
		fail "$name: $(grep -v '^#' "$T/said" | head -n 60; for f in "$T"/crash-* "$T"/timeout-*; do
		[ ! -f "$f" ] || { echo "the input:"; base64 "$f"; }; done)"
	runs=$(sed -n 's/^Done \([0-9]*\) runs.*/\1/p' "$T/said")
	runs=${runs:-0}
}

# fuzz NAME OPTION SOURCES...: fuzzes tests/fuzz/NAME.c; the corpus begins with the files of the directory $T/NAME.
fuzz() {
	local name=$1 option=$2
	mkdir -p "$T/$name"
	objects "tests/fuzz/$name.c" "${@:3}"
	clang "${flags[@]}" "${made[@]}" $(pkg-config --libs $(pkg-config --exists libdw && echo libdw) libelf libbpf) ${libs-} -o "$T/fuzz_$name" || fail "cannot build tests/fuzz/$name.c"
	SEEDS=$T/$name "$T/fuzz_$name" -runs=0 >/dev/null 2>&1
	runs=0
	fuzz_run "$name" $option -max_total_time=$seconds
	# A busy machine needs longer for as many runs as find a fault that is easy to find.
	[ "$runs" -gt 1000 ] || fuzz_run "$name" $option -runs=1001
	[ "$runs" -gt 1000 ] || fail "$name: only $runs runs: $(tail -n 5 "$T/said")"
	echo "$name: $runs runs"
}
fuzz image -max_len=8192 base/*.c sdt/*.c runtime/{lint*,cpu*,insn-x86_64,uprobe-x86_64}.c
fuzz text -max_len=300 base/*.c sdt/*.c
fuzz filter -max_len=300 runtime/fetch/*.c runtime/aggregate.c runtime/abi*.c base/*.c sdt/*.c
if [ "$SAN" ]; then
	part_skipped "configurations: the library was built with gcc's sanitizers"
elif pkg-config --exists yaml-0.1; then
	flags+=(-DHAVE_LIBYAML)
	libs="-L$B/lib -lprobepoint -Wl,-rpath,$B/lib $(pkg-config --libs json-c yaml-0.1)" # of the library, only setters of requests run
	fuzz config -max_len=2048 cmd/{config-tree,config-keys,config-parse,options,budget,suggest,arming,arming-report,images,find-file,child,ui,json,escape,signals,alloc}.c
	libs=
else
	part_skipped "configurations: libyaml-dev is not installed"
fi
if [ "$(uname -m)" = x86_64 ]; then
	mkdir "$T/agent"
	printf '#include <sys/sdt.h>\nint main(int n, char **v) { STAP_PROBE3(a, b, n, *v, v); STAP_PROBE(a, c); }\n' |
		"$CC" -O1 -Iinclude -xc - -o "$T/probes" || fail "cannot build a program with probes"
	expect 0 probe-enable -q -b agent -s one -f "$T/probes" 'a:*'
	expect 0 probe-enable -q -b agent -s two -f "$T/probes" --string arg1 --if 'arg0 > 1 && arg1 =~ "x*" || comm == "y"' a:b
	expect 0 probe-enable -q -b agent -s three -f "$T/probes" --agg 'count(), pct(arg0), lhist(arg0, 0, 100, 5) by arg0, comm' a:b
	for segment in "$XDG_RUNTIME_DIR"/probepoint/*/segment-*; do
		{ printf '\1'; cat "$segment"; } >"$T/agent/$(basename "$(dirname "$segment")")" || fail "cannot copy an attachment file for the corpus"
	done
	fuzz agent -max_len=16384 runtime/agent/inproc/{mem,files,socket,state-dir,compile,trampoline-x86_64,hit-read,hit-ring,hit-flight,hit-aggregate,hit-calls,hit-sample,entry-x86_64,codebuf}.c runtime/fetch/check.c runtime/aggregate.c
fi
