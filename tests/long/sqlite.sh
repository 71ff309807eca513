#!/bin/bash
# SPDX-License-Identifier: MIT
# sqlite3 with probes in every function: its test suite (veryquick, 300,000 tests) has the same failures as without.
. tests/plugin/lib.sh
need readelf make tclsh
ls /usr/lib/*/tcl8.6/tclConfig.sh /usr/lib/tclConfig.sh >/dev/null 2>&1 || skip "needs tcl-dev"
debian_source sqlite3
cp -r "$source" "$T/source" || exit 1 # in a directory that each user can read
source=$T/source
COMPARE= # no comparison of code: the time goes to the package's own tests
probed '*'
# The suite must not run as root.
as=()
[ "$(id -u)" = 0 ] && as=(setpriv --reuid=65534 --regid=65534 --clear-groups)

suite() { # NAME OPTION...: runs the suite and writes its failures to NAME.failures
	local name=$1
	shift
	mkdir "$T/$name" "$T/$name/run" && cd "$T/$name" && chmod 777 run || exit 1
	{ "$source/configure" --enable-all --disable-editline --disable-readline CC="$GCC" CFLAGS="-O2 -w $*" &&
		make testfixture; } >"$T/log" 2>&1 || { tail -n 5 "$T/log" | cut -c1-300; fail "$name: does not build"; }
	cd run && "${as[@]}" ../testfixture "$source/test/veryquick.test" >"$T/$name.log" 2>&1 </dev/null
	grep -q ' errors out of ' "$T/$name.log" || { tail -n 5 "$T/$name.log"; fail "$name: the suite did not end"; }
	grep '^!Failures' "$T/$name.log" | tr ' ' '\n' | sort >"$T/$name.failures"
	grep ' errors out of ' "$T/$name.log"
}
suite probed "${with[@]}"
n=$(sites "$T/probed/testfixture" | wc -l)
echo "$n sites of $(names "$T/probed/testfixture" | grep -c __entry) functions"
[ "$n" -gt 20000 ] || fail "only $n sites"
unknown_operands "$T/probed/testfixture" && fail "it has operands that not all readers know"
[ -s "$T/probed.failures" ] || exit 0
suite plain
diff "$T/plain.failures" "$T/probed.failures" || fail "its failures differ from those without the plugin"
