#!/bin/bash
# SPDX-License-Identifier: MIT
# A trace that is damaged, cut off, or whose writer was killed is read as far as it goes, and the report says what is missing. Other
# input is refused with a reason. Names with control characters do not reach the terminal, and no input crashes the command.
. tests/lib.sh
need babeltrace2 python3 jq
[ -x "$B/bin/probe-report" ] || skip "probe-report is not built"

export TMPDIR=$T/tmp
mkdir "$TMPDIR"

# ---- not a trace ----

mkdir "$T/empty" "$T/nothing"
expect 1 probe-report "$T/empty"
want_like "an empty directory" "*'$T/empty' is not a trace: it has no file 'metadata'*" "$out"
expect 1 probe-report "$T/missing"
want_like "a missing directory" "*cannot open '$T/missing': No such file or directory" "$out"
: >"$T/nothing/metadata"
expect 1 probe-report --json "$T/nothing"
want_like "empty metadata" '*cannot read *' "$(json .error <<<"$out")"
expect 2 probe-report
expect 2 probe-report "$T/empty" "$T/empty"
expect 2 probe-report --by=hour "$T/empty"
expect 2 probe-report --rows=x "$T/empty"
expect 2 probe-report --folded --json "$T/empty"
expect 2 probe-report --json --perfetto=- "$T/empty"

# ---- a trace that ends in the middle of a packet, or has a damaged one ----

# The stream of the second trace has packets of a thread.
SEED=${SEED:-17}
for number in 0 1; do
	trace=$T/trace$number
	python3 tests/report/tree.py make "$trace" "$T/truth" $SEED "$([ $number = 0 ] && echo plain || echo plain,threads)"
	[ $number = 0 ] && stream=stream_0 || stream=$(cd "$trace" && ls -S | grep 'stream_[1-9]' | head -n 1)
	size=$([ -z "$stream" ] || stat -c %s "$trace/$stream")
	[ "${size:-0}" -ge 16384 ] || { part_skipped "SEED=$SEED makes a trace without long streams of threads"; continue; }
	all=$(babeltrace2 "$trace" | wc -l)
	# events_of: the number of events in a trace whose stream is standard input.
	events_of() {
		rm -rf "$T/part" && cp -r "$trace" "$T/part"
		cat >"$T/part/$stream"
		[ -s "$T/part/$stream" ] || rm "$T/part/$stream"
		babeltrace2 "$T/part" 2>/dev/null | wc -l
	}
	rm -rf "$T/cut" && cp -r "$trace" "$T/cut"
	for cut in 1 4095 4097 $((size / 8192 * 4096 + 1)) $((size - 5000)); do
		head -c $((size - cut)) "$trace/$stream" >"$T/cut/$stream"
		expect 3 probe-report --json "$T/cut"
		want "records of a trace cut by $cut bytes" "$(head -c $(((size - cut) / 4096 * 4096)) "$trace/$stream" | events_of)" "$(json .records <<<"$out")"
		want_like "damage of a trace cut by $cut bytes" "'$T/cut/$stream' is damaged at 1 place: *" "$(jq -r '.damage[0]' <<<"$out")"
		want "lost records of a trace cut by $cut bytes" true "$(json .lost_unknown <<<"$out")"
	done
	# A packet of zeros.
	cp "$trace/$stream" "$T/cut/$stream"
	dd if=/dev/zero of="$T/cut/$stream" bs=4096 seek=1 count=1 conv=notrunc 2>/dev/null
	rest=$({ head -c 4096 "$trace/$stream"; tail -c +8193 "$trace/$stream"; } | events_of)
	expect 3 probe-report --json "$T/cut"
	want "records without a damaged packet" "$rest" "$(json .records <<<"$out")"
	[ "$rest" -lt "$all" ] || fail "the damaged packet has no events"
	want "uncertain calls around it" true "$(json '[.calls[].uncertain] | add > 0' <<<"$out")"
	expect 3 probe-report "$T/cut"
	want_like "the text of a damaged trace" "*0 records were lost, or more: parts of the trace are missing*4096 bytes are left out*" \
		"${out//, and more, whose number is unknown/, or more: parts of the trace are missing}"
	# A packet that says that it is of another class of streams.
	cp "$trace/$stream" "$T/cut/$stream"
	printf "\\x$(printf %02x $((1 - number)))" | dd of="$T/cut/$stream" bs=1 seek=$((4096 + 20)) conv=notrunc 2>/dev/null
	expect 3 probe-report --json "$T/cut"
	want "records without a packet of another class" "$rest" "$(json .records <<<"$out")"
	want "copies that are left" "" "$(ls "$TMPDIR")"
