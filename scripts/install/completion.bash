# SPDX-License-Identifier: MIT
# shellcheck shell=bash
# Completion of bash for probe-list, probe-enable, probe-disable, probe-stat, probe-trace, probe-report and probe-export: options, pids,
# sessions, and the probes of the files and processes that the command line names.
#
# 1. Nothing from the command line is evaluated. Words are unquoted here; a word with $ or ` is not used, except
#    $(pidof NAME) and $(pgrep -d, NAME).
# 2. The names come from probe-list and probe-stat, which get PROBEPOINT_COMPLETION_TIME seconds (default 2).
# 3. Only probes whose names consist of letters, digits and _ . : - are offered, and at most 2000.

# Sets words to the words before the cursor and cur to the word at the cursor, in the quotes of the command line. bash
# splits words at ':' and '=' too, by COMP_WORDBREAKS; these parts are joined.
_probepoint_words() {
	local LC_ALL=C line=${COMP_LINE:0:COMP_POINT} part i
	words=() cur=
	for ((i = 0; i <= COMP_CWORD; i++)); do
		part=${COMP_WORDS[i]}
		if [[ $line == [[:blank:]]* || $i = 0 ]]; then
			line=${line#"${line%%[![:blank:]]*}"}
			words+=("")
		fi
		[[ ${#part} -le ${#line} ]] || part=$line
		words[${#words[@]} - 1]+=$part
		line=${line:${#part}}
	done
	cur=${words[${#words[@]} - 1]}
	unset "words[${#words[@]}-1]"
}

# Sets text to a word without its quotes. Fails if the shell would expand the word.
_probepoint_unquote() {
	local word=$1 c quote=
	text=
	[[ ${#word} -le 4096 ]] || return
	while [[ $word ]]; do
		c=${word:0:1} word=${word:1}
		if [[ $quote = "'" ]]; then
			if [[ $c = "'" ]]; then quote=; else text+=$c; fi
		elif [[ $c = [\$\`] ]]; then
			return 1
		elif [[ $c = \\ ]]; then
			[[ -z $quote || $word == [\"\\\$\`]* ]] || text+=$c
			text+=${word:0:1} word=${word:1}
		elif [[ $c = "$quote" ]]; then
			quote=
		elif [[ -z $quote && $c = [\"\'] ]]; then
			quote=$c
		else
			text+=$c
		fi
	done
	[[ $1 != \~/* ]] || text=$HOME/${text#??}
	return 0
}

# _probepoint_add_pids WORD: adds the argument of -p to sources.
_probepoint_add_pids() {
	local text pidof='^"?\$\((pidof|pgrep -d,) ([A-Za-z0-9_.-]+)\)"?$'
	if [[ $1 =~ $pidof ]]; then
		text=$(pidof -- "${BASH_REMATCH[2]}" 2>/dev/null)
		text=${text// /,}
	else
		_probepoint_unquote "$1" || return
	fi
	[[ $text =~ ^[0-9][0-9,]*$ ]] && sources+=(-p "$text")
}

# Reads the words before the cursor. Sets sources, the arguments that name files and processes; session; after, whether -- was
# given; and wanted, the option whose argument is at the cursor.
_probepoint_read_words() {
	local i word value text with_argument="p f m s b n o i"
	sources=() session=() after= wanted=
	for ((i = 1; i < ${#words[@]}; i++)); do
		word=${words[i]} value=
		case $word in
		--) after=$i; return ;;
		--*=*) value=${word#*=} word=${word%%=*} ;;
		--pid | --file | --match | --session | --backend | --count | --output | --max-size | --max-files | --interval | --times | --top | --sort | --if | \
			--string | --no-string | --cgroup | --maxactive | --every | --rate | --min-duration | --latency | --on | --for | --budget | \
			--format | --color | --delay | --config | --trace-id | --by | --rows | --html | --perfetto | --max-series | --listen | --user | --agg | --agg-size | --buffer | --print | --strlen | --flight-recorder | --trigger | \
			-["$with_argument"]) value=${words[++i]-} ;;
		-["$with_argument"]*) value=${word:2} word=${word:0:2} ;;
		-*) continue ;;
		*) [[ $command != probe-list ]] || { _probepoint_unquote "$word" && sources+=(-f "$text"); }; continue ;;
		esac
		[[ $i -lt ${#words[@]} ]] || { wanted=$word; return; }
		case $word in
		-p | --pid) _probepoint_add_pids "$value" ;;
		-f | --file) _probepoint_unquote "$value" && sources+=(-f "$text") ;;
		-s | --session) _probepoint_unquote "$value" && session=(-s "$text") ;;
		esac
	done
}

# Prints the options of the command.
_probepoint_options() {
	echo "--help --usage --version --json -q --quiet -v --verbose"
	[[ $command != probe-export ]] || { echo "--cost --listen --max-series --user"; return; }
	if [[ $command = probe-report ]]; then
		echo "--by --folded --histograms --html --perfetto -n --rows"
		return
	fi
	echo "-p --pid"
	case $command in
	probe-list) echo "--all-processes --check -f --file -m --match --sites --sessions"; return ;;
	probe-stat) echo "-a --all --folded --for -i --interval --max-series -n --openmetrics --percentiles --plain --prometheus --sort --times --top" ;;
	probe-disable) echo "--all -s --session"; return ;;
	probe-enable) echo "--budget --check --config --flight-recorder --follow --for --inject --overwrite --record --system-calls --until-exit" ;;
	probe-trace) echo "--color -n --count --delay --for --format --max-files --max-size -o --otlp --output --snapshot --trace-id --trigger" ;;
	esac
	echo "--agg --agg-size -b --backend --buffer --cgroup --children --every --fast -f --file --if --latency --maxactive --min-duration --no-string --on" \
		"--pgrp --print --rate -s --session --stack --string --strlen --uretprobe --yes"
}

_probepoint_run() { timeout -k 1 "${PROBEPOINT_COMPLETION_TIME:-2}" "$@" 2>/dev/null </dev/null; }

# _probepoint_names FIELD: reads a table, and prints the names in this field that begin with $text, each once. Of names that differ
# in their provider only the providers are printed, as long as $text has no ':'.
_probepoint_names() {
	awk -v field="$1" -v begin="$text" '
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

_probepoint_probes() {
	case $command in
	probe-export) ;;
	probe-stat | probe-disable) _probepoint_run probe-stat -a -q "${session[@]}" | _probepoint_names 3 ;;
	*)
		[[ ${#sources[@]} = 0 ]] || _probepoint_run probe-list -q "${sources[@]}" -m "${text%%:*}*:${pattern}*" | _probepoint_names 1
		[[ $command = probe-list || func: != "$text"* ]] || echo func:
		;;
	esac
}

_probepoint_pids() {
	local dir pid
	for dir in /proc/[0-9]*; do
		pid=${dir#/proc/}
		# Kernel threads, and processes that this user may not inspect, have no file.
		[[ $pid == "$text"* && -e $dir/exe && $pid != "$$" ]] && echo "$pid"
	done
}

# _probepoint_offer: sets COMPREPLY to the lines of standard input, which have no character that the shell would expand.
# head is the part of the word that stays.
_probepoint_offer() {
	local all="$head" breaks=${COMP_WORDBREAKS//[\"\']/} i
	mapfile -t COMPREPLY
	[[ ${#COMPREPLY[@]} != 1 || ${COMPREPLY[0]} != *: ]] || compopt -o nospace
	# bash replaces only the part after the last character of COMP_WORDBREAKS that is not quoted.
	all+=$text
	[[ $cur != [\"\']* ]] || { for ((i = 0; i < ${#COMPREPLY[@]}; i++)); do COMPREPLY[i]=$head${COMPREPLY[i]}; done; return; }
	local kept=${all%"${all##*["$breaks"]}"}
	for ((i = 0; i < ${#COMPREPLY[@]}; i++)); do
		COMPREPLY[i]=$head${COMPREPLY[i]}
		COMPREPLY[i]=${COMPREPLY[i]#"$kept"}
	done
}

_probepoint_complete_argument() {
	case $wanted in
	-p | --pid | --until-exit)
		[[ $text != *,* ]] || { head+=${text%,*}, text=${text##*,}; }
		_probepoint_offer < <(_probepoint_pids)
		;;
	--by) _probepoint_offer < <(compgen -W "probe thread process" -- "$text") ;;
	-f | --file | --config | -o | --output | --cgroup | --html | --perfetto) compopt -o default ;;
	-s | --session) _probepoint_offer < <(_probepoint_run probe-list --sessions -q | _probepoint_names 1) ;;
	-b | --backend) _probepoint_offer < <(compgen -W "auto kernel agent" -- "$text") ;;
	-m | --match | "")
		local pattern=
		[[ $text != *:* ]] || pattern=${text#*:}
		# A pattern with wildcards is complete.
		[[ $text == *[*?[\\]* ]] || _probepoint_offer < <(_probepoint_probes)
		;;
	esac
}

_probepoint() {
	local command=${1##*/} words cur sources session after wanted text head=
	COMPREPLY=()
	_probepoint_words
	_probepoint_read_words
	if [[ $after ]]; then
		# A command, and its arguments.
		if [[ ${#words[@]} = $((after + 1)) && $cur != */* ]]; then
			_probepoint_unquote "$cur" && mapfile -t COMPREPLY < <(compgen -c -- "$text")
		else
			compopt -o default
		fi
		return
	fi
	if [[ -z $wanted && $cur == --*=* ]]; then
		wanted=${cur%%=*} head=${cur%%=*}= cur=${cur#*=}
	elif [[ -z $wanted && $cur == -* ]]; then
		mapfile -t COMPREPLY < <(compgen -W "$(_probepoint_options)" -- "$cur")
		return
	elif [[ -z $wanted && $command = probe-@(list|report) ]]; then
		compopt -o default
		return
	fi
	_probepoint_unquote "$cur" || return 0
	_probepoint_complete_argument
}

complete -F _probepoint probe-list probe-enable probe-disable probe-stat probe-trace probe-report probe-export
