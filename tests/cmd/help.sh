#!/bin/bash
# SPDX-License-Identifier: MIT
# Help, usage and manual page of each command have the same options, and the tests use each option.
. tests/lib.sh

COMMANDS="probe-list probe-enable probe-disable probe-stat probe-trace"
if [ -x "$B/bin/probe-export" ]; then
	COMMANDS+=" probe-export"
else
	part_skipped "probe-export was not built, because libmicrohttpd was missing"
fi
[ ! -x "$B/bin/probe-report" ] || COMMANDS+=" probe-report"

# options FILE: prints the options in the lines of FILE that begin with an option.
options() { sed -n 's/^ *\(-.*\)/ \1/p' "$1" | sed 's/   .*//' | grep -oE '(^|[ ,])--?[a-zA-Z?][a-z-]*' | tr -d ' ,' | sort -u; }
man_options() {
	sed -n '/^\.SH OPTIONS/,/^\.SH /p' "$1" | grep -A1 '^\.TP' | sed 's/\\f[BRIP]//g; s/\\-/-/g' | grep -- '^-' |
		grep -oE '(^|[ ,])--?[a-zA-Z?][a-z-]*' | tr -d ' ,' | sort -u
}

for c in $COMMANDS; do
	[ -x "$B/bin/$c" ] || fail "$c is not built"
	expect 0 "$c" --help
	echo "$out" >"$T/$c.help"
	options "$T/$c.help" >"$T/from-help"
	man_options "doc/man/$c.1" >"$T/from-man"
	[ "$(wc -l <"$T/from-help")" -ge 8 ] || fail "$c: cannot find the options in the help: $(xargs <"$T/from-help")"
	diff -u --label "$c --help" --label "$c.1" "$T/from-help" "$T/from-man" || fail "$c: help and manual page differ"
	expect 0 "$c" -?
	want "$c -?" "$(cat "$T/$c.help")" "$out"
	expect 0 "$c" --usage
	expect 0 "$c" --version
	want_like "$c --version" "$c (probepoint) [0-9]*.[0-9]*.[0-9]*" "$out"
	expect 0 "$c" --json --help
	want "$c --json --help" "$(cat "$T/$c.help")" "$out"
	# A test may use either form of an option, as in -p, --pid=PID.
	while read -r short long; do
		grep -hE -- "(^|[ \"'(])($short|$long)([ =\"')]|\$)" tests/*/*.sh | grep -q . || echo "$c $long" >>"$T/untried"
	done < <(sed -nE 's/^ +(-., |    )(--[a-z-]+).*/\1 \2/p' "$T/$c.help" | sed -E 's/^ +(--.*)/\1 \1/; s/, / /')
	grep -q "^\.TH ${c^^}" <(sed 's/\\-/-/g' "doc/man/$c.1") || fail "$c.1 has a wrong title"
	for section in NAME SYNOPSIS DESCRIPTION OPTIONS JSON "EXIT STATUS" EXAMPLES "SEE ALSO"; do
		grep -qx "\.SH $section" "doc/man/$c.1" || fail "$c.1 lacks section $section"
	done
done
[ ! -s "$T/untried" ] || fail "no test uses: $(cat "$T/untried")"
if have man && have groff; then
	for c in $COMMANDS; do
		expect 0 man --warnings -E UTF-8 -l -Tutf8 -Z "doc/man/$c.1"
		man --warnings -E UTF-8 -l -Tutf8 -Z "doc/man/$c.1" 2>"$T/warnings" >/dev/null
		[ ! -s "$T/warnings" ] || fail "$c.1: $(cat "$T/warnings")"
	done
else
	part_skipped "man or groff is not installed: the markup of the pages is not checked"
fi
