#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# limit: 40000 20000
# Services under a storm of commands that arm, filter, trace and disarm random probes and are killed at random moments:
# Redis, nginx, PostgreSQL, a JVM and Python, each with the kernel backend, with the agent preloaded, and with the agent
# injected. In each round the service must compute the same as without probes. At the end its code must be that of the
# file, its semaphores 0, no thread or descriptor of ours in it, no session left, and the counts must add up.
#
# PROBEPOINT_STORM=SECONDS is the time for each service and way (default 600). SERVICES and WAYS select some.
# PROBEPOINT_SEED repeats the commands. PROBEPOINT_STORM_VERBOSE=1 prints the most frequent refusals.
. tests/lib.sh
need jq python3 nm
need_root
AGENT=$B/lib/libprobepoint-agent.so
[ -e "$AGENT" ] || skip "no agent was built"
[ -e "$B/lib/probepoint.so" ] || skip "no plugin was built"
seconds=${PROBEPOINT_STORM:-600}
seed=${PROBEPOINT_SEED:-$((SRANDOM % 32768))}
services=${SERVICES:-redis nginx postgres java python}
ways=${WAYS:-kernel preload inject}
echo "PROBEPOINT_SEED=$seed"

for_others
mkdir -m 700 "$T/run-nobody"
chown 65534:65534 "$T/run-nobody"
wraps=$T/wraps.so
${PLUGIN_CC:-gcc} -O2 -g -fPIC -shared -Wall -Wextra -D_GNU_SOURCE -fno-builtin -Iinclude -fplugin="$B/lib/probepoint.so" \
	-fplugin-arg-probepoint-functions='work_*' -o "$wraps" tests/long/storm/wraps.c -ldl || fail "wraps.c does not build"

# ---- one service ----

# run_service COMMAND...: executes the service, with the preloaded library of this way.
run_service() {
	local preload=$wraps
	[ "$way" != preload ] || preload=$T/product/lib/libprobepoint-agent.so:$wraps
	if [ "$owner" = nobody ]; then
		exec setpriv --reuid=65534 --regid=65534 --clear-groups env XDG_RUNTIME_DIR="$T/run-nobody" LD_PRELOAD="$preload" "$@"
	fi
	exec env LD_PRELOAD="$preload" "$@"
}

# The user who runs the service runs the commands too, except with the kernel backend.
set_control() {
	control=(env --default-signal=INT)
	[ "$owner" = root ] || [ "$way" = kernel ] ||
		control=(setpriv --reuid=65534 --regid=65534 --clear-groups env --default-signal=INT XDG_RUNTIME_DIR="$T/run-nobody"
			PROBEPOINT_AGENT="$T/product/lib/libprobepoint-agent.so" "PATH=$T/product/bin:$PATH")
}
control() { "${control[@]}" "$@"; }

