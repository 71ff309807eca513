# SPDX-License-Identifier: MIT
# For long/storm.sh: Redis. A round fills the data set, gets its digest, and saves it from a forked child.

service_needs() { have redis-server && have redis-cli && have redis-benchmark || echo "redis-server is not installed"; }

service_start() {
	rm -rf "$T/redis"
	mkdir "$T/redis"
	awk 'BEGIN {
		srand(7)
		for (i = 0; i < 2000; i++) {
			n = int(rand() * 1000)
			print "SET key:" n " value-" i "-" rand()
			print "LPUSH list:" n % 50 " " i
			print "ZADD set:" n % 20 " " i " member" n
			print "HSET hash:" n % 30 " field" i % 100 " " rand()
			print "INCRBY number " n
			if (i % 50 == 0)
				print "EVAL \"local s = 0 for i = 1, 1000 do s = (s + i * tonumber(ARGV[1])) % 7919 end redis.call(\\\"SET\\\", KEYS[1], s)\" 1 script:" i " " n
		}
	}' >"$T/redis/commands"
	run_service redis-server --port 0 --unixsocket "$T/redis/socket" --dir "$T/redis" --save "" --io-threads 2 \
		--io-threads-do-reads yes --enable-debug-command yes --daemonize no >"$T/service.out" 2>&1 &
	pid=$!
	wait_for 60 redis ping
	files=("$(readlink -f "$(command -v redis-server)")")
	hot=(processCommand dictFind lookupKeyReadWithFlags call addReply aeProcessEvents zslInsert rdbSaveRio)
}

redis() { timeout 300 redis-cli -s "$T/redis/socket" "$@"; }

service_round() {
	redis flushall
	redis --pipe <"$T/redis/commands" | tail -n 1
	timeout 300 redis-benchmark -s "$T/redis/socket" -q -n 800 -c 8 \
		-t set,get,incr,lpush,rpush,lpop,sadd,hset,zadd,lrange_100 >"$T/redis/benchmark" 2>&1 || echo "benchmark ends with $?"
	redis debug digest
	redis dbsize
	redis bgsave
	while redis info persistence | grep -q rdb_bgsave_in_progress:1; do sleep 0.02; done
	redis info persistence | grep rdb_last_bgsave_status | tr -d '\r'
	redis-check-rdb "$T/redis/dump.rdb" | grep -o 'RDB looks OK'
}

service_stop() { redis shutdown nosave; wait $pid; }
