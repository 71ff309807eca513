# SPDX-License-Identifier: MIT
# For long/storm.sh: PostgreSQL, with a process for each connection. A round runs pgbench and checks its sums, then runs
# queries with known results, some of them parallel, and queries that fail.

owner=nobody
service_needs() {
	local dir
	for dir in $(ls -d /usr/lib/postgresql/*/bin 2>/dev/null); do
		[ -x "$dir/postgres" ] && [ -x "$dir/pgbench" ] && postgres=$dir
	done
	[ -n "${postgres-}" ] || echo "PostgreSQL is not installed"
}

service_start() {
	rm -rf "$T/pg"
	mkdir "$T/pg"
	chown 65534:65534 "$T/pg"
	nobody "$postgres/initdb" -D "$T/pg/data" -U nobody -A trust --no-sync >"$T/service.out" 2>&1 || fail "$(cat "$T/service.out")"
	run_service "$postgres/postgres" -F -D "$T/pg/data" -k "$T/pg" -c listen_addresses= -c shared_buffers=16MB \
		-c max_wal_size=32MB -c autovacuum_naptime=1s >"$T/service.out" 2>&1 &
	pid=$!
	wait_for 60 sql -c 'select 1'
	nobody "$postgres/pgbench" -h "$T/pg" -i -q -s 1 postgres >"$T/pg.init" 2>&1 || fail "$(cat "$T/pg.init")"
	sql >/dev/null <<-'E'
		create table numbers as select i, (i::bigint * 7919) % 10007 as n, md5(i::text) as text from generate_series(1, 20000) as i;
		create index on numbers (n);
		analyze numbers;
	E
	files=("$postgres/postgres")
	hot=(ExecProcNode heap_insert palloc AllocSetAlloc XLogInsert ReadBuffer_common _bt_search LWLockAcquire errfinish
		PostgresMain exec_simple_query hash_search_with_hash_value)
}

sql() { nobody timeout 300 "$postgres/psql" -h "$T/pg" -U nobody -X -q -At "$@" postgres; }

service_round() {
	local before
	before=$(sql -c 'select count(*) from pgbench_history')
	nobody timeout 300 "$postgres/pgbench" -h "$T/pg" -U nobody -n -c 4 -j 2 -t 40 postgres >"$T/pg.bench" 2>&1 ||
		{ echo "pgbench ends with $?"; tail -n 3 "$T/pg.bench"; }
	echo "transactions $(($(sql -c 'select count(*) from pgbench_history') - before))"
	sql 2>&1 <<-'E'
		select (select sum(abalance) from pgbench_accounts) = (select sum(bbalance) from pgbench_branches),
			(select sum(bbalance) from pgbench_branches) = (select sum(tbalance) from pgbench_tellers),
			(select sum(tbalance) from pgbench_tellers) = (select coalesce(sum(delta), 0) from pgbench_history);
		select md5(string_agg(n || text, ',' order by n, i)) from numbers;
		set parallel_setup_cost = 0; set parallel_tuple_cost = 0; set min_parallel_table_scan_size = 0;
		select count(*), sum(a.n), sum(length(b.text)) from numbers a join numbers b on a.n = b.n + 1;
		select 1 / 0;
		do $$ declare caught int := 0; begin for i in 1..50 loop begin perform 1 / (i % 2); exception when division_by_zero
			then caught := caught + 1; end; end loop; raise notice 'caught %', caught; end $$;
		create temp table sorted as select n, text from numbers where i <= 5000 order by text;
		update sorted set n = n + 1; delete from sorted where n % 3 = 0;
		select count(*), sum(n), md5(string_agg(text, '' order by text)) from sorted;
		checkpoint;
	E
}

service_stop() {
	kill -INT $pid
	wait $pid
	local status=$?
	grep -E 'terminated by signal|PANIC' "$T/service.out" && return 1
	return $status
}
