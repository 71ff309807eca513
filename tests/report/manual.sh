#!/bin/bash
# SPDX-License-Identifier: MIT
# The example of probe-report(1) prints what the page shows, except for times, addresses, and the order of values.
. tests/lib.sh
. tests/kernel/lib.sh
need_kernel
need man groff col
[ -x "$B/bin/probe-report" ] || skip "probe-report is not built"
[ -x "$B/examples/weblog" ] || skip "the examples are not built"

# shape: replaces what differs from run to run.
shape() {
	sed -E 's/ +$//; s/[0-9]+\.[0-9]+ s from .*/T/; s/[0-9.]+(ns|us|ms|s)\>/T/g; s/0x[0-9a-f]+/A/; s/[▁▂▃▄▅▆▇█]+ *$/O/; s/^( *)[0-9]+( +[0-9.]+%  )/\1N\2/' |
		sed -E 's/^(weblog:[a-z_]+ +[0-9]+) +[0-9]+  O/\1 R O/; s/N +[0-9.]+%  (A|"\/.*")$/V/; s/N +[0-9.]+%  \(other\)/N (other)/; s/ +/ /g; s/^ //'
}
sed -n '/^\.\\" output: weblog/,/^\.\\" end/p' doc/man/probe-report.1 | sed '/^\.\\"/d; /^\.nf/d; /^\.fi/d; s/\\-/-/g; s/\\e/\\/g' | shape >"$T/page"
[ "$(wc -l <"$T/page")" -gt 10 ] || fail "the page has no output"
grep -q "^probe.*-trace .*weblog:find_route__\*.*-n 1000" doc/man/probe-report.1 || fail "the page has another command"
probe-trace -q -o "$T/trace" 'weblog:find_route__*' -- "$B/examples/weblog" -n 1000 -r 0 >/dev/null || fail "probe-trace ended with $?"
probe-report "$T/trace" | shape >"$T/printed"
diff -u --label page --label printed "$T/page" "$T/printed" || fail "probe-report(1) shows other output"