# Prints the process and its descendants.
tree() {
	local child
	echo $1
	for child in $(cat /proc/$1/task/*/children 2>/dev/null); do tree $child; done
}

wrong() { echo "$*" >>"$T/wrong"; }

# Runs rounds until the storm ends. Each must give the result of the first, which ran without probes.
work() {
	local n=0
	while [ ! -e "$T/enough" ]; do
		n=$((n + 1))
		service_round >"$T/round" 2>&1
		echo $n >"$T/rounds"
		cmp -s "$T/reference" "$T/round" || { wrong "round $n differs: $(diff "$T/reference" "$T/round" | head -n 20)"; return; }
	done
}

# ---- the storm ----

pick() { picked=${*:RANDOM % $# + 1:1}; }

symbol() { # prints a function that the service calls often, or any function
	if [ $((RANDOM % 2)) = 0 ] || [ ${#symbols[@]} = 0 ]; then pick "${hot[@]}"; else picked=${symbols[RANDOM % ${#symbols[@]}]}; fi
}

add_patterns() {
	local n=$((RANDOM % 4 + 1))
	while [ $((n--)) -gt 0 ]; do
		case $((RANDOM % 10)) in
		0 | 1) pick 'wraps:*' 'wraps:work_*' 'wraps:[a-l]*' '*e*' 'wraps:begin' 'wraps:end' ;;
		2 | 3) pick wraps:copy wraps:length wraps:compare wraps:lock 'wraps:work_mix*' wraps:work_two__return ;;
		4) if [ $((RANDOM % 5)) = 0 ]; then picked='*'; else pick "${probes[@]}"; fi ;;
		5 | 6) pick "${probes[@]}" ;;
		7) symbol; picked=func:$picked ;;
		8) symbol; picked=func:$picked%return ;;
		9) pick func:read func:write func:memcpy func:epoll_wait%return func:work_mix%return func:malloc func:free ;;
		esac
		case $way:$backend:$picked in kernel:* | *:auto:*) ;; *:func:*) picked='wraps:*' ;; esac
		command+=("$picked")
	done
}

add_targets() {
	local all=($(tree $pid))
	pick $pid "${all[@]}"
	case $((RANDOM % 8)) in
	0 | 1) command+=(-p $pid) ;;
	2) command+=(-p $picked) ;;
	3 | 4) command+=(-p "$(IFS=,; echo "${all[*]}")") ;;
	5) command+=(-p $pid --children) ;;
	6) pick "${files[@]}"; command+=(-p $pid -f "$wraps" -f "$picked") ;;
	7)
		if [ $way != kernel ]; then command+=(-p $picked --children); else pick "${files[@]}"; command+=(-f "$wraps" -f "$picked"); fi
		;;
	esac
}

add_filter() {
	pick 'pid > 0' 'tid % 2 == 0' 'arg0 > 16' 'arg2 > 64 && arg2 < 5000' 'comm =~ "x*"' 'arg0 == "read"' 'arg0 =~ "wr*"' 'arg1 != 0'
	[ $((RANDOM % 4)) != 0 ] || command+=(--if "$picked")
}

make_command() {
	local session=$S-$((RANDOM % 2 + 1))
	command=()
	backend=agent
	[ $way != kernel ] || backend=kernel
	[ $((RANDOM % 6)) != 0 ] || backend=auto
	traces=
	case $((RANDOM % 14)) in
	0 | 1 | 2 | 3 | 4 | 12)
		command=(probe-enable -q --yes -s $session -b $backend)
		[ $((RANDOM % 4)) != 0 ] || command+=(--record)
		case $way:$((RANDOM % 5)) in
		kernel:0) command+=(--for $((RANDOM % 900 + 50))ms) ;;
		kernel:1) command+=(--budget 20%) ;;
		kernel:2) command+=(--maxactive $((RANDOM % 50 + 1)) func:work_mix%return) ;;
		preload:0 | inject:0) command+=(--overwrite) ;;
		inject:1 | inject:2) command+=(--inject) ;;
		esac
		add_targets; add_filter; add_patterns
		;;
	5) command=(probe-disable -q -s $session) ;;
	6) command=(probe-disable -q -s $session); add_patterns ;;
	7) command=(probe-trace -q -n $((RANDOM % 1000)) -b $backend); add_targets; add_filter; add_patterns; traces=1 ;;
	8) command=(probe-trace -q -n $((RANDOM % 1000)) -s $session); traces=1 ;;
	9) command=(probe-trace -q -o "$traces_at/$commands" -s $session); traces=1 ;;
	10 | 13) command=(probe-stat --json -s $session) ;;
	11) command=(probe-list -q); pick -p --sessions; command+=($picked); [ $picked = --sessions ] || command+=($pid) ;;
	esac
}

# run_command NUMBER FATE DELAY COMMAND...: runs it to its end, or kills or interrupts it after the delay.
run_command() {
	local number=$1 fate=$2 delay=$3 out=$T/said/$1 status child i
	shift 3
	"${control[@]}" "$@" >"$out" 2>&1 </dev/null &
	child=$!
	case $fate in
	KILL | INT) sleep $delay; kill -$fate $child 2>/dev/null ;;
	esac
	for ((i = 0; i < 2400; i++)); do
		kill -0 $child 2>/dev/null || break
		sleep 0.05
		# The first signal was lost if it came before exec.
		[ $fate != INT ] || [ $((i % 100)) != 99 ] || kill -INT $child 2>/dev/null
	done
	if kill -0 $child 2>/dev/null; then
		wrong "\"$*\" does not end within 120 s; it waits in $(cat /proc/$child/wchan): $(tail -n 2 "$out")"
		kill -KILL $child
	fi
	wait $child 2>/dev/null
	status=$?
	echo "$fate $status $*" >>"$T/commands"
	case $fate:$status in
	*:0 | *:1 | *:3 | KILL:137 | INT:130 | INT:2) ;;
	*) wrong "\"$*\" ($fate after $delay s) ends with $status: $(tail -n 3 "$out")" ;;
	esac
	case $1:$status in
	probe-stat:0) jq '[.probes[].hits] | add // 0' "$out" >>"$T/hits" 2>/dev/null || wrong "\"$*\" printed invalid JSON" ;;
	*:1 | *:3) sed 's/[0-9][0-9]*/N/g' "$out" | head -n 3 >>"$T/errors" ;;
	esac
	rm -rf "$out" "${traces_at:?}/$number"
}

storm() {
	local until=$((SECONDS + seconds)) fate
	while [ $SECONDS -lt $until ] && [ ! -e "$T/wrong" ]; do
		make_command
		case $((RANDOM % 5)) in 0 | 1) fate=KILL ;; 2) fate=INT ;; *) fate=end ;; esac
		[ ! "$traces" ] || [ $fate != end ] || fate=INT
		run_command $commands $fate "$(spread 800000)" "${command[@]}" &
		commands=$((commands + 1))
		while [ "$(jobs -pr | wc -l)" -gt $((jobs_before + 3)) ]; do sleep 0.02; done
		kill -0 $pid 2>/dev/null || wrong "the service has ended"
	done
	[ -e "$T/wrong" ] || wait_commands
}
wait_commands() {
	local job
	for job in $(jobs -pr); do [[ " $pid $worker " == *" $job "* ]] || wait $job 2>/dev/null; done
}

