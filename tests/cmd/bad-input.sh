#!/bin/bash
# SPDX-License-Identifier: MIT
# Bad files, processes that do not exist, and missing privilege give an error message and an exit status, and leave
# nothing armed.
. tests/lib.sh
. tests/cmd/lib.sh
need_kernel
need setpriv objcopy
build_target
build_library
know_sites
start p
own=$(sessions | wc -l)
for_others
rm "$T/product/lib/libprobepoint-agent.so" # so that the agent cannot be used
build_once "$T/deny" "$CC" -O1 tests/cmd/deny.c || fail "deny does not build"

# refused STATUS LIKE COMMAND...: the command fails with STATUS and a message like LIKE, as text and as JSON, and arms
# nothing.
refused() {
	local wanted=$1 like=$2 command out status
	shift 2
	out=$("$@" 2>&1 >/dev/null)
	status=$?
	want "status of $*" "$wanted" $status
	want_like "$*" "$like" "$out"
	[[ $out != *$'\e'* ]] || fail "$*: the message has an escape character"
	out=$("$@" --json 2>"$T/err")
	status=$?
	want "status of $* --json" "$wanted" $status
	want "stderr of $* --json" "" "$(cat "$T/err")"
	want "error of $* --json" '"string"' "$(json '.error|type' <<<"$out")"
	[ "$slow" = 1 ] || return 0 # at the end only
	want "sessions after $*" "$own" "$(sessions | wc -l)"
	want "bytes after $*" "3 90" "$(site_bytes "$p")"
}

# ---- files ----
printf 'not an ELF file\n' >"$T/text"
: >"$T/empty"
mkdir "$T/folder"
mkfifo "$T/fifo"
head -c 5000 "$T/target" >"$T/cut"
objcopy --remove-section .note.stapsdt "$T/target" "$T/no-notes" 2>/dev/null
commands=(probe-list "probe-enable -s $S app:tick -f" "probe-trace app:tick -f")
[ "$slow" = 1 ] || unset "commands[2]"
for c in "${commands[@]}"; do
	refused 1 "*$T/not-there*No such file or directory*" $c "$T/not-there"
	refused 1 "*$T/text*not*ELF*" $c "$T/text"
	refused 1 "*$T/empty*" $c "$T/empty"
	refused 1 "*$T/folder*" $c "$T/folder"
	refused 1 "*$T/fifo*" timeout 120 $c "$T/fifo"
	refused 1 "*/dev/zero*" timeout 120 $c /dev/zero
	refused 1 "*/dev/null*" timeout 120 $c /dev/null
	refused 1 "*$T/cut*" $c "$T/cut"
done
expect_text 0 probe-list "$T/no-notes" <<E
probe-list: '$T/no-notes' has no probes
E
refused 1 "*no probe matches 'app:tick': '$T/no-notes' has no probes*" probe-enable -s "$S" -f "$T/no-notes" app:tick
expect 0 probe-list -q "$T/no-notes"
want "output with -q" "" "$out"
expect 0 probe-list --json "$T/no-notes"
want "JSON without probes" '{"probes":[]}' "$(json . <<<"$out")"
expect 3 probe-list -q "$T/target" "$T/text"
want_like "output for a good and a bad file" "*$T/text*app:tick*" "$out"
expect 3 probe-list --json "$T/text" "$T/target"
want "JSON for a bad and a good file" '[3,"string"]' "$(json '[(.probes|length),(.error|type)]' <<<"$out")"

# A file that is cut anywhere, or has any byte of its notes changed, gives an error or fewer probes, but never a crash.
size=$(stat -c %s "$T/target")
cuts=$((slow > 1 ? 11 : 37))
[ -z "${PROBEPOINT_LONG-}" ] || cuts=97
for ((n = 0; n < size; n += size / cuts + 1)); do
	head -c $n "$T/target" >"$T/cut"
	probe-list --json "$T/cut" >"$T/out" 2>&1
	[ $? -le 3 ] || fail "cut at $n: $(cat "$T/out")"
	json . "$T/out" >/dev/null || fail "cut at $n: invalid JSON: $(cat "$T/out")"
done
read -r at length < <(readelf -SW "$T/target" | sed 's/\[ */[/' | awk '$2 == ".note.stapsdt" { print "0x" $5, "0x" $6 }')
at=$((at)) length=$((length))
[ $length -gt 0 ] || fail "the target has no notes"
damaged=0 step=$((slow > 1 ? 61 : 13))
[ -z "${PROBEPOINT_LONG-}" ] || step=1
for ((i = 0; i < length; i += step)); do
	for byte in '\x00' '\xff'; do
		cp "$T/target" "$T/damaged"
		printf "$byte" | dd of="$T/damaged" bs=1 seek=$((at + i)) conv=notrunc 2>/dev/null
		probe-list --json "$T/damaged" >"$T/out" 2>&1
		status=$?
		[ $status -le 3 ] || fail "byte $i: status $status: $(cat "$T/out")"
		json . "$T/out" >/dev/null || fail "byte $i: invalid JSON: $(cat "$T/out")"
		[ $status != 3 ] || damaged=$((damaged + 1))
	done
