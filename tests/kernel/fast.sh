#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# --fast: where the kernel replaces 10-byte nops by calls (Linux 7.2), sites are armed that way, count and record exactly, and
# get their nop back. Where it must not be done, the row says why and the site's first byte is armed instead.
. tests/lib.sh
. tests/kernel/lib.sh
need_kernel
[ "$(uname -m)" = x86_64 ] || skip "only x86-64 has such sites"
cat >"$T/uprobe.c" <<'C'
#include <errno.h>
#include <stdio.h>
#include <unistd.h>
int main(void) { return printf("%d\n", syscall(336) < 0 ? errno : 0) < 0; }
C
build_once "$T/uprobe" "$CC" -w "$T/uprobe.c" || fail "does not compile"
fast_kernel=false
[ "$("$T/uprobe")" = 71 ] && fast_kernel=true # EPROTO

build_hits "$T/hits"
start it
at_end "probe-disable -q -s $S 2>/dev/null; probe-disable -q -s $S-2 2>/dev/null"
# nops PID: what follows the first byte of each site, counted, as in "35 66 2e 0f 1f 84"; and the first bytes, as in "35 90"
nops() {
	local low high base
	sites "$1" >/dev/null
	low=$(head -n 1 "$T/hits.sites") high=$(tail -n 1 "$T/hits.sites")
	base=$((0x$(awk -v file="$T/hits" '$6 == file && $3 == "00000000" { sub("-.*", "", $1); print $1; exit }' "/proc/$1/maps")))
	memory "$1" $((base + low)) $((high - low + 16)) | od -An -v -w1 -tx1 | awk -v low="$low" '
		NR == FNR { site[n++] = $1; next }
		{ byte[FNR - 1 + low] = $1 }
		END { for (i = 0; i < n; i++) { a = site[i]; print byte[a], byte[a + 1], byte[a + 2], byte[a + 3], byte[a + 4], byte[a + 5] } }
		' "$T/hits.sites" - | sort | uniq -c | awk '{ $1 = $1; print }' | paste -sd,
}
# slow REASON: the rows of the last probe-enable --json are not fast, for the reason
slow() {
	want "rows that are fast" 0 "$(jq '[.armed[] | select(.fast)] | length' <<<"$out")"
	want_like "the reason" "*--fast: $1*; armed at the first byte of the site*" "$(jq -r '.armed[0].reason' <<<"$out")"
}
idle=$(nops "$it")
want_like "sites before" "[0-9][0-9] 90 66 2e 0f 1f 84" "$idle"
all=${idle%% *}

if ! $fast_kernel; then
	expect 0 probe-enable --json --fast -s "$S" -p "$it" 'k:*'
	slow "this kernel does not replace 10-byte nops"
	armed=$(jq '[.armed[].sites] | add' <<<"$out")
	want "sites, armed" "$armed cc 66 2e 0f 1f 84" "$(nops "$it" | tr , '\n' | grep cc)"
	tell it "run 2 100"
	want "hits" 200 "$(count "$S" k:one)"
	expect 0 probe-disable -s "$S"
	want "sites, disarmed" "$idle" "$(nops "$it")"
	stop it
	part_skipped "calls instead of traps: this kernel does not make them"
	exit 0
fi

# ---- counts, records and bytes ----
expect 0 probe-enable --json --fast -s "$S" -p "$it" 'k:*'
want "rows" '[true,true]' "$(jq -c '[([.armed[].fast] | all), ([.armed[].verified] | all)]' <<<"$out")"
armed=$(jq '[.armed[].sites] | add' <<<"$out")
want "sites before the first hit" "$((all - armed)) 90 66 2e 0f 1f 84,$armed 90 cc 2e 0f 1f 84" "$(nops "$it")"
tell it "run 3 1000"
want "sites after hits" "3 90 48 8d 64 24 80" "$(nops "$it" | tr , '\n' | grep 48)"
want "hits" "3000 3000 3000" "$(count "$S" k:one) $(count "$S" k:two) $(count "$S" k:three)"
tell it "guarded 50"
[ "$answer" -ge 50 ] || fail "the semaphore is not raised: $answer"
want "hits of the probe with a semaphore" "$answer" "$(count "$S" k:guarded)"
tracing "$T/records" --json -s "$S"
tell it "run 2 100"
kill -INT $tracer
wait $tracer
want "records" '[200,4950]' "$(jq -sc '[.[] | select(.probe == "k:one").args] |
	[length, (map(select(.arg1 == 1).arg0) | add)]' "$T/records")"
