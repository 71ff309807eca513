#!/bin/bash
# SPDX-License-Identifier: MIT
# limit: 1800 7200
# probe-report reads a trace of 1 GB in at most 200 MB of memory, with all of its outputs. Most records of such a trace are in
# packets of threads.
. tests/lib.sh
need python3
[ -x "$B/bin/probe-report" ] || skip "probe-report is not built"
python3 tests/report/tree.py make "$T/trace" "$T/truth" "${SEED:-17}" plain,threads || fail "no trace"
records=$(python3 tests/report/tree.py grow-threads "$T/trace" "${BYTES:-1073741824}") || fail "the trace does not grow"
# measured LABEL COMMAND...: runs the command and prints its time and its largest resident set.
measured() {
	local label=$1
	shift
	python3 - "$label" "$records" "$@" <<-'P' || fail "$label uses too much memory, or fails"
		import resource, subprocess, sys, time
		begin = time.monotonic()
		status = subprocess.run(sys.argv[3:], stdout=subprocess.DEVNULL).returncode
		seconds = time.monotonic() - begin
		usage = resource.getrusage(resource.RUSAGE_CHILDREN)
		print("%s: %s records, %.1f s, CPU %.1f s, %.0f MB" % (sys.argv[1], sys.argv[2], seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024))
		sys.exit(status or usage.ru_maxrss > 200 * 1024)
	P
}
measured "text" probe-report "$T/trace"
measured "JSON" probe-report --json "$T/trace"
measured "page" probe-report --html="$T/page.html" "$T/trace"
measured "Chrome's JSON" probe-report --perfetto=/dev/null "$T/trace"
measured "stacks" probe-report --folded "$T/trace"
want "records" "$records" "$(probe-report --json "$T/trace" | jq .records)"

# A trace of many threads and processes: tables are full.
rm -r "$T/trace"
python3 tests/report/tree.py make "$T/trace" "$T/truth" "${SEED:-17}" plain,threads || fail "no trace"
records=$(python3 tests/report/tree.py grow-threads "$T/trace" $((${BYTES:-1073741824} / 4)) wide) || fail "the trace does not grow"
measured "JSON of many processes" probe-report --json "$T/trace"
measured "page of many processes" probe-report --html="$T/page.html" "$T/trace"

# A trace whose records are all in mixed packets.
rm -r "$T/trace"
python3 tests/report/tree.py make "$T/trace" "$T/truth" "${SEED:-17}" plain || fail "no trace"
records=$(python3 tests/report/tree.py grow "$T/trace" $((${BYTES:-1073741824} / 4))) || fail "the trace does not grow"
measured "text of a mixed trace" probe-report "$T/trace"
