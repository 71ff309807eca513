#!/bin/bash
# SPDX-License-Identifier: MIT
# All commands find a file that is named without a slash, in the same places and in the same order.
. tests/lib.sh
. tests/cmd/lib.sh
need_kernel
build_target
build_library
mkdir "$T/loader" "$T/mapped" "$T/path" "$T/here" "$T/empty"
for dir in loader mapped; do cp "$T/lib.so" "$T/$dir/libfound.so.7"; done
cp "$T/target" "$T/path/findme"
cp "$T/target" "$T/here/findme"

# file_of DIR COMMAND...: prints the file of the rows of a command that runs in the directory, by its JSON.
file_of() {
	cd "$1" || fail "no directory $1"
	shift
	LD_LIBRARY_PATH=$T/loader PATH=$PATH:$T/path "$@" 2>/dev/null |
		jq -r '[.. | objects | select(has("probe") or has("name")) | .file | strings] | unique[]' | xargs -r realpath
}
# each WANTED DIR NAME PROBE [OPTION...]: compares the file that each command finds.
each() {
	local wanted=$1 dir=$2 name=$3 probe=$4
	shift 4
	want "file of probe-enable -f $name $*" "$wanted" "$(file_of "$dir" probe-enable --json -s "$S" -f "$name" "$@" "$probe")"
	want "file of probe-stat -s after probe-enable -f $name" "$wanted" "$(file_of "$dir" probe-stat --json -s "$S")"
	expect 0 probe-disable -q -s "$S"
	want "file of probe-stat -f $name $*" "$wanted" \
		"$(file_of "$dir" probe-stat --json --for 0.1 -f "$name" "$@" "$probe")"
	[ "$*" ] || want "file of probe-list $name" "$wanted" "$(file_of "$dir" probe-list --json "$name" -m "$probe")"
}

each "$T/loader/libfound.so.7" "$T/empty" libfound.so.7 lib:call
each "$T/path/findme" "$T/empty" findme app:tick
each "$T/here/findme" "$T/here" findme app:tick # a path that exists wins

# A file that is named twice is armed once.
start twice
for backend in "" "-p $twice"; do
	expect 0 probe-enable -q -s "$S" $backend -f "$T/target" -f "$T/./target" app:tick
	tell twice "tick 1"
	want "hits of a file that is named three times ($backend)" 1 "$(hits "$S" app:tick)"
	expect 0 probe-disable -q -s "$S"
done
stop twice

# The file that the process maps is the one that its user means.
start p env LD_PRELOAD="$T/mapped/libfound.so.7"
each "$T/mapped/libfound.so.7" "$T/empty" libfound.so.7 lib:call -p "$p"
start q env LD_PRELOAD="$T/loader/libfound.so.7"
for command in "probe-enable -s $S" "probe-stat --for 1" "probe-trace"; do
	expect 2 $command -p "$p,$q" -f libfound.so.7 lib:call
	want_like "$command with two files of the name" \
		"*'libfound.so.7' names different files of the processes: '$T/mapped/libfound.so.7' and '$T/loader/libfound.so.7'; give the path*" "$out"
done
# probe-trace arms the library that the process maps.
(cd "$T/empty" && exec probe-trace -q --count 1 -p "$p" -f libfound.so.7 lib:call) >"$T/trace" 2>&1 &
trace=$!
offset=$(probe-list --json "$T/mapped/libfound.so.7" | jq '.probes[0].sites[0].offset')
base=$(awk -v f="$T/mapped/libfound.so.7" '$6 == f && $3 ~ /^0+$/ { sub(/-.*/, "", $1); print $1; exit }' "/proc/$p/maps")
site_is_armed() { [ "$(memory "$p" $((0x$base + offset)) 1 | od -An -v -w1 -tx1 | x86_bytes | tr -d ' ')" = cc ]; }
wait_for 20 site_is_armed
kill -INT $trace
wait $trace

for command in "probe-list" "probe-enable -s $S" "probe-stat --for 1" "probe-trace"; do
	pattern=(lib:call)
	[ "$command" != probe-list ] || pattern=()
	expect 1 $command -f libnone.so.7 "${pattern[@]}"
	want "error of $command" \
		"${command%% *}: cannot find 'libnone.so.7': it is not in the working directory, not in PATH, and not where the dynamic loader finds libraries; give its path" "$out"
	expect 1 $command -f "$T/libnone.so.7" "${pattern[@]}"
	want "error of $command for a path" "${command%% *}: cannot open '$T/libnone.so.7': No such file or directory" "$out"
done
expect 1 probe-enable -s "$S" -p "$p" -f libnone.so.7 lib:call
want_like "error with -p" "*: the processes of -p do not map it, it is not in*" "$out"
no_session "$S" || fail "a command that found no file has made a session"
stop p
stop q
