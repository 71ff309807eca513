#!/bin/bash
# SPDX-License-Identifier: MIT
# Command lines that cannot be: status 2, nothing on stdout, a reason that names the culprit; with --json the
# reason as an object. Needs no privilege, and must not even look for any.
. tests/lib.sh
need jq

wrong() {
	local like=$1 status
	shift
	"$@" >"$T/out" 2>"$T/err" </dev/null
	status=$?
	want "status of $*" 2 $status
	[ ! -s "$T/out" ] || fail "$*: says on stdout: $(cat "$T/out")"
	want_like "$*" "$like" "$(head -n 1 "$T/err")"
	local command=$1
	shift
	"$command" --json "$@" >"$T/out" 2>"$T/err" </dev/null
	status=$?
	want "status of $command --json $*" 2 $status
	[ ! -s "$T/err" ] || fail "$command --json $*: says on stderr: $(cat "$T/err")"
	want "keys of $command --json $*" '["error"]' "$(json keys "$T/out")"
	want "lines of $command --json $*" 1 "$(wc -l <"$T/out")"
}

for c in probe-list probe-enable probe-disable probe-stat probe-trace; do
	wrong "*unrecognized option '--nonsense'" $c --nonsense
	wrong "*invalid option -- 'Z'" $c -Z
done
for c in probe-list probe-enable probe-disable probe-trace; do
	for pid in '' 0 -5 x 1x 99999999999 4294967297 2147483648; do
		wrong "$c: '$pid' is no process id" $c --pid="$pid" 'a:*'
	done
	wrong "*option requires an argument -- 'p'" $c -p
done
for c in probe-enable probe-trace; do
	wrong "$c: which probes? *" $c -p 1
	wrong "$c: which probes? *" $c -f /bin/true
	wrong "$c: which probes? *" $c -- true
	wrong "$c: where? *" $c 'a:*'
	wrong "$c: there is no command behind --" $c 'a:*' --
	wrong "$c: invalid pattern ''*" $c -p 1 ''
	wrong "$c: invalid pattern ':'*" $c -p 1 :
	wrong "$c: invalid pattern 'a:'*" $c -p 1 'ok:*' a:
	wrong "$c: invalid pattern ':b'*" $c -p 1 :b
	wrong "$c: invalid pattern 'func:'*" $c -p 1 func:
	wrong "$c: -f needs a file*" $c -f '' 'a:*'
	wrong "$c: no backend 'magic'*" $c -b magic -p 1 'a:*'
	wrong "$c: no backend ''*" $c --backend= -p 1 'a:*'
done
wrong "probe-enable: which probes? *" probe-enable
wrong "probe-enable: *unrecognized option '--check'" probe-enable --check

for name in a/b ../x /x '' . .. .a -a 'a b' $'a\nb' "$(printf 'x%.0s' {1..65})"; do
	for c in probe-disable probe-stat probe-trace "probe-enable -f /bin/true a:*"; do
		wrong "*invalid session name*" $c --session="$name"
	done
done

wrong "probe-list: whose probes? *" probe-list
wrong "probe-list: whose probes? *" probe-list -m 'a:*'
wrong "probe-list: invalid pattern ''*" probe-list -m '' /bin/true
wrong "probe-list: a file's name is empty" probe-list ''
wrong "probe-list: --sessions goes with *" probe-list --sessions /bin/true
wrong "probe-list: --sessions goes with *" probe-list --sessions -m 'a:*'
wrong "probe-disable: --all takes no *" probe-disable --all 'a:*'
wrong "probe-disable: --all takes no *" probe-disable --all -s x
wrong "probe-disable: --all takes no *" probe-disable --all -p 1
for i in 0 -1 x '' 1x nan inf 1e300 0.0001; do
	wrong "probe-stat: '$i' is no interval*" probe-stat --interval="$i"
done
for n in 0 -1 x '' 1.5 99999999999999999999; do
	wrong "probe-stat: '$n' is no number of times" probe-stat --times="$n"
	wrong "probe-trace: '$n' is no number of records" probe-trace --count="$n"
done
for n in 0 -1 x ''; do
	wrong "probe-stat: --top: invalid number '$n'" probe-stat --top="$n"
done
# pids as pidof prints them
for c in "probe-list" "probe-enable" "probe-disable" "probe-stat" "probe-trace"; do
	wrong "$c: '2' is a pid where a * is expected: separate several pids by commas, as in -p 1,2 or *" $c -p 1 2 3
	wrong "$c: 'x' is no process id" $c -p 1,x 'a:*'
	wrong "$c: ',' is no process id" $c -p , 'a:*'
done
wrong "probe-trace: -o needs a folder*" probe-trace --output=
wrong "probe-trace: a PATTERN makes a session of its own*" probe-trace -s x -p 1 'a:*'

# A hostile argument reaches the terminal escaped.
probe-list $'/\e[31m\n\x9b' 2>"$T/err"
want "escaped" 0 "$(LC_ALL=C grep -c $'[\e\x9b]' "$T/err")"
want "one line" 1 "$(wc -l <"$T/err")"
LC_ALL=C probe-list $'/caf\xc3\xa9' 2>"$T/err"
grep -qF 'caf\xc3\xa9' "$T/err" || fail "UTF-8 on a terminal without: $(cat "$T/err")"
probe-list $'/caf\xc3\xa9 \xe2\x80\xae' 2>"$T/err"
grep -qF $'caf\xc3\xa9 \\xe2\\x80\\xae' "$T/err" || fail "a turn of direction passed: $(cat "$T/err")"
