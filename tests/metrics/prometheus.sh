#!/bin/bash
# SPDX-License-Identifier: MIT
# Prometheus scrapes two hosts (network namespaces with a BPF file system of their own), as text and with native histograms.
# Its queries give the numbers of probe-stat on each host, and of the targets themselves.
. tests/lib.sh
. tests/metrics/lib.sh
need_root
need prometheus promtool curl jq ip nsenter unshare bc
have probe-export || skip "probe-export was not built, because libmicrohttpd was missing"
in_chroot && skip "setns(2) leaves a chroot"
unshare --net --mount true 2>/dev/null || skip "cannot make network namespaces"
seed=${SEED:-$$}
echo "seed $seed"

# ---- two hosts, each connected with the namespace of Prometheus ----
declare -A ns=()
ns_start() {
	unshare --net --mount sh -c 'mount -t bpf -o mode=700 bpf /sys/fs/bpf && ip link set lo up && echo ready && exec sleep 1000' \
		>"$T/$1.ns" &
	ns[$1]=$!
	wait_for 10 grep -q ready "$T/$1.ns"
}
on() { nsenter --target "${ns[$1]}" --net --mount --wd="$T" -- "${@:2}"; }
ns_start watch
number=0
for host in one two; do
	ns_start $host
	number=$((number + 1))
	on watch ip link add v$number type veth peer name eth0 netns ${ns[$host]} || skip "cannot make veth devices"
	on watch ip addr add 10.9.$number.1/30 dev v$number
	on watch ip link set v$number up
	on $host ip addr add 10.9.$number.2/30 dev eth0
	on $host ip link set eth0 up
	mkdir "$T/$host"
	build_work "$T/$host/work"
	work_start $host "$T/$host/work"
	on $host probe-enable -q --budget 90% -b kernel -s agg -f "$T/$host/work" \
		--agg 'count(), sum(arg0), max(arg0), avg(arg0), hist(arg0), lhist(arg0, 0, 1000, 100), pct(arg0) by arg1' app:work ||
		fail "cannot arm on host $host"
	# A ring that is too small loses records.
	on $host probe-enable -q -b kernel -s lossy --record --buffer 64K -f "$T/$host/work" app:work ||
		fail "cannot arm a second session on host $host"
	on $host probe-export --cost --listen 10.9.$number.2:9812 >"$T/$host.export" 2>&1 &
done
work one $seed 3000
sum_one=$sum
work two $((seed + 1)) 7001
sum_two=$sum

# ---- Prometheus, twice ----
cat >"$T/prometheus.yml" <<E2
global: { scrape_interval: 1s, scrape_timeout: 1s }
scrape_configs:
  - job_name: probepoint
    static_configs:
      - targets: [ "10.9.1.2:9812", "10.9.2.2:9812" ]
E2
promtool check config "$T/prometheus.yml" >/dev/null || fail "invalid configuration"
port=9090
for kind in text native; do
	on watch prometheus --config.file="$T/prometheus.yml" --storage.tsdb.path="$T/tsdb-$kind" --log.level=error \
		--web.listen-address=127.0.0.1:$port $([ $kind = native ] && echo --enable-feature=native-histograms) \
		>"$T/$kind.log" 2>&1 &
	port=$((port + 1))
done
# query PORT EXPRESSION: prints "INSTANCE VALUE" lines.
query() {
	on watch curl -sS -m 60 --data-urlencode "query=$2" "http://127.0.0.1:$1/api/v1/query" |
		jq -r '.data.result[]? | (.metric.instance // "all") + " " + .value[1]' | sort
}
# answers LABEL WANTED PORT EXPRESSION: waits until Prometheus answers so. A scrape that takes longer than its timeout, on a busy
# machine, leaves no values until the next one.
answered() { got=$(query "$2" "$3") && [ "$got" = "$1" ]; }
answers() {
	local until=$((SECONDS + patience))
	until answered "$2" "$3" "$4"; do
		[ $SECONDS -lt $until ] || want "$1" "$2" "$got"
		sleep 0.1
	done
}
both_up() { [ "$(query $1 'sum(probepoint_hits_total{session="agg"})')" = "all 10001" ]; }
wait_for 60 both_up 9090
wait_for 60 both_up 9091

# ---- the program's own numbers ----
for host in one two; do
	on $host probe-stat --json -s agg >"$T/$host.agg" || fail "probe-stat on host $host"
	on $host probe-stat --json -s lossy >"$T/$host.lossy" || fail "probe-stat on host $host"
