# SPDX-License-Identifier: MIT
# For the tests of the kernel backend: `. tests/kernel/lib.sh` after tests/lib.sh.

need_kernel() {
	need_root
	need jq
	[ -d /sys/bus/event_source/devices/uprobe ] || skip "this kernel has no uprobes"
}

# multi_links: succeeds if sites are armed by uprobe-multi links. Before Linux 6.6, and with PROBEPOINT_NO_UPROBE_MULTI=1, each has
# a perf uprobe.
multi_links() { [ -z "${PROBEPOINT_NO_UPROBE_MULTI-}" ] && [ "$(printf '6.6\n%s\n' "$(uname -r)" | sort -V | head -n 1)" = 6.6 ]; }
link_ways=$(multi_links && echo yes no || echo no)

build_hits() {
	build_once "${1:-$T/hits}" "$CC" -O2 -g -Iinclude -pthread tests/kernel/hits.c || fail "tests/kernel/hits.c does not build"
}

# build_aggregate FILE ARG...: compiles tests/kernel/aggregate.c with the plugin (. tests/plugin/lib.sh).
build_aggregate() {
	local file=$1
	shift
	probed "hit,keyed,twice" provider=agg
	build_once "$file" compile $GCC -w -O2 "${with[@]}" -pthread tests/kernel/aggregate.c "$@" || fail "aggregate.c does not build"
}

# start NAME [COMMAND...]: starts tests/kernel/hits.c and sets $NAME to its pid. `tell NAME LINE` sends it a command and
# sets $answer to the result after "ok"; send and receive are the two halves of tell.
declare -A hits_in=() hits_out=()
start() {
	local name=$1 in out
	shift
	[ $# -gt 0 ] || set -- "$T/hits"
	rm -f "$T/$name.in" "$T/$name.out"
	mkfifo "$T/$name.in" "$T/$name.out"
	"$@" <"$T/$name.in" >"$T/$name.out" &
	printf -v "$name" %d $!
	exec {in}>"$T/$name.in" {out}<"$T/$name.out"
	hits_in[$name]=$in hits_out[$name]=$out
	tell "$name" pid
}
send() { echo "$2" >&"${hits_in[$1]}"; }
receive() {
	IFS= read -r -t $patience -u "${hits_out[$1]}" answer || fail "$1 has ended"
	case $answer in ok*) answer=${answer#ok}; answer=${answer# } ;; *) fail "$1 answers \"$answer\"" ;; esac
}
tell() { send "$1" "$2"; receive "$1"; }
stop() {
	local in=${hits_in[$1]} out=${hits_out[$1]}
	send "$1" end
	exec {in}>&- {out}<&-
	wait "${!1}" || fail "$1 ended with $?"
}

# converse PROGRAM: starts a program that answers each line with one, and sets $pid. ask LINE sets $answer.
converse() {
	mkfifo "$T/in" "$T/out"
	"$1" <"$T/in" >"$T/out" &
	pid=$!
	exec {in}>"$T/in" {reply}<"$T/out"
	runs $pid "$1"
}
ask() { echo "$1" >&$in; read -r -t $patience answer <&$reply || fail "the target has ended"; }

# sites PID [FILE]: the address and first byte of each site in a process (FILE: tests/kernel/hits.c)
sites() {
	local pid=$1 file=${2:-$T/hits} base addresses low high
	base=$((0x$(awk -v file="$file" '$6 == file && $3 == "00000000" { sub("-.*", "", $1); print $1; exit }' "/proc/$pid/maps")))
	[ -s "$file.sites" ] || probe-list --json "$file" | jq '.probes[].sites[].address' | sort -n >"$file.sites"
	low=$(head -n 1 "$file.sites") high=$(tail -n 1 "$file.sites")
	memory $pid $((base + low)) $((high - low + 1)) | od -An -v -w1 -tx1 |
		awk -v low="$low" 'NR == FNR { site[$1] = 1; next } FNR - 1 + low in site { print FNR - 1 + low, $1 }' \
		"$file.sites" -
}
# site_bytes PID [FILE]: the first bytes of the sites in a process, counted, as in "1 90 3 cc"
site_bytes() { sites "$@" | awk '{ print $2 }' | x86_bytes | sort | uniq -c | xargs; }

# count SESSION PROBE [KEY]: the sum over all processes; 0 without a row
count() { probe-stat --json -s "$1" | jq --arg p "$2" "[.probes[] | select(.probe == \$p) | .${3:-hits}] | add // 0"; }
# Checks that each row adds up.
adds_up() {
	local bad
	bad=$(probe-stat --json -s "$1" | jq -c '.probes[] | select(.hits != .filtered + .idle + .recorded + .lost)')
	[ -z "$bad" ] || fail "does not add up: $bad"
}
sessions() { probe-list --json --sessions | jq -r '.sessions[].session'; }
no_session() { ! sessions | grep -qx "$1"; }
# gone SESSION: checks that nothing is left of a session
gone() {
	no_session "$1" || fail "session $1 still exists"
	[ ! -e "/sys/fs/bpf/probepoint/$1" ] || fail "its directory still exists: $(ls "/sys/fs/bpf/probepoint/$1")"
}