done
trace=$T/trace0
all=$(babeltrace2 "$trace" | wc -l) size=$(stat -c %s "$trace/stream_0") stream=stream_0
rm -rf "$T/cut" && cp -r "$trace" "$T/cut"

# This metadata crashes libbabeltrace2 2.0: a clock without a frequency, and two fields of the same name. Later versions may read it.
[ -z "$SAN" ] || part_skipped "metadata that crashes libbabeltrace2: a sanitizer reports the crash first"
for edit in '/freq = /d' 's/^\(\t\ts64 _id;\)$/\1\n\1/'; do
	[ -z "$SAN" ] || break
	sed "$edit" "$trace/metadata" >"$T/cut/metadata"
	out=$(probe-report --json "$T/cut" 2>&1)
	status=$?
	[ $status -lt 4 ] || fail "metadata edited by $edit: status $status: $out"
	[ $status != 1 ] || want_like "metadata edited by $edit" "cannot read the trace: *" "$(json .error <<<"$out" | tr -d '"')"
done
cp "$trace/metadata" "$T/cut/metadata"

# A hole of 8 TiB, and a packet whose size includes it, take neither time nor space.
cp "$trace/stream_0" "$T/cut/stream_0"
if truncate -s 8T "$T/cut/stream_0" 2>/dev/null; then
	expect 3 timeout -s KILL 60 probe-report --json "$T/cut"
	want "records before a hole" "$all" "$(json .records <<<"$out")"
	python3 - "$T/cut/stream_0" "$size" <<-'P'
		import struct, sys
		with open(sys.argv[1], "r+b") as f:
		    f.seek(int(sys.argv[2]) - 4096 + 48) # behind magic, uuid, stream, begin, end, content
		    f.write(struct.pack("<Q", 8 * ((8 << 40) - int(sys.argv[2]) + 4096)))
	P
	expect 3 timeout -s KILL 60 probe-report --json "$T/cut"
	want "records before a packet with a hole" "$(head -c $((size - 4096)) "$trace/stream_0" | events_of)" "$(json .records <<<"$out")"
else
	part_skipped "a hole of 8 TiB: the file system refuses it"
fi

# ---- a writer that was killed ----

if [ -x "$B/tests/unit/ctf" ]; then
	mkfifo "$T/begun"
	"$B/tests/unit/ctf" endless "$T/killed" >"$T/begun" &
	writer=$!
	read -r _ <"$T/begun"
	sleep 0.3
	kill -KILL $writer
	wait $writer 2>/dev/null
	expect 0 probe-report --json "$T/killed"
	want "records of a killed writer" "$(babeltrace2 "$T/killed" | wc -l)" "$(json .records <<<"$out")"
	all_killed=$(json .records <<<"$out")
	took probe-report --json "$T/killed" >/dev/null
	# The time until the interrupt follows the speed of the machine.
	for ((try = 0, part = 0; try < 100 && !part; try++)); do
		env --default-signal=INT probe-report --json "$T/killed" >"$T/out" 2>/dev/null &
		report=$!
		sleep "$(spread "$us")"
		kill -INT $report 2>/dev/null
		wait $report
		case $? in
		3) want "the report of an interrupted run says so" true "$(json ".interrupted and .records <= $all_killed" "$T/out")" && part=1 ;;
		0) us=$((us * 3 / 4)) ;;
		130) us=$((us * 4 / 3)) ;;
		*) fail "an interrupted report: $(cat "$T/out")" ;;
		esac
	done
	[ $part = 1 ] || fail "no report was interrupted in 100 runs, the last of $us us"
else
	part_skipped "a killed writer: the unit tests are not built"
fi

# ---- traces of other tools, and several traces ----

