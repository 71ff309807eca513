# SPDX-License-Identifier: MIT
# For scripts of tests/: `. tests/lib.sh` first. T is a folder of the test's own, removed at its end together with
# what it has started by `&`; S is a session's name that nobody else uses.

set -u
# A shell that was started in the background ignores interrupts, and so would all that it runs: those that a test ends
# by one would never end.
if [ $((0x$(sed -n 's/^SigIgn:[[:space:]]*//p' /proc/$$/status) & 2)) != 0 ]; then
	exec env --default-signal=INT,QUIT "$BASH" "$0" "$@"
fi
B=$(realpath -m "${B:-build}")
CC=${CC:-gcc}
CXX=${CXX:-g++}
PATH=$B/bin:$PATH
export B CC CXX PATH LC_ALL=C.UTF-8 TZ=UTC
export PROBEPOINT_BUDGET=${PROBEPOINT_BUDGET-off} # tests hit as hard as they can; those of the brake unset it
unset NO_COLOR MAKEFLAGS MAKELEVEL MFLAGS
T=$(mktemp -d "${TMPDIR:-/tmp}/probepoint-test.XXXXXX") || exit 1
chmod 755 "$T" # other users' tests look in too
export XDG_RUNTIME_DIR=$T/run # where agents and their sessions are: nobody else's are seen
mkdir -m 700 "$XDG_RUNTIME_DIR"
S=t$$

at_end=()
cleanup() {
	local status=$? i job
	trap - EXIT INT TERM
	[ $BASHPID = $$ ] || exit $status # a child that was not yet the program it is to become
	for job in $(jobs -p); do kill -KILL "$job" 2>/dev/null; done
	wait 2>/dev/null
	for ((i = ${#at_end[@]} - 1; i >= 0; i--)); do eval "${at_end[i]}"; done
	rm -rf "$T"
	exit $status
}
trap cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
# at_end COMMAND: is run when the test ends, last one first.
at_end() { at_end+=("$*"); }

fail() {
	echo "FAIL in ${BASH_SOURCE[-1]##*/}, line ${BASH_LINENO[-2]}: $*"
	exit 1
}
skip() { echo "$*"; exit 77; }
# A part is left out; the test goes on.
part_skipped() { echo "skipped: $*"; }

have() { command -v "$1" >/dev/null 2>&1; }
need() { for tool; do have "$tool" || skip "needs $tool"; done; }
need_root() { [ "$(id -u)" = 0 ] || skip "needs root"; }
# Somebody without any privilege.
nobody() { setpriv --reuid=65534 --regid=65534 --clear-groups --bounding-set=-all --inh-caps=-all "$@"; }
# for_others: the commands and the agent again, in $T/product; the build may lie where only its user can go.
for_others() { mkdir "$T/product" && cp -r "$B/bin" "$B/lib" "$T/product" && chmod -R a+rX "$T/product"; }

# Whether this runs in a chroot, which setns(2) leaves.
in_chroot() { ! nsenter --mount=/proc/$$/ns/mnt test -d "$T"; }

# want WHAT WANTED GOT
want() { [ "$2" = "$3" ] || fail "$1: wanted \"$2\", got \"$3\""; }
# shellcheck disable=SC2053 # the right side is a pattern
want_like() { [[ $3 == $2 ]] || fail "$1: wanted something like \"$2\", got \"$3\""; }

# expect STATUS COMMAND...: its output (both streams) is left in $out.
expect() {
	local wanted=$1 status
	shift
	out=$("$@" 2>&1)
	status=$?
	[ "$status" = "$wanted" ] || fail "\"$*\" ended with $status, not $wanted: $out"
}

# expect_text STATUS COMMAND... <<'E': as expect, and its output after the filter mask is the text on standard input.
mask() { cat; }
expect_text() {
	cat >"$T/wanted.text"
	expect "$@"
	{ [ -z "$out" ] || printf '%s\n' "$out"; } | mask >"$T/got.text"
	shift
	diff -u --label wanted --label got "$T/wanted.text" "$T/got.text" || fail "\"$*\" says something else"
}

# wait_for SECONDS COMMAND...: until it succeeds.
wait_for() {
	local until=$((SECONDS + $1))
	shift
	until "$@" >/dev/null 2>&1; do
		[ $SECONDS -lt $until ] || fail "waited in vain for: $*"
		sleep 0.05
	done
}

# tracing FILE ARGUMENT...: probe-trace in the background, $tracer, into FILE and FILE.err; returns when it records.
tracing() {
	local file=$1
	shift
	: >"$file.err"
	env --default-signal=INT probe-trace -v "$@" >"$file" 2>"$file.err" &
	tracer=$!
	until grep -qx 'probe-trace: recording' "$file.err"; do
		kill -0 $tracer 2>/dev/null || fail "probe-trace $*: $(cat "$file.err")"
		sleep 0.02
	done
}
# trace_kept FILE ARGUMENT...: the same of what was recorded until now, alone.
trace_kept() {
	tracing "$@"
	kill -INT $tracer
	wait $tracer
	want "the status of probe-trace" 0 $?
}

# runs PID FILE: waits until the process, which is the shell when it begins, runs FILE.
runs() { wait_for 20 test "/proc/$1/exe" -ef "$2"; }

# memory PID ADDRESS SIZE: the bytes, in few system calls.
memory() {
	dd if="/proc/$1/mem" bs=1M iflag=skip_bytes,count_bytes,fullblock skip="$2" count="$3" 2>/dev/null
}

# spread N: a moment of a command that takes about N microseconds on this machine now: up to a quarter more than that,
# in seconds. `took COMMAND...` runs a command and leaves in $us how long it took.
spread() { local us=$((RANDOM * ($1 + $1 / 4) / 32768)); printf '%d.%06d' $((us / 1000000)) $((us % 1000000)); }
took() {
	local begin=${EPOCHREALTIME/[.,]/}
	"$@"
	us=$((${EPOCHREALTIME/[.,]/} - begin))
}

# same_in_gdb WANTED GOT: gdb printed what was wanted. gdb 16.3 negates the bits that it keeps of a negative register (it
# says that (unsigned char)-4999999935 is 191), 13.1 and 18.1 do not. With a gdb that does, a number may be the negative
# of the wanted one in 8, 16 or 32 bits.
same_in_gdb() {
	cmp -s "$1" "$2" && return
	[ "${gdb_narrows-}" ] || gdb_narrows=$(gdb -nx -batch -ex 'print (int)(unsigned char)-4999999935L' 2>&1)
	[ "$gdb_narrows" != '$1 = 65' ] || return
	awk 'NR == FNR { wanted[n = NR] = $0; next }
		{
			if (split(wanted[FNR], want) != NF)
				bad = 1
			for (i = 1; i <= NF; i++) {
				sum = want[i] + $i
				if (want[i] "" != $i "" && sum != 0 && sum != 256 && sum != 65536 && sum != 4294967296)
					bad = 1
			}
		}
		END { exit bad || FNR != n }' "$1" "$2" || return
	[ "${gdb_negates-}" ] || part_skipped "signs of some numbers: this gdb negates the bits that it keeps"
	gdb_negates=1
}

# json FILTER [FILE]: jq's answer on one line, of text that is one JSON value after another and UTF-8.
json() {
	local text
	text=$(cat "${2:--}"; echo x)
	text=${text%x}
	printf %s "$text" | iconv -f UTF-8 -t UTF-8 >/dev/null 2>&1 || { echo "not UTF-8"; return 1; }
	printf %s "$text" | jq -ceM "$1" 2>&1
}