# ---- after the storm ----

# A child that is forked from a process with jumps and is not in scope keeps the jumps, which do nothing, and the values of
# semaphores. A service that forks all the time starts its processes again from one without jumps.
service_renew() { :; }

sessions() { control probe-list --json --sessions | jq -r '.sessions[].session' | grep "^$S-"; }
# Checks that each row adds up. Nothing is hit now, so hits in flight end soon.
adds_up() { [ -z "$(control probe-stat --json -s $1 | jq -c '.probes[] | select(.hits != .filtered + .idle + .recorded + .lost)' | tee "$T/sum")" ]; }
clean() { python3 tests/long/storm/memory.py $([ $way = kernel ] || echo --agent) $(tree $pid) >"$T/clean" 2>&1; }
eventually() { # SECONDS COMMAND...
	local until=$((SECONDS + $1))
	shift
	until "$@"; do [ $SECONDS -lt $until ] || return 1; sleep 0.1; done
}
# The keeper ends with the last session.
ours() { pgrep -af "probe-(enable|trace|stat|disable).* $S-"; }
nothing_of_ours() { ! ours >/dev/null; }
no_sessions() { [ -z "$(sessions)" ] && { [ $way != kernel ] || ! ls /sys/fs/bpf/probepoint* 2>/dev/null | grep -q "^$S-"; }; }

# All processes must still be armable, so that each hit of the next round is counted.
arm_all() {
	local process armed=0 refused=0 inject= backend=agent
	[ $way != inject ] || inject=--inject
	[ $way != kernel ] || backend=kernel
	for process in $(tree $pid); do
		if control probe-enable -q $inject -s $S-1 -b $backend --children -p $process 'wraps:*' >"$T/armed" 2>&1; then
			armed=$((armed + 1))
		elif grep -q 'is in the middle of malloc' "$T/armed"; then
			refused=$((refused + 1)) # --inject may find stale addresses on a stack
		elif kill -0 $process 2>/dev/null; then
			wrong "arming process $process again fails: $(tail -n 3 "$T/armed")"
		fi
	done
	[ $armed -gt 0 ] || wrong "no process can be armed again; $refused may be in malloc"
}

check_end() {
	local s i
	for s in $(sessions); do
		control probe-stat --json -s $s 2>/dev/null | jq '[.probes[].hits] | add // 0' >>"$T/hits"
		eventually 20 adds_up $s || wrong "session $s does not add up: $(head -n 5 "$T/sum")"
		for i in 1 2 3; do control probe-disable -q -s $s >"$T/out" 2>&1 && break; done
	done
	eventually 20 no_sessions || wrong "sessions are left: $(sessions | xargs): $(cat "$T/out")"
	service_renew
	eventually 20 clean || wrong "left: $(cat "$T/clean")"
	eventually 20 nothing_of_ours || wrong "processes are left: $(ours)"
	arm_all
	service_round >"$T/round" 2>&1
	cmp -s "$T/reference" "$T/round" || wrong "the last round but one differs: $(diff "$T/reference" "$T/round" | head -n 20)"
	eventually 20 adds_up $S-1 || wrong "the last session does not add up: $(head -n 5 "$T/sum")"
	control probe-stat --json -s $S-1 | jq '[.probes[].hits] | add // 0' >"$T/last" 2>/dev/null
	[ "$(cat "$T/last")" -gt 100 ] 2>/dev/null || wrong "in the last round only $(cat "$T/last") hits"
	control probe-disable -q -s $S-1 || wrong "the last session cannot be ended"
	service_renew
	eventually 20 clean || wrong "left at the end: $(cat "$T/clean")"
	service_round >"$T/round" 2>&1
	cmp -s "$T/reference" "$T/round" || wrong "the last round differs: $(diff "$T/reference" "$T/round" | head -n 20)"
}