if babeltrace2 "$trace" -o ctf -w "$T/other" >/dev/null 2>&1; then
	expect 0 probe-report --json "$T/other"
	want "records of a trace that babeltrace2 has written" "$all" "$(json .records <<<"$out")"
	mkdir "$T/both"
	cp -r "$trace" "$T/both/a"
	sed 's/hostname = "box"/hostname = "jar"/' -i "$T/both/a/metadata"
	cp -r "$trace" "$T/both/b"
	expect 0 probe-report --json "$T/both"
	want "records of two traces" $((2 * all)) "$(json .records <<<"$out")"
	want "hosts of two traces" '["box","jar"]' "$(json '[.processes[].host] | sort' <<<"$out")"
	want "calls of two traces" $((2 * $(jq '.calls | length' "$T/truth"))) "$(json '[.calls[].ended] | add' <<<"$out")"
else
	fail "babeltrace2 cannot copy the trace"
fi

# ---- hostile names and bytes ----

cp -r "$trace" "$T/context"
sed 's/clock_ns timestamp_begin;/clock_ns timestamp_begYn;/' -i "$T/context/metadata"
probe-report --json "$T/context" >"$T/out"
status=$?
[ $status -le 3 ] || fail "a packet context with another field: status $status"

cp -r "$trace" "$T/names"
sed 's/app:f0__/app:\\033[31m;\\n\&<f0__/' -i "$T/names/metadata"
expect 0 probe-report "$T/names"
want "escape characters in the text" 0 "$(grep -c $'\033' <<<"$out")"
want_like "a name with escapes" '*app:\\x1b\[31m;\\n&<f0__entry*' "$out"
expect 0 probe-report --folded "$T/names"
want "lines of stacks that are not PATH NUMBER" 0 "$(grep -cvE '^[^ ]+ [0-9]+$' <<<"$out")"
expect 0 probe-report -q --perfetto="$T/chrome" "$T/names"
want "names in Chrome's JSON" true "$(json '[.traceEvents[].name // ""] | any(. == "app:\u001b[31m;\n&<f0")' "$T/chrome")"
python3 - "$T" $SEED "${PROBEPOINT_LONG-}" <<'P' || fail "a damaged trace ends probe-report in another way"
import os, random, shutil, subprocess, sys
root, seed, long = sys.argv[1:]
print("SEED=%s" % seed)
rng = random.Random(int(seed))
seen = {}
for number in range(600 if long else 40):
    shutil.rmtree(root + "/fuzz", ignore_errors=True)
    source = root + rng.choice(("/trace0", "/trace1"))
    shutil.copytree(source, root + "/fuzz")
    name = root + "/fuzz/" + rng.choice(["metadata"] + [name for name in os.listdir(source) if name.startswith("stream_")])
    data = bytearray(open(name, "rb").read())
    for _ in range(rng.choice((1, 1, 3, 50))):
        at = rng.randrange(len(data) or 1)
        data = data or bytearray(1)
        what = rng.random()
        if what < 0.5:
            data[at] = rng.randrange(256)
        elif what < 0.8:
            data[at:at + 8] = bytes(rng.choice((0, 255, 127, 128)) for _ in range(8))
        else:
            del data[at:at + rng.choice((1, 4096, 100))]
    open(name, "wb").write(data)
    done = subprocess.run(["probe-report", "--json", "--perfetto=" + root + "/fuzzed", root + "/fuzz"], capture_output=True, timeout=60)
    seen[done.returncode] = seen.get(done.returncode, 0) + 1
    if done.returncode not in (0, 1, 3):
        shutil.copytree(root + "/fuzz", "/tmp/probe-report-crash", dirs_exist_ok=True)
        sys.exit("round %d: status %d: %s" % (number, done.returncode, done.stderr))
print("statuses:", seen)
P

# ---- interrupts and outputs ----

expect 1 probe-report --perfetto=/missing/file "$trace"
want_like "a file that cannot be created" "*cannot create '/missing/file': No such file or directory" "$out"
expect 1 probe-report -q --perfetto=/dev/full "$trace"
want_like "a full disk" "*cannot write '/dev/full': No space left on device*" "$out"
expect 0 sh -c 'probe-report -q --perfetto=- "$1" | jq -e ".traceEvents | length > 100" >/dev/null' sh "$trace"
want "escapes of --usage and --help" "" "$(probe-report --help | grep $'\033')"
