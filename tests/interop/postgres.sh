#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Debian's PostgreSQL in single-user mode: all its probes, armed while it runs, count the queries, transactions and sorts
# that the test requests. An operand that is a variable of the program is read.
. tests/lib.sh
need jq setpriv
need_root
for dir in $(ls -d /usr/lib/postgresql/*/bin 2>/dev/null); do
	probe-list -q "$dir/postgres" 2>/dev/null | grep -q postgresql:query__start && postgres=$dir/postgres
done
[ -n "${postgres-}" ] || skip "no PostgreSQL with probes here"

mkdir "$T/db"
chown 65534:65534 "$T/db"
expect 0 nobody "${postgres%/*}/initdb" -D "$T/db/data" -U nobody -A trust --no-sync
mkfifo "$T/in"
chmod 666 "$T/in"
setpriv --reuid=65534 --regid=65534 --clear-groups "$postgres" --single -F -B 1000 -D "$T/db/data" postgres \
	<"$T/in" >"$T/out" 2>&1 &
pid=$!
exec 5>"$T/in"
# n prompts have been printed: the server waits
waiting() { [ "$(grep -o 'backend> ' "$T/out" | wc -l)" -ge "$1" ] && grep -q '^0 0x0 ' /proc/$pid/syscall; }
waits() { wait_for 60 waiting "$1"; }
waits 1

at_end "for s in $S ${S}f ${S}c; do probe-disable -q -s \$s 2>/dev/null; done"
probe-enable -q --yes --json -s $S -p $pid -f "$postgres" '*' >"$T/report" || fail "arming ends with $?: $(cat "$T/report")"
probe-list --json "$postgres" >"$T/list"
want "armed" "$(json '.probes | length' "$T/list")" "$(json '.armed | length' "$T/report")"
want "verified" '[true]' "$(json '[.armed[].verified] | unique' "$T/report")"
want "refused" '[]' "$(json .refused "$T/report")"
expect 0 probe-enable -q -s ${S}f -p $pid --if 'arg0 =~ "select 7*"' postgresql:query__start
expect 0 probe-enable -q --record -s ${S}c -p $pid postgresql:checkpoint__done

hits() { probe-stat --json -s $S | jq ".probes[] | select(.probe == \"postgresql:$1\").hits"; }
for i in $(seq 10); do echo "select $i + 1;"; done >&5
echo 'create table numbers as select (i * 7919) % 10007 as n from generate_series(1, 100) as i;' >&5
for i in $(seq 5); do echo "select n from numbers where n > $i order by n;"; done >&5
for i in $(seq 3); do echo 'select 1 / 0;'; done >&5
waits 20
want "queries" 19 "$(hits query__start)"
want "queries done" 16 "$(hits query__done)"
want "transactions" 19 "$(hits transaction__start)"
want "committed" 16 "$(hits transaction__commit)"
want "aborted" 3 "$(hits transaction__abort)"
want "sorts" 5 "$(hits sort__start)"
want "sorts done" 5 "$(hits sort__done)"
want "checkpoints" 0 "$(hits checkpoint__done)"
echo 'checkpoint;' >&5
waits 21
want "checkpoints" 1 "$(hits checkpoint__done)"
want "queries by their text" "[20,19]" "$(probe-stat --json -s ${S}f | jq -c '.probes[] | [.hits, .filtered]')"
probe-trace -q --json -s ${S}c -n 1 >"$T/event"
want "number of buffers as configured" 1000 "$(json .args.arg1 "$T/event")"
for s in $S ${S}f ${S}c; do expect 0 probe-disable -q -s $s; done
echo 'select 42 * 10000;' >&5
waits 22
grep -q '"420000"' "$T/out" || fail "the server does not answer: $(tail -n 5 "$T/out")"
exec 5>&-
wait $pid || fail "postgres ends with $?: $(tail -n 5 "$T/out")"
