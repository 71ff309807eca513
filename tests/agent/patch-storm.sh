#!/bin/bash
# SPDX-License-Identifier: MIT
# Arms and disarms random subsets of 1000 sites under four busy threads and a signal handler: all functions return
# correct results, points that are always armed have exact counts, and no record is torn.
. tests/lib.sh
. tests/agent/lib.sh

seconds=3
[ "${PROBEPOINT_LONG-}" ] && seconds=60
agent_build storm -O1 tests/agent/storm-asm.c
target "$T/storm" 4
poke arm $S 2 -p $pid "$T/storm" app:always
poke arm $S 3 -p $pid "$T/storm" app:handler 'arg0 > 0'
want "armed" "attachment 2 armed 1 pending 0 refused 0
attachment 3 armed 2 pending 0 refused 0" "$(rescan)"
say go
reads $((seconds * 1000)) quiet
poke storm $pid $S "$T/storm" 'app:[rfv]*' $seconds $$ >"$T/storm.out" || fail "$(cat "$T/storm.out")"
say stop
wait $reader || fail "a record that cannot be: $(tail -1 "$T/records")"
echo "$said; $(tail -1 "$T/storm.out"); $(counts 2)"
want "wrong results" 0 "$(sed 's/.*wrong //' <<<"$said")"
want "hits of points that are always armed" "$(field always "$said")" "$(field hits "$(counts 2)")"
want "hits in the handler" "$(field handler "$said")" "$(field hits "$(counts 3)")"
want_like "all armed at the end" "*attachment 1 armed 1000 pending 0 refused 0*" "$(cat "$T/storm.out")"
# All recorded records of all attachments were read. Points of the storm are counted from 0 whenever they are armed.
[ "$(field end "$(tail -1 "$T/records") ")" -ge $(($(field recorded "$(counts 2)") + $(field recorded "$(counts 3)"))) ] ||
	fail "records are missing: $(tail -1 "$T/records")"
poke drop $S 1; poke drop $S 2; poke drop $S 3
rescan >/dev/null
say go
sleep 0.2
say stop
want "wrong results, disarmed" 0 "$(sed 's/.*wrong //' <<<"$said")"
target_end
