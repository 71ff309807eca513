#!/bin/bash
# SPDX-License-Identifier: MIT
# probe-export serves sessions that begin and end while it runs, from a process without privileges. Malformed and slow clients
# do not stop it. Keys keep their series, and the series of other keys never decreases.
. tests/lib.sh
. tests/metrics/lib.sh
need_root
need curl jq python3
seed=${SEED:-$$}
echo "seed $seed"
build_work "$T/work"
exporting "$T/log" -v --listen 127.0.0.1:0 --max-series 300
port=$(sed 's,.*:\([0-9]*\)/.*,\1,' <<<"$url")

# ---- two processes without capabilities, of which only the one that another user runs has the socket ----
status_of() { sed -n "s/^$2:[[:space:]]*//p" "/proc/$1/status" | xargs; }
reader=$(sed -n 's/.*reader: pid \([0-9]*\),.*/\1/p' "$T/log")
for pid in "$exporter" "$reader"; do
	for set in CapInh CapPrm CapEff CapBnd CapAmb; do want "$set of $pid" 0000000000000000 "$(status_of "$pid" $set)"; done
	want "no_new_privs of $pid" 1 "$(status_of "$pid" NoNewPrivs)"
done
want "the user of the server" "65534 65534 65534 65534" "$(status_of "$exporter" Uid)"
want "the groups of the server" "" "$(status_of "$exporter" Groups)"
want "the user of the reader" "0 0 0 0" "$(status_of "$reader" Uid)"
inode=$(awk -v port="$(printf %04X "$port")" '$2 ~ ":" port "$" && $4 == "0A" { print $10 }' /proc/net/tcp)
has_socket() { ls -l "/proc/$1/fd" | grep -q "socket:\[$inode\]"; }
has_socket "$exporter" || fail "the server has no listening socket"
! has_socket "$reader" || fail "the reader has the listening socket"

# ---- paths, methods, formats ----
code() { curl -s -m 60 -o "$T/body" -w '%{http_code}' "$@"; }
want "no sessions" "probepoint_sessions 0" "$(scrape | grep '^probepoint_sessions ')"
for path in / /metrics/ /metric /metrics.txt /../etc/passwd; do
	want "$path" 404 "$(code --path-as-is "${url%/metrics}$path")"
done
for method in POST PUT DELETE OPTIONS; do want "$method" 405 "$(code -X $method "$url")"; done
want "HEAD" 200 "$(code -I "$url")"
text="text/plain; version=0.0.4; charset=utf-8"
openmetrics="application/openmetrics-text; version=1.0.0; charset=utf-8"
binary="application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited"
curl -s -H "Accept: $binary" -o /dev/null -w '%{content_type}' "$url" | grep -q protobuf || binary=$text # built without it
family="application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited"
while IFS='|' read -r accept wanted; do
	want "Accept: $accept" "${!wanted}" "$(curl -s -o /dev/null -w '%{content_type}' -H "Accept: $accept" "$url")"
