#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# The page of --html has the numbers of the other outputs, and refers to nothing outside of it. Names and values of the target
# stay text. A browser, if there is one, shows the page without an error and answers to clicks, keys and searches.
. tests/lib.sh
need python3
[ -x "$B/bin/probe-report" ] || skip "probe-report is not built"
SEED=${SEED:-$RANDOM}
echo "SEED=$SEED"
browser=
for name in chromium chromium-browser google-chrome; do [ "$browser" ] || ! have $name || browser=$name; done
[ "$browser" ] || part_skipped "the page in a browser: needs chromium"

# open_page PAGE TEXT...: the browser runs the page and tests/report/clicks.js, without errors, and shows the texts.
open_page() {
	local page=$1 text
	shift
	[ "$browser" ] || return 0
	{ sed '/^<\/body>$/,$d' "$page"; echo "<script>"; cat tests/report/clicks.js; echo "</script></body></html>"; } >"$T/clicked.html"
	timeout 250 $browser --headless=new --no-sandbox --disable-gpu --no-first-run --user-data-dir="$T/profile" --enable-logging=stderr \
		--window-size=1200,900 --virtual-time-budget=60000 --dump-dom "file://$T/clicked.html" >"$T/dom" 2>"$T/browser" ||
		fail "$browser ended with $?: $(tail -n 5 "$T/browser")"
	grep 'CONSOLE' "$T/browser" && fail "the page reported an error"
	grep -q 'data-tested="yes"' "$T/dom" || fail "the page did not answer to clicks: $(head -c 300 "$T/dom")"
	for text; do grep -qF "$text" "$T/dom" || fail "the page does not show '$text'"; done
}

# page TRACE: makes $T/page.html and compares it.
page() {
	expect 0 probe-report -q --html "$T/page.html" "$1"
	expect 0 probe-report --json "$1"
	echo "$out" >"$T/json"
	expect 0 probe-report -q --folded "$1"
	echo "$out" | grep -v 'records were lost' >"$T/folded"
	out=$(python3 tests/report/page.py "$T/page.html" "$T/json" "$T/folded" 2>&1) || fail "$1: $out"
	echo "$out"
}
for mode in plain flat,lost,unwind late,tail; do
	python3 tests/report/tree.py make "$T/$mode" "$T/truth" $SEED $mode || fail "seed $SEED, $mode: no trace"
	page "$T/$mode"
done
open_page "$T/page.html" 'Flame graph'

# ---- hostile names and values ----
cat >"$T/evil.c" <<'X'
#include <sys/prctl.h>
#include <sys/sdt.h>
int main(void)
{
	prctl(PR_SET_NAME, "</script><b>");
	for (int i = 0; i < 50; i++) {
		STAP_PROBE2(evil, call__entry, i, "<!--<script>alert(1)</script>");
		STAP_PROBE2(evil, call__return, i, "\"'\\\xff\n\x1b[31m<img src=x onerror=alert(2)>");
	}
	return 0;
}
X
"$CC" -O1 -Iinclude "$T/evil.c" -o "$T/evil" || fail "evil.c does not build"
expect 0 probe-trace -q -b agent --string arg1 -o "$T/evil-trace" 'evil:*' -- "$T/evil"
page "$T/evil-trace"
open_page "$T/page.html" 'evil:call__entry' '&lt;!--&lt;script&gt;alert(1)&lt;/script&gt;'
[ -z "$browser" ] || ! grep -q '<img' "$T/dom" || fail "a value became markup"

# ---- refusals ----
expect 2 probe-report --html - "$T/plain"
expect 1 probe-report --html "$T/none/page.html" "$T/plain"
want "why" "probe-report: cannot create '$T/none/page.html': No such file or directory" "$out"
if [ -w /dev/full ]; then
	expect 1 probe-report --html /dev/full "$T/plain"
	[[ $out = *"cannot write '/dev/full': No space left on device"* ]] || fail "/dev/full: $out"
fi

# ---- a million records ----
if [ "${PROBEPOINT_LONG-}" ]; then
	cat >"$T/many.c" <<-'X'
		#include <sys/sdt.h>
		#include <unistd.h>
		__attribute__((noinline)) static int call(int depth, int i)
		{
			STAP_PROBE2(many, call__entry, depth, i);
			int result = depth ? call(depth - 1, i * 7 + 1) : i;
			STAP_PROBE1(many, call__return, result);
			return result;
		}
		int main(void)
		{
			volatile int sum = 0;
			for (int i = 0; i < 90000; i++) {
				sum += call(5, i);
				if (i % 100 == 0)
					usleep(8000); /* so that nothing is lost */
			}
			return 0;
		}
	X
	"$CC" -O1 -Iinclude "$T/many.c" -o "$T/many" || fail "many.c does not build"
	expect 0 probe-trace -q -b agent -o "$T/many-trace" 'many:*' -- "$T/many"
	page "$T/many-trace"
	size=$(stat -c %s "$T/page.html")
	echo "$(jq .records "$T/json") records, $(jq .lost "$T/json") lost, page of $size bytes"
	[ "$(jq .records "$T/json")" -ge 1000000 ] || fail "not a million records"
	[ "$size" -lt 8000000 ] || fail "the page has $size bytes"
	SECONDS=0
	open_page "$T/page.html" 'longest of'
	echo "opened and used in $SECONDS s"
fi
