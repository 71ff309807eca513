#!/bin/bash
# SPDX-License-Identifier: MIT
# The programs that load the files of examples/fleet accept them: systemd its units, and Prometheus its configuration, its rules and
# each query of the dashboard. tests/metrics/prometheus.sh runs the queries.
. tests/lib.sh
need jq
board=examples/fleet/grafana-dashboard.json

# ---- units ----
if have systemd-analyze; then
	mkdir "$T/units"
	for unit in examples/fleet/*.service examples/fleet/*.timer; do
		sed "s#/usr/bin/probe-#$B/bin/probe-#; s#/usr/local/sbin/probe-textfile#$PWD/examples/fleet/probe-textfile#" "$unit" >"$T/units/${unit##*/}"
	done
	# A unit that does not exist shows that errors are seen.
	sed 's/^ExecStart=.*/ExecStart=/' "$T/units/probe-export.service" >"$T/units/wrong.service"
	for unit in "$T"/units/*; do
		case $unit in *@.service) unit=${unit/@/@web} && ln -s "${unit/@web/@}" "$unit" ;; esac
		said=$(SYSTEMD_LOG_LEVEL=warning systemd-analyze verify --man=no "$unit" 2>&1 | grep -F "${unit##*/}")
		case $unit in
		*/wrong.service) want_like "a unit that is wrong" "*wrong.service*" "$said" ;;
		*) want "${unit##*/}" "" "$said" ;;
		esac
	done
else
	part_skipped "the units need systemd-analyze"
fi

# ---- the dashboard ----
want "panels with the same id" "" "$(jq -r '[.panels[].id] | group_by(.)[] | select(length > 1)[0]' $board)"
want "panels outside of the grid's 24 columns" "" "$(jq -r '.panels[] | select(.gridPos.x + .gridPos.w > 24) | .title' $board)"
want "panels that overlap" "" "$(jq -r '[.panels[] | .title as $title | .gridPos |
	range(.x; .x + .w) as $x | range(.y; .y + .h) as $y | {at: [$x, $y], title: $title}] | group_by(.at)[] | select(length > 1)[0].title' $board | sort -u)"
want "panels without a query or a data source" "" "$(jq -r '.panels[] | select((.targets | length) == 0 or .datasource.uid != "${datasource}") | .title' $board)"
jq -r '.templating.list[].name' $board | sed 's/^/$/' >"$T/known"
printf '%s\n' '$__range' '$__rate_interval' >>"$T/known"
want "unknown variables" "" "$(jq -r '.. | objects | (.expr // empty), (.query? | objects.query // empty)' $board | grep -o '\$[a-z_]*' | grep -vxFf "$T/known")"

# ---- metrics that exist ----
sed -n 's/.*{ "\(probepoint_[a-z_]*\)", .*/\1/p' cmd/metrics.c >"$T/families"
[ "$(wc -l <"$T/families")" -ge 30 ] || fail "the list of families is not found"
want "unknown metrics" "" "$(grep -oh 'probepoint_[a-z_]*' $board examples/fleet/probepoint-rules.yml |
	sed 's/_total$//; s/_bucket$//' | sort -u | grep -vxFf "$T/families")"

# ---- Prometheus ----
if ! have promtool; then
	part_skipped "rules and queries need promtool"
	exit 0
fi
expect 0 promtool check rules examples/fleet/probepoint-rules.yml
: >"$T/empty"
sed "s#/etc/prometheus/[a-z-]*\(.pem\|password\)#$T/empty#; s#- probepoint-rules.yml#- $PWD/examples/fleet/probepoint-rules.yml#" examples/fleet/prometheus.yml \
	>"$T/prometheus.yml"
expect 0 promtool check config --syntax-only "$T/prometheus.yml"
jq -r '[.. | objects | .expr // empty] | unique[] | gsub("\\$__range|\\$__rate_interval"; "1m") | gsub("\\$[a-z]+"; ".*") |
	"  - record: a:b\n    expr: " + tojson' $board >"$T/queries"
[ "$(grep -c record "$T/queries")" -ge 20 ] || fail "the dashboard's queries are not found"
sed '1i groups:\n- name: board\n  rules:' "$T/queries" >"$T/board.yml"
expect 0 promtool check rules --lint=none "$T/board.yml"
sed 's/rate(/rote(/' "$T/board.yml" >"$T/wrong.yml"
expect 1 promtool check rules --lint=none "$T/wrong.yml"
