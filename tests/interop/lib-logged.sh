# SPDX-License-Identifier: MIT
# Shared by tests that compare readers with the log of a random program (logged.py). Source it after tests/sdt/lib.sh.

LOGGED=tests/interop/logged.py
SEED=${SEED:-$RANDOM}
echo "SEED=$SEED"
# gdb 16 negates the bits that it keeps of a negative register (see same_in_gdb in tests/lib.sh).
gdb_narrows=
[ "$(gdb -nx -batch -ex 'print (int)(unsigned char)-4999999935L' 2>&1)" = '$1 = 65' ] || gdb_narrows=--narrows
# perf's command, with a cache of its own
PERF=(perf --buildid-dir "$T/buildid")
# bcc compiles with the headers of a kernel. Debian has them in two directories: $T/headers has links to both.
bcc_headers=$(find /usr/src -maxdepth 1 -name 'linux-headers-*-amd64' 2>/dev/null | sort -V | tail -n 1)
if [ -n "$bcc_headers" ]; then
	mkdir "$T/headers"
	for part in include arch/x86/include; do
		mkdir -p "$T/headers/$part"
		cp -rs "${bcc_headers%-amd64}-common/$part/." "$bcc_headers/$part/." "$T/headers/$part"
	done
fi

logged_source() {
	python3 $LOGGED make "$SEED" >"$T/logged.c" && python3 $LOGGED make-declared "$SEED" >"$T/declared.c" ||
		fail "logged.py: no program"
}

# read_gdb FILE etc.: run the program under a reader, with the program's log in $T/log and the reader's output in $T/out.
read_gdb() {
	python3 $LOGGED gdb "$SEED" >"$T/gdb"
	gdb -nx -batch -x "$T/gdb" "$1" >"$T/out" 2>"$T/log" </dev/null
}
# How many arguments bpftrace shows; its error message says it: 0.17 knows arg0 to arg5.
bpftrace_most=12
read_bpftrace() {
	local refused
	while :; do
		python3 $LOGGED bpftrace "$SEED" "$1" "$bpftrace_most" >"$T/script"
		# on one CPU, so that the records of its buffer are in the order of the hits
		BPFTRACE_PERF_RB_PAGES=1024 taskset -c 0 bpftrace -q -o "$T/out" -c "$1" "$T/script" >"$T/err" 2>"$T/log"
		refused=$(grep -o "support arg[0-9]*" "$T/log" | grep -o '[0-9]*' | sort -n | head -n 1)
		[ "${refused:-99}" -lt "$bpftrace_most" ] || return
		bpftrace_most=$refused
	done
}
read_bcc() {
	BCC_KERNEL_SOURCE=$T/headers taskset -c 0 /usr/bin/python3 $LOGGED bcc "$SEED" "$1" >"$T/out" 2>"$T/log"
}
read_probe_trace() {
	timeout 120 probe-trace -q --json "${@:2}" 'r:*' -- "$1" >"$T/out" 2>"$T/log" || echo "probe-trace: status $?"
}
read_perf() {
	local event
	exec 8>/tmp/probepoint-perf.lock # perf's events are global
	flock 8
	"${PERF[@]}" buildid-cache --add "$1" >"$T/err" 2>&1 || { cat "$T/err"; return 1; }
	"${PERF[@]}" probe '%sdt_r:*' >"$T/err" 2>&1 || { echo "perf probe: $(head -n 3 "$T/err")"; return 1; }
	"${PERF[@]}" record -q -e 'sdt_r:*' -m 1024 -o "$T/data" "$1" >"$T/err" 2>"$T/log" || cat "$T/log"
	"${PERF[@]}" script -i "$T/data" -F event,trace >"$T/out" 2>>"$T/err"
	perf probe -q -d 'sdt_r:*' >>"$T/err" 2>&1
	"${PERF[@]}" buildid-cache --remove "$1" >>"$T/err" 2>&1
	exec 8>&-
}
# perf_events FILE: prints the events that perf's cache has for the file.
perf_events() {
	"${PERF[@]}" list sdt 2>/dev/null | grep -o 'sdt_r:[A-Za-z0-9_]*' | sort -u
}

# agrees WHAT READER FILE [ARGUMENT...]: runs the reader and reports a failure unless its output agrees with the log. $said has a summary.
agrees() {
	local what=$1 reader=$2 file=$3 compared=$2
	case $reader in declared) reader=probe_trace ;; probe-trace) reader=probe_trace ;; esac
	: >"$T/log"
	: >"$T/out"
	said=$("read_$reader" "$file" "${@:4}"; python3 $LOGGED compare "$compared" "$SEED" "$T/log" "$T/out" $gdb_narrows 2>&1) && return
	wrong "$what: $compared: $said"
	tail -n 5 "$T/err" "$T/log" 2>/dev/null
	return 1
}
