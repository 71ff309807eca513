#!/bin/bash
# SPDX-License-Identifier: MIT
# probe-trace --for ends on a program that hits all the time: the recording ends for good, and nothing is printed forever.
. tests/lib.sh
. tests/agent/lib.sh

printf '#include <sys/sdt.h>\nint main(void) { for (long i = 0;; i++) STAP_PROBE1(hot, it, i); }\n' |
	"$CC" -O2 -Iinclude -xc - -o "$T/hot" || fail "does not compile"
LD_PRELOAD=$AGENT "$T/hot" &
hot=$!
at_end "kill -9 $hot 2>/dev/null"
wait_for 10 probe-list -p $hot -m 'hot:*'
timeout 60 probe-trace -b agent -p $hot --buffer 256K --for 300ms hot:it >"$T/out" 2>"$T/err" || fail "status $?: $(cat "$T/err")"
want_like "summary" "*recorded, *lost*" "$(cat "$T/err")"
want "lines" "$(sed -n 's/.*: \([0-9]*\) recorded.*/\1/p' "$T/err")" "$(wc -l <"$T/out")"
