#compdef probe-list probe-enable probe-disable probe-stat probe-trace probe-report probe-export
# SPDX-License-Identifier: MIT
# Completion of zsh: options, pids, sessions, and the probes of the files and processes that the command line names.
#
# 1. Nothing from the command line is evaluated: a word with $ or ` is not used, except $(pidof NAME) and
#    $(pgrep -d, NAME).
# 2. The names come from probe-list and probe-stat, which get PROBEPOINT_COMPLETION_TIME seconds (default 2).
# 3. Only probes whose names consist of letters, digits and _ . : - are offered, and at most 2000.

_probepoint_run() { command timeout -k 1 "${PROBEPOINT_COMPLETION_TIME:-2}" "$@" 2>/dev/null </dev/null }

# _probepoint_names FIELD: reads a table, and prints the names in this field that begin with $text, each once. Of names that differ
# in their provider only the providers are printed, as long as $text has no ':'.
_probepoint_names() {
	command awk -v field="$1" -v begin="$text" '
		$field !~ /^[A-Za-z0-9_.:-]+$/ || index($field, begin) != 1 { next }
		!(($0 = $field) in seen) {
			seen[$0]
			provider = substr($0, 1, index($0, ":"))
			if (!(provider in providers) && ++np > 2000 && n >= 2000) exit
			providers[provider]
			if (n < 2000) names[++n] = $0
		}
		END {
			if (np > 1 && begin !~ /:/) { for (p in providers) print p; exit }
			for (i = 1; i <= n; i++) print names[i]
		}'
}

