# SPDX-License-Identifier: MIT
# Helpers for the tests of the commands. Source this file after tests/lib.sh.

build_target() {
	[ -f "$B/lib/probepoint.so" ] || skip "needs the plugin"
	build_once "$T/target" "${PLUGIN_CC:-gcc}" -std=gnu17 -O1 -g -no-pie -Iinclude -fplugin="$B/lib/probepoint.so" \
		-fplugin-arg-probepoint-functions=say tests/cmd/target.c || fail "the target does not build"
}

# one_note SIZE PROVIDER NAME OPERANDS: prints the assembly source of a program with one probe, made of these strings.
# SIZE is the size of an address, 4 or 8.
one_note() {
	cat <<-E
		.text
		.globl _start
		_start:
		990: nop
		ret
		.section .note.stapsdt,"","note"
		.balign 4
		.4byte 8, 2f-1f, 3
		.asciz "stapsdt"
		1: .${1}byte 990b, 0, 0
		.asciz "$2"
		.asciz "$3"
		.asciz "$4"
		2: .balign 4
	E
}

# Builds a library with one probe, lib:call, in the function call().
build_library() {
	printf '%s\n' '#include <sys/sdt.h>' 'void call(int n) { STAP_PROBE1(lib, call, n); }' |
		"$CC" -O1 -shared -fPIC -Iinclude -xc - -o "$T/lib.so" || fail "the library does not build"
}

# start NAME [PREFIX...]: starts a target, and stores its pid in $NAME. `tell NAME LINE` sends it a request, and waits
# until it is done. `stop NAME` ends it.
declare -A target_in=() target_out=()
start() {
	local name=$1 in out
	shift
	mkfifo "$T/$name.in" "$T/$name.out"
	"$@" "$T/target" <"$T/$name.in" >"$T/$name.out" &
	printf -v "$name" %d $!
	exec {in}>"$T/$name.in" {out}<"$T/$name.out"
	target_in[$name]=$in target_out[$name]=$out
	tell "$name" "tick 0"
}
# mask_columns: replaces the pid of each started target by its name in capitals, and blanks between columns by two. It replaces only
# numbers in places of pids, because a count can be equal to a pid.
mask_columns() {
	local name script="s,$T,T,g; s/   *([^ ])/  \\1/g"
	for name in "${!target_in[@]}"; do
		script+="; s/\\bpid ${!name}\\b/pid ${name^^}/g; s,  ${!name}  T/,  ${name^^}  T/,g"
	done
	sed -E "$script"
}
tell() {
	local answer
	echo "$2" >&"${target_in[$1]}"
	IFS= read -r -t $patience -u "${target_out[$1]}" answer || fail "target $1 has ended at \"$2\""
	[ "$answer" = ok ] || fail "target $1 answers \"$2\" with \"$answer\""
}
stop() {
	local in=${target_in[$1]} out=${target_out[$1]}
	echo "exit 0" >&"$in"
	exec {in}>&- {out}<&-
	wait "${!1}"
}

# site_bytes PID: prints how often each byte is at the sites of the target. A site that the kernel has armed has the
# byte cc.
site_bytes() {
	local address
	for address in $site_addresses; do memory "$1" "$address" 1; done | od -An -v -w1 -tx1 | x86_bytes | sort | uniq -c | xargs
}
# Finds the sites of the target, for site_bytes().
know_sites() {
	probe-list --json "$T/target" >"$T/sites.json" || fail "cannot list the target"
	site_addresses=$(jq '.probes[].sites[].address' "$T/sites.json")
}

sessions() { probe-list --json --sessions | jq -r '.sessions[].session'; }
has_session() { sessions | grep -qx "$1"; }
no_session() { ! has_session "$1"; }
# hits SESSION PROBE: prints the hits of all rows of the probe.
hits() { probe-stat --json -s "$1" | jq "[.probes[] | select(.probe == \"$2\") | .hits] | add"; }

need_kernel() {
	need_root
	need jq
	[ -d /sys/bus/event_source/devices/uprobe ] || skip "this kernel has no uprobes"
}
