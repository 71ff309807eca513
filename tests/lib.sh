# SPDX-License-Identifier: MIT
# Included first by every test script. Sets T, a directory that is removed at the end of the test, and S, a session name
# that only this test uses. Kills the background processes of the test at its end.

set -u
# A shell that was started in the background ignores SIGINT, and its children would inherit that.
if [ $((0x$(sed -n 's/^SigIgn:[[:space:]]*//p' /proc/$$/status) & 2)) != 0 ]; then
	exec env --default-signal=INT,QUIT "$BASH" "$0" "$@"
fi
B=$(realpath -m "${B:-build}")
CC=${CC:-gcc}
CXX=${CXX:-g++}
SAN=${SAN-}
PATH=$B/bin:$PATH
export B CC CXX PATH LC_ALL=C.UTF-8 TZ=UTC
export PROBEPOINT_BUDGET=${PROBEPOINT_BUDGET-off} # no budget, because tests hit as fast as they can
unset NO_COLOR MAKEFLAGS MAKELEVEL MFLAGS
T=$(mktemp -d "${TMPDIR:-/tmp}/probepoint-test.XXXXXX") || exit 1
chmod 755 "$T" # other users must be able to read it
export XDG_RUNTIME_DIR=$T/run # agents and sessions of other tests are not visible
mkdir -m 700 "$XDG_RUNTIME_DIR"
S=t$$
# Divides the numbers of hits of some tests, for machines on which a trap takes 100 us: emulated ones.
slow=${PROBEPOINT_SLOW:-1}
patience=$((slow > 1 ? 1500 : 300)) # for how many seconds a test waits for the reply of a program
[ "$(uname -m)" = x86_64 ] || export PROBEPOINT_LISTEN=1 # agents cannot be woken on other CPUs