done
[ $damaged -gt $((slow > 1 ? 0 : 1)) ] || fail "only $damaged damaged files are reported"
# A note whose size exceeds the section does not hide the others, and sets the exit status.
cp "$T/target" "$T/damaged"
printf '\xff\xff\xff\x7f' | dd of="$T/damaged" bs=1 seek=$((at + 4)) conv=notrunc 2>/dev/null
expect 3 probe-list "$T/damaged"
want_like "message about the note" "probe-list: *$T/damaged*" "$out"

# ---- another CPU: probes are listed, but cannot be armed ----
if [ "$(uname -m)" = x86_64 ]; then
	one_note 4 old cpu -4@%eax >"$T/narrow.s"
	as --32 "$T/narrow.s" -o "$T/narrow.o" && ld -m elf_i386 "$T/narrow.o" -o "$T/narrow" || fail "no 32-bit file"
	printf '\050\000' | dd of="$T/narrow" bs=1 seek=18 conv=notrunc 2>/dev/null # e_machine: EM_ARM
	expect 0 probe-list -q "$T/narrow"
	want "ARM file listed" "  old:cpu      1  -      -" "$out"
	refused 1 "*probes in 32-bit and 64-bit x86 programs*" probe-enable -s "$S" -f "$T/narrow" old:cpu
else
	part_skipped "a file for another CPU: its assembler is that of x86-64"
fi

# ---- processes ----
sleep 0 &
gone=$!
wait $gone
refused 1 "*pid $gone: *" probe-list -p $gone
refused 1 "*pid $gone: *" probe-enable -s "$S" -p $gone 'app:*'
refused 1 "*pid $gone: *" probe-trace -p $gone 'app:*'
sh -c 'sleep 0 & exec sleep 60' & # a zombie counts as ended
parent=$!
wait_for 20 sh -c "grep -q '^State:.Z' /proc/\$(pgrep -P $parent)/status"
zombie=$(pgrep -P $parent)
refused 1 "*$zombie*" probe-enable -s "$S" -p "$zombie" 'app:*'
kill $parent
# A kernel thread maps no files. A PID namespace has none.
kernel_thread=$(pgrep -x kthreadd)
if [ "$kernel_thread" ]; then
	refused 1 "*no probe matches*maps no files*" probe-enable -s "$S" -p "$kernel_thread" 'app:*'
else
	part_skipped "a kernel thread: this PID namespace has none"
fi

# ---- without privilege ----
nobody "$T/product/bin/probe-list" "$T/target" >/dev/null 2>&1 || fail "user nobody cannot list a readable file"
# With a state directory of its own, so that agents of other processes of that user are not visible.
mkdir -m 700 "$T/nobody" && chown 65534:65534 "$T/nobody" || fail "no state directory"
as_nobody() { nobody env XDG_RUNTIME_DIR="$T/nobody" "$T/product/bin/$1" "${@:2}"; }
refused 1 "*$p*" as_nobody probe-list -p "$p"
refused 1 "*$p*" as_nobody probe-enable -p "$p" 'app:*'
refused 1 "*CAP_BPF*" as_nobody probe-enable -f "$T/target" 'app:*'
refused 1 "*CAP_BPF*" as_nobody probe-trace -f "$T/target" 'app:*'
as_nobody_command() { as_nobody probe-enable "$@" -f "$T/target" 'app:*' -- touch "$T/open/ran"; }
mkdir -m 777 "$T/open"
refused 125 "*CAP_BPF*" as_nobody_command
[ ! -e "$T/open/ran" ] || fail "the command ran"
chmod 600 "$T/lib.so"
refused 1 "*$T/lib.so*Permission denied*" as_nobody probe-list "$T/lib.so"
expect 0 probe-enable -q -s "$S" -f "$T/lib.so" lib:call
# Sessions of other users are invisible and stay unchanged.
for c in probe-disable probe-stat probe-trace; do
	expect 1 as_nobody $c -s "$S"
	want_like "$c for another user" "$c: *'$S'*" "$out"
done
expect 0 as_nobody probe-list -v "$T/target"
want "sessions that user nobody sees" 0 "$(as_nobody probe-list --sessions -q 2>/dev/null | grep -c "$S")"
has_session "$S" || fail "user nobody disarmed the session"
expect 0 probe-disable -q -s "$S"

# ---- missing system calls ----
refused 1 "*" "$T/deny" bpf perf_event_open -- probe-enable -s "$S" -f "$T/target" app:tick
refused 1 "*" "$T/deny" bpf -- probe-trace -f "$T/target" app:tick
refused 1 "*" "$T/deny" pidfd_open -- probe-enable -s "$S" -p "$p" app:tick

# ---- a process without agent ----
refused 1 "*agent*" probe-enable -s "$S" -b agent -p "$p" 'app:*'
want "sessions at the end" "$own" "$(sessions | wc -l)"
want "bytes at the end" "3 90" "$(site_bytes "$p")"
stop p