done <<-E2
	|text
	*/*|text
	image/png|text
	application/openmetrics-text|openmetrics
	application/openmetrics-text; version=1.0.0; charset=utf-8|openmetrics
	application/openmetrics-text;version=2.0.0|text
	application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1|openmetrics
	text/plain;q=0.9, application/openmetrics-text;q=0.8|text
	text/plain;q=0.2, APPLICATION/OPENMETRICS-TEXT ; Version="1.0.0" ; Q=0.3|openmetrics
	$family,application/openmetrics-text;version=1.0.0;q=0.8|binary
	application/vnd.google.protobuf;proto=other;encoding=delimited,text/plain;q=0.1|text
E2

# ---- malformed requests ----
statuses=$(python3 tests/metrics/http.py "$port" "$seed" garbage) || fail "the HTTP client failed: $statuses"
echo "statuses: $statuses"
want_like "statuses" "*400*404*405*" "$statuses"
[[ $statuses != *500* ]] || fail "an internal error"
kill -0 "$exporter" "$reader" || fail "a request ended the exporter: $(cat "$T/log")"

# ---- 60 clients that send a byte each second ----
python3 tests/metrics/http.py "$port" "$seed" slow >"$T/slow" &
slow_client=$!
wait_for 20 grep -q slow "$T/slow"
want "with slow clients" "probepoint_sessions 0" "$(scrape | grep '^probepoint_sessions ')"
if [ "${PROBEPOINT_LONG:-}" ]; then # their connections are closed after 30 s, although they send something
	sleep 32
	want "connections of slow clients" 0 "$(ss -Htn state established "sport = :$port" | wc -l)"
fi
kill $slow_client

# ---- keys: each keeps its series, and others never decrease ----
work_start w "$T/work"
expect 0 probe-enable -q -b kernel -s "$S" -f "$T/work" --agg 'count(), sum(arg0) by arg0 % 500' app:work
at_end "probe-disable -q -s $S 2>/dev/null"
n=0 other=0 all=0
for i in 1 2 3 4 5; do
	work w $((seed + i)) $((20 * i * i))
	n=$((n + 20 * i * i)) all=$((all + sum))
	scrape -H 'Accept: application/openmetrics-text' >"$T/scrape" || fail "no scrape"
	python3 tests/metrics/openmetrics.py <"$T/scrape" >"$T/samples" || fail "the text is invalid"
	jq -r 'select(.name == "probepoint_values_total" and .labels.key != null and .labels.call == "count()") | .labels.key' "$T/samples" | sort >"$T/keys.$i"
	[ $i = 1 ] || [ -z "$(comm -23 "$T/keys.$((i - 1))" "$T/keys.$i")" ] || fail "a key lost its series"
	want "the count of all keys" $n "$(jq -s '[.[] | select(.name == "probepoint_values_total" and .labels.call == "count()") | .value] | add' "$T/samples")"
	want "the sum of all keys" $all "$(jq -s '[.[] | select(.name == "probepoint_amount_total") | .value] | add' "$T/samples")"
	now=$(jq -s '[.[] | select(.name == "probepoint_values_total" and .labels.other and .labels.call == "count()") | .value] | add // 0' "$T/samples")
	[ "$now" -ge $other ] || fail "the series of other keys decreased from $other to $now"
	other=$now
done
[ $other -gt 0 ] || fail "no keys are in the series of others"

# ---- four clients, while sessions begin and end and the target hits ----
failed=$T/failed
for i in 1 2 3 4; do
	(while [ ! -e "$T/enough" ]; do
		curl -sS -f -m 60 -H 'Accept: application/openmetrics-text' "$url" >"$T/reply.$i" 2>>"$failed" || echo "curl: $?" >>"$failed"
		[ "$(tail -c 6 "$T/reply.$i")" = "# EOF" ] || echo "cut off" >>"$failed"
	done) &
	clients[i]=$!
done
for i in 1 2 3 4 5; do
	probe-enable -q -b kernel -s "$S-$((i % 3))" -f "$T/work" app:work || fail "cannot arm while the sessions are read"
	work w $i 1000
	want "hits while the sessions are read" 1000 "$(probe-stat --json -s "$S-$((i % 3))" | jq '.probes[0].hits')"
	probe-disable -q -s "$S-$((i % 3))" || fail "cannot disarm while the sessions are read"
done
touch "$T/enough"
wait "${clients[@]}"
[ ! -s "$failed" ] || fail "a client failed: $(sort "$failed" | uniq -c | head -n 5)"
for i in 1 2 3 4; do
	python3 tests/metrics/openmetrics.py <"$T/reply.$i" >"$T/samples" || fail "an invalid reply"
done
want "sessions that are left" "probepoint_sessions 1" "$(scrape | grep '^probepoint_sessions ')"

# ---- a session that is locked is counted as unread, and others are served ----
probe-enable -q -b kernel -s "$S-locked" -f "$T/work" app:work || fail "cannot arm"
exec {lock}<"/sys/fs/bpf/probepoint/$S-locked"
flock $lock
scrape >"$T/scrape" || fail "no scrape with a locked session"
want "unread sessions" "probepoint_unread_sessions 1" "$(grep '^probepoint_unread_sessions ' "$T/scrape")"
grep -q "probepoint_hits_total{session=\"$S\"" "$T/scrape" || fail "another session is missing"
exec {lock}<&-
wait_for 20 probe-disable -q -s "$S-locked"

# ---- the end ----
kill "$exporter"
wait "$exporter"
want "the status after SIGTERM" 0 $?
gone() { [ ! -e "/proc/$1" ]; }
wait_for 10 gone "$reader"
exporting "$T/log" -v --listen '[::1]:0' --cost
reader=$(sed -n 's/.*reader: pid \([0-9]*\),.*/\1/p' "$T/log")
want "capabilities of the reader with --cost" 0000000000200000 "$(status_of "$reader" CapEff)"
has_cost() { scrape | grep -q "^probepoint_cost_ratio{session=\"$S\"}"; }
wait_for 30 has_cost
kill -KILL "$reader"
wait "$exporter"
want "the status without a reader" 1 $?
exporting "$T/log" -v --listen 127.0.0.1:0
reader=$(sed -n 's/.*reader: pid \([0-9]*\),.*/\1/p' "$T/log")
expect 1 probe-export --listen "${url:7:-8}"
want_like "a port in use" "*cannot listen on*" "$out"
kill -KILL "$exporter"
wait_for 10 gone "$reader"

# ---- it ends while clients wait for a reader that does not answer, and more arrive ----
for i in 1 2 3; do
	exporting "$T/log" -v --listen 127.0.0.1:0
	reader=$(sed -n 's/.*reader: pid \([0-9]*\),.*/\1/p' "$T/log")
	kill -STOP "$reader"
	clients=()
	for k in {1..30}; do
		curl -s -m 60 -o /dev/null "$url" &
		clients+=($!)
	done
	sleep "0.$((RANDOM % 4))"
	kill "$exporter"
	wait "$exporter"
	want "the status with clients that wait" 0 $?
	kill -CONT "$reader"
	wait "${clients[@]}"
	wait_for 10 gone "$reader"
done

# ---- another user ----
for_others
nobody env XDG_RUNTIME_DIR= "$T/product/bin/probe-export" --json --listen 127.0.0.1:0 >"$T/json" 2>"$T/log" &
exporter=$!
has_url() { url=$(jq -er .url "$T/json" 2>/dev/null) && [ "$url" ]; } # jq -e succeeds without input
wait_for 10 has_url
scrape >"$T/scrape" || fail "another user's exporter does not answer: $(cat "$T/log")"
want "sessions of another user" "probepoint_sessions 0" "$(grep '^probepoint_sessions ' "$T/scrape")"
kill $exporter

# ---- the command line ----
for address in "" 127.0.0.1 :80 localhost:80 ::1:80 127.0.0.1:99999 127.0.0.1:x '[127.0.0.1:80'; do
	expect 2 probe-export --listen "$address"
done
expect 1 probe-export -q --user root --listen 127.0.0.1:0
expect 1 probe-export -q --user "no such user" --listen 127.0.0.1:0
expect 2 probe-export extra