at_end=()
cleanup() {
	local status=$? i job
	trap - EXIT INT TERM
	[ $BASHPID = $$ ] || exit $status # a child before its exec
	for job in $(jobs -p); do kill -KILL "$job" 2>/dev/null; done
	wait 2>/dev/null
	for ((i = ${#at_end[@]} - 1; i >= 0; i--)); do eval "${at_end[i]}"; done
	rm -rf "$T"
	exit $status
}
trap cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
# at_end COMMAND: runs it when the test ends, the last one first.
at_end() { at_end+=("$*"); }

fail() {
	echo "FAIL in ${BASH_SOURCE[-1]##*/}, line ${BASH_LINENO[-2]}: $*"
	exit 1
}
skip() { echo "$*"; exit 77; }
# part_skipped REASON: reports a part that is left out; the test continues.
part_skipped() { echo "skipped: $*"; }

have() { command -v "$1" >/dev/null 2>&1; }
need() { for tool; do have "$tool" || skip "needs $tool"; done; }
need_root() { [ "$(id -u)" = 0 ] || skip "needs root"; }
# nobody COMMAND...: runs it as the user of that name without capabilities.
nobody() { setpriv --reuid=65534 --regid=65534 --clear-groups --bounding-set=-all --inh-caps=-all "$@"; }
# for_others: copies the commands and the agent to $T/product, because other users may not reach the build directory.
for_others() { mkdir "$T/product" && cp -r "$B/bin" "$B/lib" "$T/product" && chmod -R a+rX "$T/product"; }

# in_chroot: succeeds in a chroot, which setns(2) would leave.
in_chroot() { ! nsenter --mount=/proc/$$/ns/mnt test -d "$T"; }

# build_once FILE COMMAND...: makes FILE, a copy of the program that `COMMAND... -o PROGRAM` builds. Tests with the same command
# (and the same sources in $T) share one build, also in a guest that has a copy of the tree. It is made again if a source,
# a header, the library or the plugin is newer.
build_once() {
	local file=$1 arg own=() kept lock status=0
	shift
	for arg; do
		[[ $arg == *"$T"* ]] || continue
		[ -f "$arg" ] || { "$@" -o "$file"; return; } # the program contains the path
		own+=("$arg")
	done
	kept=${*//"$B/"/}
	kept=$B/tests/programs/$(cat - "${own[@]}" <<<"${kept//"$T/"/}" | cksum | tr ' ' -)
	mkdir -p "${kept%/*}"
	exec {lock}>"$kept.lock"
	flock $lock
	[ -e "$kept" ] && [ -z "$(find tests include "$B/lib" -name '*.[chaS]' -newer "$kept" -o -name '*.cc' -newer "$kept" -o -name probepoint.so -newer "$kept")" ] ||
		{ "$@" -o "$kept.new" && mv "$kept.new" "$kept"; } || status=1
	exec {lock}>&-
	[ $status = 0 ] && cp "$kept" "$file"
}

# want LABEL WANTED GOT, want_like LABEL PATTERN GOT
want() { [ "$2" = "$3" ] || fail "$1: wanted \"$2\", got \"$3\""; }
# shellcheck disable=SC2053 # the right side is a pattern
want_like() { [[ $3 == $2 ]] || fail "$1: wanted a match of \"$2\", got \"$3\""; }

# expect STATUS COMMAND...: fails unless the command exits with STATUS. Both output streams are in $out.
expect() {
	local wanted=$1 status
	shift
	out=$("$@" 2>&1)
	status=$?
	[ "$status" = "$wanted" ] || fail "\"$*\" ended with $status, not $wanted: $out"
}

# expect_text STATUS COMMAND... <<'E': also compares the output, filtered by the function mask, with standard input.
mask() { cat; }
expect_text() {
	cat >"$T/wanted.text"
	expect "$@"
	{ [ -z "$out" ] || printf '%s\n' "$out"; } | mask >"$T/got.text"
	shift
	diff -u --label wanted --label got "$T/wanted.text" "$T/got.text" || fail "\"$*\" printed other text"
}

# wait_for SECONDS COMMAND...: waits until the command succeeds. Fails after SECONDS, but not before 60 s, because other programs
# may keep the machine busy. In an emulated machine the time is ten times as long.
wait_for() {
	local poll=0.05 until=$((SECONDS + ($1 < 60 ? 60 : $1) * (slow > 1 ? 10 : 1)))
	[ "$slow" = 1 ] || poll=0.5
	shift
	until "$@" >/dev/null 2>&1; do
		[ $SECONDS -lt $until ] || fail "timed out waiting for: $*"
		sleep $poll
	done
}

# tracing FILE ARGUMENT...: starts probe-trace in the background ($tracer) with output to FILE and FILE.err. Returns when it records.
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
# trace_kept FILE ARGUMENT...: runs probe-trace until it has read what is recorded already. An interrupt gives it 10 s
# for that: a test with more than some 10,000 records waits for them first, because an emulated machine does not print
# many more.
trace_kept() {
	tracing "$@"
	kill -INT $tracer
	wait $tracer
	want "the status of probe-trace" 0 $?
	! grep 'the session may have more records' "$1.err" || fail "probe-trace did not read all records in 10 s"
}

# keeper_find: sets $keeper to the pid of the process that keeps the counts of this test's agents.
keeper_find() {
	local process
	keeper=
	for process in /proc/[0-9]*; do
		[ "$(readlink "$process/exe")" = "$B/bin/probe-enable" ] || continue
		tr '\0' '\n' <"$process/environ" | grep -qx "XDG_RUNTIME_DIR=$XDG_RUNTIME_DIR" && keeper=${process##*/}
	done
	[ "$keeper" ] || fail "no keeper runs"
}

# executed PID FILE: succeeds if the process has executed FILE. The kernel first changes /proc/PID/exe, then maps the program and
# its loader, and then makes the auxiliary vector.
executed() { [ "/proc/$1/exe" -ef "$2" ] && [ "$(head -c 8 "/proc/$1/auxv" | tr -d '\0')" ]; }
# runs PID FILE: waits until the process has executed FILE. runs_agent PID FILE: also until its loader has mapped the agent.
runs() { wait_for 20 executed "$1" "$2"; }
runs_agent() {
	runs "$1" "$2"
	wait_for 20 grep -q '/libprobepoint-agent\.so$' "/proc/$1/maps"
}

# memory PID ADDRESS SIZE: prints the bytes, with few system calls.
memory() {
	dd if="/proc/$1/mem" bs=1M iflag=skip_bytes,count_bytes,fullblock skip="$2" count="$3" 2>/dev/null
}

# x86_bytes: replaces the first bytes of aarch64's nop and breakpoint by those of x86-64, which tests compare with.
x86_bytes() {
	if [ "$(uname -m)" = aarch64 ]; then sed 's/\<1f\>/90/g; s/\<a0\>/cc/g'; else cat; fi
}

# took COMMAND...: runs a command and sets $us to its duration in microseconds.
# spread N: prints a random time in seconds, up to 1.25 N microseconds, at which to interrupt a command that takes N.
spread() { local us=$((RANDOM * ($1 + $1 / 4) / 32768)); printf '%d.%06d' $((us / 1000000)) $((us % 1000000)); }
took() {
	local begin=${EPOCHREALTIME/[.,]/}
	"$@"
	us=$((${EPOCHREALTIME/[.,]/} - begin))
}

# same_in_gdb WANTED GOT: succeeds if gdb printed the wanted numbers. gdb 16.3 negates the bits that it keeps of a negative
# register: it prints (unsigned char)-4999999935 as 191. gdb 13.1 and 18.1 do not. With that gdb, a number may be the
# negative of the wanted one in 8, 16 or 32 bits.
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

# json FILTER [FILE]: prints jq's answer on one line, for UTF-8 text of consecutive JSON values.
json() {
	local text
	text=$(cat "${2:--}"; echo x)
	text=${text%x}
	printf %s "$text" | iconv -f UTF-8 -t UTF-8 >/dev/null 2>&1 || { echo "not UTF-8"; return 1; }
	printf %s "$text" | jq -ceM "$1" 2>&1
}