# Sets sources to the arguments that name files and processes, and session.
_probepoint_read_words() {
	local -a with_argument
	local word value bare i
	sources=() session=()
	for ((i = 2; i < CURRENT; i++)); do
		word=$words[i] value=
		case $word in
		(--) return ;;
		(--*=*) value=${word#*=} word=${word%%=*} ;;
		(--(pid|file|session|match|backend|count|output|max-size|max-files|interval|times|top|sort|if|string|no-string|cgroup|maxactive|every|rate|min-duration|latency|on|for|budget|format|color|delay|config|trace-id|by|rows|html|perfetto|agg|agg-size|buffer|print|strlen|flight-recorder|trigger|max-series|listen|user)|-[pfsmbnoi]) value=$words[++i] ;;
		(-[pfsmbnoi]*) value=${word[3,-1]} word=${word[1,2]} ;;
		(-*) continue ;;
		(*) [[ $service == probe-list ]] || continue; value=$word word=-f ;;
		esac
		(( i < CURRENT )) || return
		# What the shell would expand, without what is quoted.
		bare=${${value//\\?/}//\'[^\']#\'/}
		if [[ $word == (-p|--pid) && ${(Q)value} =~ '^[$][(](pidof|pgrep -d,) ([A-Za-z0-9_.-]+)[)]$' ]]; then
			value=${${(f)"$(command pidof -- $match[2] 2>/dev/null)"}// /,}
		elif [[ $bare == *[\$\`]* ]]; then
			continue
		fi
		value=${(Q)value}
		[[ $value != '~/'* ]] || value=$HOME/${value#??}
		case $word in
		(-p|--pid) [[ $value == [0-9][0-9,]# ]] && sources+=(-p "$value") ;;
		(-f|--file) sources+=(-f "$value") ;;
		(-s|--session) session=(-s "$value") ;;
		esac
	done
}

_probepoint_probes() {
	setopt localoptions extendedglob
	local text=${(Q)PREFIX} pattern=
	local -a sources session found
	[[ $text != *[\*\?\[\\\$\`]* ]] || return 1
	[[ $text != *:* ]] || pattern=${text#*:}
	_probepoint_read_words
	if [[ $service == (probe-stat|probe-disable) ]]; then
		found=(${(f)"$(_probepoint_run probe-stat -a -q "${session[@]}" | _probepoint_names 3)"})
	else
		(( ! $#sources )) || found=(${(f)"$(_probepoint_run probe-list -q "${sources[@]}" -m "${text%%:*}*:${pattern}*" | _probepoint_names 1)"})
		[[ $service == probe-list ]] || found+=(func:)
	fi
	compadd -S '' -- ${(M)found:#*:}
	compadd -- ${found:#*:}
}

_probepoint_pids() {
	local dir pid name
	local -a pids shown
	compset -P '*,'
	for dir in /proc/[0-9]*(N); do
		# Kernel threads, and processes that this user may not inspect, have no file.
		pid=${dir:t}
		[[ -e $dir/exe && $pid != $$ ]] || continue
		name=
		{ read -r name <$dir/comm } 2>/dev/null
		pids+=($pid)
		shown+=("$pid ${name//[^[:print:]]/?}")
	done
	compadd -l -d shown -- $pids
}

_probepoint_sessions() {
	local text=${(Q)PREFIX}
	compadd -- ${(f)"$(_probepoint_run probe-list --sessions -q | _probepoint_names 1)"}
}

_probepoint() {
	local -a options arming
	options=(
		'(- *)'{-\?,--help}'[print help]' '(- *)--usage[print a short usage message]' '(- *)'{-V,--version}'[print the version]'
		'--json[print results as JSON]' {-q,--quiet}'[print only results and errors]' {-v,--verbose}'[print more details]'
	)
	if [[ $service == probe-export ]]; then
		_arguments -S $options '--listen=[serve HTTP at this ADDRESS\:PORT]:address: ' '--user=[serve as this user]:user:_users' \
			'--max-series=[serve at most N series of a session]:number: ' '--cost[measure the cost of the sessions]'
		return
	fi
	[[ $service == probe-report ]] || options+=('*'{-p,--pid=}'[select this process]:pid:_probepoint_pids')
	arming=(
		{-b,--backend=}'[arm through this backend]:backend:(auto kernel agent)'
		'--cgroup=[select processes in this control group]:directory:_files -/'
		'--children[include processes that the processes of -p fork]' '--pgrp[include process groups of the processes of -p]'
		'*'{-f,--file=}'[select this executable or library]:file:_files'
		'--if=[select hits for which the expression is true]:expression: '
		'--every=[record and aggregate only each Nth hit]:number: ' '--rate=[record and aggregate at most N hits per second]:rate: '
		'--maxactive=[track at most N calls in flight]:number: ' '--min-duration=[select calls that took TIME or more]:time: '
		'--latency=[measure the time between two probes]:probe:_probepoint_probes:probe:_probepoint_probes'
		'--agg=[compute this at the hits]:expression: ' '--agg-size=[keep at most N keys and buckets]:number: '
		'--stack[count the hits by their stack of calls]'
		'*--print=[record these values]:expressions: ' '--strlen=[record at most N bytes of a string]:number: '
		'--buffer=[use a buffer of this size]:size: '
		'--on=[match the two probes by this expression]:expression: '
		'*--string=[read this argument as a string]:argument: ' '*--no-string=[show the address of this argument]:argument: '
		{-s,--session=}'[use this session]:session:_probepoint_sessions'
		'--fast[arm by calls instead of traps]' '--uretprobe[see returns by uretprobes]' '--yes[arm more than 500 sites without confirmation]'
	)
	case $service in
	(probe-list)
		_arguments -S $options '*'{-f,--file=}'[select this file]:file:_files' \
			'*'{-m,--match=}'[list only these probes]:pattern:_probepoint_probes' '--sites[list each site]' \
			'--all-processes[list the files of all processes]' '--check[print the faults of probes]' \
			'--sessions[list sessions]' '*:file:_files' ;;
	(probe-stat)
		_arguments -S $options $arming {-a,--all}'[show also probes without hits]' {-i,--interval=}'[report every SECONDS]:seconds: ' \
			{-n,--times=}'[stop after TIMES reports]:times: ' '--top=[show only the first N probes]:number: ' \
			'--for=[stop after this time]:time: ' '--sort=[order by]:order:(hits rate lost name p50 p99)' '--percentiles[show P50 and P99 of pct()]' \
			'--openmetrics[print OpenMetrics text]' '--prometheus[print text for Prometheus]' \
			'--max-series=[print at most N series]:number: ' \
			'--folded[print stacks as flame graphs need them]' '--plain[print lines also on a terminal]' '*:pattern:_probepoint_probes' ;;
	(probe-disable)
		_arguments -S $options '--all[disarm all probes of all sessions]' \
			{-s,--session=}'[use this session]:session:_probepoint_sessions' '*:pattern:_probepoint_probes' ;;
	(probe-enable)
		_arguments -S $options $arming '--budget=[disarm probes that take more than this share of a CPU]:share: ' \
			'--flight-recorder=[keep the newest records in this memory]:size: ' \
			'--check[print what would change]' '--config=[arm what this file describes]:file:_files' \
			'--follow[stay, and arm new versions of files]' \
			'--for=[disarm after this time]:time: ' '--inject[load the agent into the processes of -p]' \
			'--overwrite[keep the newest records]' '--record[record from the start]' \
			'--system-calls[let hits of the agent read memory by system calls]' \
			'--until-exit=-[disarm when this process has exited]::pid:_probepoint_pids' \
			'*:pattern:_probepoint_patterns' ;;
	(probe-trace)
		_arguments -S $options $arming {-n,--count=}'[stop after COUNT records]:count: ' \
			'--max-size=[begin a new trace when the last one has SIZE bytes]:size: ' \
			'--max-files=[keep the newest N traces]:number: ' \
			'--for=[stop after this time]:time: ' '--format=[print records like FORMAT]:format: ' \
			'--color=[print each probe in a color]:when:(auto always never)' '--delay=[hold records back for this time]:time: ' \
			'--snapshot[show what the flight recorder has in memory]' \
			'--trigger=[take the snapshot at the first hit of this probe]:pattern:_probepoint_probes' \
			'--otlp[print OTLP/JSON]' '--trace-id=[take the trace id from this argument]:argument: ' \
			{-o,--output=}'[write a trace to this new directory]:directory:_files -/' '*:pattern:_probepoint_patterns' ;;
	(probe-report)
		_arguments -S $options '--by=[print the durations of calls by]:what:(probe thread process)' \
			'--folded[print call stacks for flame graphs]' '--histograms[print histograms of durations]' \
			'--html=[write a page for a browser to this file]:file:_files' '--perfetto=[write a Chrome trace to this file]:file:_files' {-n,--rows=}'[print at most N rows of each table]:number: ' \
			'1:directory:_files -/' ;;
	esac
}

# Patterns, and after -- a command with its arguments.
_probepoint_patterns() {
	local at=${words[(i)--]}
	if (( at < CURRENT )); then
		shift $at words
		(( CURRENT -= at ))
		_normal
	else
		_probepoint_probes
	fi
}

_probepoint "$@"
