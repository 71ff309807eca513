#!/bin/bash
# SPDX-License-Identifier: MIT
# Invalid command lines give exit status 2, an error message that names the wrong argument, and nothing on standard
# output. With --json the message is an object on standard output. The commands must fail before they need privilege.
. tests/lib.sh
need jq

# wrong LIKE COMMAND...: the command line is invalid, and the error message is like LIKE.
wrong() {
	local like=$1 status
	shift
	"$@" >"$T/out" 2>"$T/err" </dev/null
	status=$?
	want "status of $*" 2 $status
	[ ! -s "$T/out" ] || fail "$*: prints to standard output: $(cat "$T/out")"
	want_like "$*" "$like" "$(head -n 1 "$T/err")"
	local command=$1
	shift
	"$command" --json "$@" >"$T/out" 2>"$T/err" </dev/null
	status=$?
	want "status of $command --json $*" 2 $status
	[ ! -s "$T/err" ] || fail "$command --json $*: prints to standard error: $(cat "$T/err")"
	want "keys of $command --json $*" '["error"]' "$(json keys "$T/out")"
	want "lines of $command --json $*" 1 "$(wc -l <"$T/out")"
}

for c in probe-list probe-enable probe-disable probe-stat probe-trace; do
	wrong "*unrecognized option '--nonsense'" $c --nonsense
	wrong "*invalid option -- 'Z'" $c -Z
done
for c in probe-list probe-enable probe-disable probe-trace; do
	for pid in '' 0 -5 x 1x 99999999999 4294967297 2147483648; do
		wrong "$c: invalid pid '$pid'" $c --pid="$pid" 'a:*'
	done
	wrong "*option requires an argument -- 'p'" $c -p
done
for c in probe-enable probe-trace; do
	wrong "$c: no PATTERN given; *" $c -p 1
	wrong "$c: no PATTERN given; *" $c -f /bin/true
	wrong "$c: no PATTERN given; *" $c -- true
	wrong "$c: no process or file given; *" $c 'a:*'
	wrong "$c: no command given after '--'" $c 'a:*' --
	wrong "$c: invalid pattern ''*" $c -p 1 ''
	wrong "$c: invalid pattern ':'*" $c -p 1 :
	wrong "$c: invalid pattern 'a:'*" $c -p 1 'ok:*' a:
	wrong "$c: invalid pattern ':b'*" $c -p 1 :b
	wrong "$c: invalid pattern 'func:'*" $c -p 1 func:
	wrong "$c: -f: empty file name" $c -f '' 'a:*'
	wrong "$c: no backend 'magic'*" $c -b magic -p 1 'a:*'
	wrong "$c: no backend ''*" $c --backend= -p 1 'a:*'
done
wrong "probe-enable: no PATTERN given; *" probe-enable
wrong "probe-enable: --check and --follow need --config FILE*" probe-enable --check

for name in a/b ../x /x '' . .. .a -a 'a b' $'a\nb' "$(printf 'x%.0s' {1..65})"; do
	for c in probe-disable probe-stat probe-trace "probe-enable -f /bin/true a:*"; do
		wrong "*invalid session name*" $c --session="$name"
	done
done

wrong "probe-list: no file or process given; *" probe-list
wrong "probe-list: no file or process given; *" probe-list -m 'a:*'
wrong "probe-list: invalid pattern ''*" probe-list -m '' /bin/true
wrong "probe-list: empty file name" probe-list ''
wrong "probe-list: --sessions cannot be combined with *" probe-list --sessions /bin/true
wrong "probe-list: --sessions cannot be combined with *" probe-list --sessions -m 'a:*'
wrong "probe-disable: --all cannot be combined with *" probe-disable --all 'a:*'
wrong "probe-disable: --all cannot be combined with *" probe-disable --all -s x
wrong "probe-disable: --all cannot be combined with *" probe-disable --all -p 1
for i in 0 -1 x '' 1x nan inf 1e300 0.0001; do
	wrong "probe-stat: --interval: invalid interval '$i'; *" probe-stat --interval="$i"
done
for n in 0 -1 x '' 1.5 99999999999999999999; do
	wrong "probe-stat: --times: invalid number '$n'" probe-stat --times="$n"
	wrong "probe-trace: --count: invalid number '$n'" probe-trace --count="$n"
done
for n in 0 -1 x ''; do
	wrong "probe-stat: --top: invalid number '$n'" probe-stat --top="$n"
done
# Several pids, as pidof prints them.
for c in "probe-list" "probe-enable" "probe-disable" "probe-stat" "probe-trace"; do
	wrong "$c: '2' is a pid, not a *; separate pids by commas, as in -p 1,2 or *" $c -p 1 2 3
	wrong "$c: invalid pid 'x'" $c -p 1,x 'a:*'
	wrong "$c: invalid pid ','" $c -p , 'a:*'
done
wrong "probe-trace: --output: empty directory name" probe-trace --output=
wrong "probe-trace: -s cannot be combined with a PATTERN*" probe-trace -s x -p 1 'a:*'

# Control characters in an argument are escaped.
probe-list $'/\e[31m\n\x9b' 2>"$T/err"
want "control characters printed" 0 "$(LC_ALL=C grep -c $'[\e\x9b]' "$T/err")"
want "lines printed" 1 "$(wc -l <"$T/err")"
LC_ALL=C probe-list $'/caf\xc3\xa9' 2>"$T/err"
grep -qF 'caf\xc3\xa9' "$T/err" || fail "UTF-8 is not escaped in the C locale: $(cat "$T/err")"
probe-list $'/caf\xc3\xa9 \xe2\x80\xae' 2>"$T/err"
grep -qF $'caf\xc3\xa9 \\xe2\\x80\\xae' "$T/err" || fail "a direction override is not escaped: $(cat "$T/err")"
