# SPDX-License-Identifier: MIT
# For long/storm.sh: nginx with two workers, which every third round restarts. A round fetches plain and compressed files
# and counts the lines of the access log.

owner=nobody
service_needs() { [ -x /usr/sbin/nginx ] && have curl || echo "nginx or curl is not installed"; }

service_start() {
	rm -rf "$T/nginx"
	mkdir -p "$T/nginx/www"
	local i
	for ((i = 1; i <= 20; i++)); do
		awk -v n=$i 'BEGIN { srand(n); for (i = 0; i < n * n * 40; i++) print i, rand() }' >"$T/nginx/www/file$i"
	done
	cat >"$T/nginx/conf" <<-E
		daemon off;
		env XDG_RUNTIME_DIR; env LD_PRELOAD;
		worker_processes 2;
		pid $T/nginx/pid;
		error_log $T/nginx/error notice;
		events { worker_connections 200; }
		http {
			access_log $T/nginx/access;
			client_body_temp_path $T/nginx/body; proxy_temp_path $T/nginx/proxy; fastcgi_temp_path $T/nginx/fastcgi;
			uwsgi_temp_path $T/nginx/uwsgi; scgi_temp_path $T/nginx/scgi;
			server {
				listen unix:$T/nginx/socket;
				root $T/nginx/www;
				location /packed/ { alias $T/nginx/www/; gzip on; gzip_types *; }
				location /sent/ { alias $T/nginx/www/; sendfile on; }
			}
		}
	E
	chown -R 65534:65534 "$T/nginx"
	run_service /usr/sbin/nginx -p "$T/nginx" -c "$T/nginx/conf" -e "$T/nginx/error" >"$T/service.out" 2>&1 &
	pid=$!
	wait_for 60 fetch "" file1 /dev/null
	files=(/usr/sbin/nginx)
	hot=(ngx_http_process_request ngx_palloc ngx_http_finalize_request ngx_event_accept ngx_http_log_request ngx_readv_chain
		ngx_worker_process_cycle ngx_hash_find)
	rounds_begun=0
}

fetch() { timeout 300 curl -sS --no-progress-meter --compressed --unix-socket "$T/nginx/socket" "http://localhost/$1$2" -o "$3"; }

service_round() {
	local i kind
	rounds_begun=$((rounds_begun + 1))
	: >"$T/nginx/access"
	rm -rf "$T/nginx/got"
	mkdir "$T/nginx/got"
	[ $((rounds_begun % 3)) != 0 ] || kill -HUP $pid
	for kind in "" packed/ sent/; do
		timeout 300 curl -sS --no-progress-meter --compressed --unix-socket "$T/nginx/socket" -Z --parallel-max 8 \
			"http://localhost/$kind""file[1-20]?again=[1-3]" -o "$T/nginx/got/${kind%/}-#1-#2" || echo "curl ends with $?"
	done
	(cd "$T/nginx/got" && sha256sum * | sha256sum)
	for ((i = 0; i < 600; i++)); do
		[ "$(wc -l <"$T/nginx/access")" -lt 180 ] || break
		sleep 0.1
	done
	awk '{ print $9 }' "$T/nginx/access" | sort | uniq -c
}

service_renew() {
	[ $way != kernel ] || return
	local old=" $(cat /proc/$pid/task/$pid/children) " child
	eventually 20 eval 'python3 tests/long/storm/memory.py --agent $pid >/dev/null'
	kill -HUP $pid
	for child in $old; do eventually 30 eval "! kill -0 $child 2>/dev/null" || wrong "worker $child does not end"; done
}

service_stop() {
	kill -QUIT $pid
	wait $pid
	local status=$?
	grep -E 'exited on signal|\[(emerg|alert|crit)\]' "$T/nginx/error" && return 1
	return $status
}