done
# own SESSION JQ: prints the lines of both hosts.
own() {
	echo "10.9.1.2:9812 $(jq -r "$2" "$T/one.$1")"
	echo "10.9.2.2:9812 $(jq -r "$2" "$T/two.$1")"
}
want "hits by the targets" $'10.9.1.2:9812 3000\n10.9.2.2:9812 7001' "$(own agg '.probes[0].hits')"
lost=$(own lossy '.probes[0].lost')
want_like "lost records" '*[1-9]*' "$(cut -d' ' -f2 <<<"$lost")"
for port in 9090 9091; do
	answers "hits in port $port" "$(own agg '.probes[0].hits')" \
		$port 'sum by (instance) (probepoint_hits_total{session="agg"})'
	answers "lost in port $port" "$lost" $port 'sum by (instance) (probepoint_lost_hits_total{session="lossy"})'
	answers "recorded in port $port" "$(own lossy '.probes[0].recorded')" \
		$port 'sum by (instance) (probepoint_recorded_hits_total{session="lossy"})'
	answers "count() in port $port" "$(own agg '.aggregates[0].total.values[0].count')" \
		$port 'sum by (instance) (probepoint_values_total{call="count()"})'
	answers "sum() in port $port" $'10.9.1.2:9812 '$sum_one$'\n10.9.2.2:9812 '$sum_two \
		$port 'sum by (instance) (probepoint_amount_total{call="sum(arg0)"})'
	answers "max() in port $port" "$(own agg '.aggregates[0].total.values[2].max')" \
		$port 'max by (instance) (probepoint_maximum)'
	answers "process hits in port $port" "$(own agg '.probes[0].hits')" \
		$port 'sum by (instance) (probepoint_process_hits_total{session="agg"})'
	answers "p99 of key 1 in port $port" "$(own agg '[.aggregates[0].entries[] | select(.key[0] == 1)][0].values[6]."p99" | round')" \
		$port 'round(sum by (instance) (probepoint_percentile{key="1",percentile="99"}))'
	# lhist() has classic buckets in both: values up to 299.
	answers "a bucket of lhist() in port $port" \
		"$(own agg '[.aggregates[0].total.values[5].buckets[] | select(.high < 300) | .count] | add')" \
		$port 'sum by (instance) (probepoint_linear_distribution_bucket{call=~"lhist.*",le="299.0"})'
done

# near LABEL PERCENT WANTED-LINES PORT EXPRESSION: compares the numbers.
two_lines() { got=$(query "$1" "$2") && [ "$(wc -l <<<"$got")" = 2 ]; }
near() {
	local a b x y
	wait_for 60 two_lines "$4" "$5"
	while read -r a x b y; do
		[ "$a" = "$b" ] || fail "$1: instances $a and $b"
		[ "$(bc <<<"x = $y - $x; if (x < 0) x = -x; x * 100 <= $2 * $x + 100")" = 1 ] ||
			fail "$1 of $a: wanted $x, got $y"
	done < <(paste -d' ' <(echo "$3") <(echo "$got"))
}
# Classic buckets: four of each power of two for pct(). Native ones: 16.
for q in 0.5 0.9 0.99; do
	name=p$(bc <<<"$q * 100" | sed 's/\..*//')
	near "classic quantile $q" 25 "$(own agg ".aggregates[0].total.values[6].$name | round")" \
		9090 "round(histogram_quantile($q, sum by (instance, le) (probepoint_distribution_bucket{call=\"pct(arg0)\"})))"
	near "native quantile $q" 6 "$(own agg ".aggregates[0].total.values[6].$name | round")" \
		9091 "round(histogram_quantile($q, sum by (instance) (probepoint_distribution{call=\"pct(arg0)\"})))"
	near "native quantile $q of powers of two" 100 "$(own agg ".aggregates[0].total.values[6].$name | round")" \
		9091 "round(histogram_quantile($q, sum by (instance) (probepoint_distribution{call=\"hist(arg0)\"})))"
done
answers "the count of native histograms" "$(own agg '.aggregates[0].total.values[6].count')" \
	9091 'sum by (instance) (histogram_count(probepoint_distribution{call="pct(arg0)"}))'
answers "the sum of native histograms" "$(own agg '.aggregates[0].total.values[6].sum')" \
	9091 'sum by (instance) (histogram_sum(probepoint_distribution{call="pct(arg0)"}))'

# ---- the dashboard: each of its queries, with the variables' values, has an answer ----
board=examples/fleet/grafana-dashboard.json
jq -r '.. | objects | .expr // empty | gsub("\\$__range|\\$__rate_interval"; "1m") | gsub("\\$call"; "pct(arg0)") | gsub("\\$[a-z]+"; ".*")' $board >"$T/queries"
jq -r '.templating.list[] | select(.type == "query") | .query.query | gsub("\\$[a-z]+"; ".*") |
	capture("label_values\\((?<series>.*), (?<label>[a-z]+)\\)") | "count by (\(.label)) (\(.series))"' $board >>"$T/queries"
[ "$(wc -l <"$T/queries")" -ge 26 ] || fail "the dashboard's queries are not found"
has_answer() {
	on watch curl -sS -m 60 --data-urlencode "query=$1" http://127.0.0.1:9090/api/v1/query >"$T/answer" || fail "no answer"
	jq -e '.status == "success" and (.data.result | length) > 0' "$T/answer"
}
while read -r expression; do
	wait_for 60 has_answer "$expression"
done <"$T/queries"

# ---- a host whose session ends and begins again ----
on one probe-disable -q -s agg
on one probe-enable -q -b kernel -s agg -f "$T/one/work" --agg 'count()' app:work || fail "cannot arm again"
work one $seed 17
seventeen() { [ "$(query 9090 'sum by (instance) (probepoint_hits_total{session="agg"})' | head -1)" = "10.9.1.2:9812 17" ]; }
wait_for 30 seventeen

# ---- promtool is silent ----
on watch curl -sS -f http://10.9.2.2:9812/metrics >"$T/text" || fail "cannot scrape"
want "promtool" "" "$(promtool check metrics <"$T/text" 2>&1)"
for host in one two; do
	want "errors of Prometheus" "" "$(cat "$T/text.log" "$T/native.log")"
	on $host probe-disable -q --all
done