adds_up "$S"
# listed, and known to a second command
want "sessions at the sites" "$S" "$(probe-list --json "$T/hits" -m k:one | jq -r '.probes[0].sites[0].armed[0]')"
expect 0 probe-enable -s "$S" -p "$it" k:one
want_like "armed again" "*armed in this session already*" "$out"
# children: one that runs on, one that executes another program
before=$(count "$S" k:one)
tell it "fork 2 100"
tell it "spawn 2 100"
want "hits of children, which are not in scope" "$before" "$(count "$S" k:one)"
tell it "run 1 10"
want "hits after children" $((before + 10)) "$(count "$S" k:one)"

# ---- another session at the same sites, by the first byte and by the second ----
expect 0 probe-enable --json -s "$S-2" -p "$it" k:one k:two
want_like "the other is told" "*has armed the site too*" "$(jq -r '.armed[0].reason' <<<"$out")"
expect 0 probe-enable -q --fast -s "$S-2" -p "$it" k:three
tell it "run 2 50"
want "both count" "100 100 100 $((before + 110))" \
	"$(count "$S-2" k:one) $(count "$S-2" k:two) $(count "$S-2" k:three) $(count "$S" k:one)"
# part of a link: the others are handed over
expect 0 probe-disable -s "$S" k:two
tell it "run 1 7"
want "after a part was disarmed" "$((before + 117)) 107" "$(count "$S" k:one) $(count "$S-2" k:three)"
expect 0 probe-disable -s "$S"
tell it "run 1 3"
want "the other session goes on" "110 110" "$(count "$S-2" k:one) $(count "$S-2" k:three)"
expect 0 probe-disable -s "$S-2"
want "sites, disarmed" "$idle" "$(nops "$it")"

# ---- arming and disarming while threads run ----
tell it "start 3"
for ((i = 0; i < ${ROUNDS:-5}; i++)); do
	expect 0 probe-enable -q --fast -s "$S" -p "$it" 'k:*'
	expect 0 probe-disable -q -s "$S"
done
tell it stop
want "sites after rounds" "$idle" "$(nops "$it")"

# ---- an agent does not patch a site that is armed so ----
if [ -e "$B/lib/libprobepoint-agent.so" ]; then
	start preloaded env "LD_PRELOAD=$B/lib/libprobepoint-agent.so" "$T/hits"
	expect 0 probe-enable -q -b kernel --fast -s "$S" -p "$preloaded" k:one
	tell preloaded "run 1 10"
	expect 1 probe-enable -b agent -s "$S-2" -p "$preloaded" k:one
	want_like "the agent's reason" "*has armed the site's nop by a uprobe*" "$out"
	expect 0 probe-enable --json -b agent -s "$S-2" -p "$preloaded" k:two
	tell preloaded "run 1 10"
	want "hits of both" "20 10" "$(count "$S" k:one) $(count "$S-2" k:two)"
	expect 0 probe-enable --json -b kernel --fast -s "$S" -p "$preloaded" k:two
	slow "the agent or another tool has changed the site's nop"
	expect 0 probe-disable -q -s "$S"
	# the nop has its call in the last five bytes now
	expect 0 probe-enable -q -b agent -s "$S-2" -p "$preloaded" k:one
	tell preloaded "run 1 10"
	want "hits by the agent" "10 20" "$(count "$S-2" k:one) $(count "$S-2" k:two)"
	expect 0 probe-disable -q -s "$S-2"
	stop preloaded
fi

# ---- where it must not be done ----
start fixed setarch -R "$T/hits"
expect 0 probe-enable --json --fast -s "$S" -p "$fixed" k:one
slow "the addresses of the process are not random"
expect 0 probe-disable -q -s "$S"
stop fixed
cat >"$T/dispatch.c" <<'C'
#include <pthread.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/sdt.h>
#include <unistd.h>
static volatile char selector;
static void *thread(void *arg)
{
	prctl(59, 1, 0, 0, &selector); /* PR_SET_SYSCALL_USER_DISPATCH, on: the selector allows all */
	write(1, "ready\n", 6);
	pause();
	return arg;
}
int main(void)
{
	pthread_t t;
	STAP_PROBE(d, one);
	pthread_create(&t, 0, thread, 0);
	pthread_join(t, 0);
	return 0;
}
C
build_once "$T/dispatch" "$CC" -w -Iinclude -pthread "$T/dispatch.c" || fail "does not compile"
"$T/dispatch" >"$T/said" &
dispatch=$!
wait_for 20 grep -q ready "$T/said"
expect 0 probe-enable --json --fast -s "$S" -p $dispatch d:one
slow "a thread dispatches its system calls"
expect 0 probe-disable -q -s "$S"
expect 0 probe-enable --json --fast -s "$S" -f "$T/hits" k:one
slow "only a request for processes"
expect 0 probe-disable -q -s "$S"
expect 1 probe-enable -s "$S" -p "$it" -f "$T/hits" "func:+$(printf 0x%x $(($(head -n 1 "$T/hits.sites") + 1)))"
want_like "the nop itself" "*is a 10-byte nop*" "$out"
stop it