most_hits() { sort -n "$T/hits" | tail -n 1 | grep . || echo 0; }

# Prints where each thread of the service is, to help find the cause.
show() {
	local p t
	for p in $(tree $pid); do
		for t in /proc/$p/task/*; do
			echo "  $p ${t##*/} $(cat $t/comm 2>/dev/null): $(sed -n 's/^State:[[:space:]]*//p' $t/status 2>/dev/null) $(cat $t/wchan 2>/dev/null)"
		done
	done
	tail -n 25 "$T/service.out"
}

campaign() { # runs in a subshell, so that one service's functions do not affect the next
	owner=root
	. "tests/long/storm/$service.sh"
	reason=$(service_needs)
	[ -z "$reason" ] || { part_skipped "$service: $reason"; return 0; }
	service_needs >/dev/null
	set_control
	RANDOM=$seed
	rm -rf "$T"/{wrong,enough,commands,hits,errors,rounds,said,traces}
	mkdir "$T/said" "$T/traces"
	chmod 777 "$T/traces"
	traces_at=$T/traces commands=0
	: >"$T/commands"; : >"$T/hits"; : >"$T/errors"
	service_start
	probes=($(for file in "$wraps" "${files[@]}"; do probe-list --json "$file" 2>/dev/null; done |
		jq -r '.probes[] | "\(.provider):\(.name)"'))
	symbols=($(nm -D --defined-only "${files[@]}" 2>/dev/null | awk '$2 == "T" { print $3 }' | grep -v @))
	service_round >"$T/reference" 2>&1
	service_round >"$T/round" 2>&1
	cmp -s "$T/reference" "$T/round" || fail "$service gives different results without probes: $(diff "$T/reference" "$T/round")"
	# Another test may have armed a file in all processes at this moment.
	eventually 60 clean || fail "$service is not clean before: $(cat "$T/clean")"
	work &
	worker=$!
	jobs_before=$(jobs -pr | wc -l)
	set -f
	storm 2>/dev/null
	set +f
	touch "$T/enough"
	[ -e "$T/wrong" ] || wait $worker
	[ -e "$T/wrong" ] || check_end
	echo "$service $way: $(cat "$T/rounds" 2>/dev/null || echo 0) rounds, $(wc -l <"$T/commands") commands," \
		"$(grep -c '^[a-zA-Z]* 0 ' "$T/commands") successful, $(grep -c ^KILL "$T/commands") killed," \
		"up to $(most_hits) hits in a session"
	[ -z "${PROBEPOINT_STORM_VERBOSE-}" ] || sort "$T/errors" | uniq -c | sort -rn | head -n 12
	if [ -e "$T/wrong" ]; then
		cat "$T/wrong"
		show
		tail -n 12 "$T/commands"
		return 1
	fi
	local n=$(wc -l <"$T/commands")
	[ "$n" -ge $((seconds / 3)) ] || { echo "only $n commands"; return 1; }
	[ "$seconds" -lt 20 ] || [ "$(most_hits)" -gt 0 ] || { echo "no probe was hit"; return 1; }
	service_stop || { echo "$service ends with $?: $(tail -n 5 "$T/service.out")"; return 1; }
}

failed=
for service in $services; do
	for way in $ways; do
		# If it fails, its processes end with it.
		(
			trap 'status=$?; trap - EXIT; kill -KILL $(jobs -p) $(tree ${pid:-0} 2>/dev/null) 2>/dev/null
				for s in 1 2; do control probe-disable -q -s $S-$s; done 2>/dev/null; exit $status' EXIT
			campaign
		) || { failed+=" $service:$way"; echo "FAILED: $service $way"; }
	done
done
[ -z "$failed" ] || fail "seed $seed:$failed"
