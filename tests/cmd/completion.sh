#!/bin/bash
# SPDX-License-Identifier: MIT
# Completion of bash and zsh, in an interactive shell on a terminal: options, files, pids, sessions, and the probes of files and
# processes, quoted or not. Nothing of the command line is executed, and file names cannot harm.
. tests/lib.sh
need python3

# typed SHELL: types standard input, one line each, and sets got to the lines that the shell completes.
typed() {
	case $1 in
	bash)
		cat >"$T/setup" <<-E
			bind 'set enable-bracketed-paste off'
			bind 'set bell-style none'
			cd '$T'
			. '$PWD/scripts/install/completion.bash'
			shown() { printf '\\1%s\\2' "\$READLINE_LINE"; READLINE_LINE= READLINE_POINT=0; }
			bind -x '"\C-g": shown'
			PS1=\$'\4'
		E
		set -- bash --norc --noprofile -i
		;;
	zsh)
		cp scripts/install/completion.zsh "$T/_probepoint"
		cat >"$T/setup" <<-E
			unset zle_bracketed_paste
			unsetopt beep
			cd '$T'
			fpath=('$T' \$fpath)
			autoload -U compinit
			compinit -u -D
			shown() { printf '\\1%s\\2' "\$BUFFER"; BUFFER= }
			zle -N shown
			bindkey '^G' shown
			PS1=\$'\4'
		E
		set -- zsh -f -i
		;;
	esac
	mapfile -t got < <(python3 tests/cmd/completion.py ". $T/setup" "$@" 2>&1)
}

# check SHELL: reads pairs of lines from standard input, what is typed and what the shell shall have then.
check() {
	local -a lines typed wanted
	local i
	mapfile -t lines
	for ((i = 0; i < ${#lines[@]}; i += 2)); do
		typed+=("${lines[i]}") wanted+=("${lines[i + 1]}")
	done
	typed "$1" < <(printf '%s\n' "${typed[@]}")
	for i in "${!typed[@]}"; do
		want "$1, \"${typed[i]}\"" "${wanted[i]}" "${got[i]-nothing}"
	done
}

# Prints "COMMAND OPTION" for each long option in --help. "=" follows an option with an argument, "[=" with an optional one.
options() {
	local command
	for command in list enable disable stat trace $optional; do
		probe-$command --help | sed -nE "s/^ {2,6}(-., )? *(--[a-z-]+(\\[?=)?).*/probe-$command \\2/p"
	done
}

# Prints what is typed for each option, all but its last letter, and the line that zsh shall have then.
options_typed() {
	grep -vE 'probe-list --session$| --agg=$' "$T/options" | sed -E '
		h
		s/\[?=$//
		s/--if$/--iff/
		s/--for$/--forr/
		s/--on$/--onn/
		s/.$/\\t/
		p
		x
		s/\[=/=/
		s/([a-z])$/\1 /'
}

export PROBEPOINT_COMPLETION_TIME=60 # a busy machine exceeds the default
optional=
for command in report export; do [ ! -x "$B/bin/probe-$command" ] || optional+=" $command"; done
mkdir "$T/dir" "$T/slow"
printf '#!/bin/sh\n: >"%s/slow/ran"\nexec sleep 1000\n' "$T" >"$T/slow/probe-list"
chmod +x "$T/slow/probe-list"
cp "$B/examples/weblog" "$T/weblog"
cp "$B/examples/weblog" "$T/a 'b\"; touch owned"
cp "$B/examples/weblog" "$T/\$(touch owned)"
cp "$B/examples/kv" "$T/dir/kv"
# A pid is completed if no other one begins with its digits.
pid=
until [ "$pid" ] && ! compgen -G "/proc/${pid}[0-9]*" >/dev/null; do
	[ -z "$pid" ] || kill $pid
	"$T/weblog" -t 3600 >/dev/null 2>&1 & pid=$!
done
runs $pid "$T/weblog"
probe-enable -q -s "$S" -f "$T/weblog" weblog:account__entry weblog:complain__entry 2>/dev/null && session=$S
at_end "probe-disable -q -s $S 2>/dev/null"

options >"$T/options"
[ "$(wc -l <"$T/options")" -gt 60 ] || fail "only $(wc -l <"$T/options") options were found in --help"
for shell in bash zsh; do
	have $shell || { part_skipped "$shell is not installed"; continue; }
	if [ $shell = bash ]; then
		want "options of bash" "$(sed -E 's/\[?=$//' "$T/options" | sort)" "$(bash -c '
			. scripts/install/completion.bash
			for command in probe-list probe-enable probe-disable probe-stat probe-trace '"${optional// / probe-}"'; do
				_probepoint_options | tr " " "\n" | sed -n "s/^--/$command --/p"
			done' | sort)"
	else
		# The other commands share most of their options with these two.
		[ "${PROBEPOINT_LONG-}" ] || sed -i '/^probe-\(list\|enable\)/!d' "$T/options"
		check zsh < <(options_typed)
	fi

	check $shell <<E
probe-list web\t
probe-list weblog 
probe-enable -f weblog we\t
probe-enable -f weblog weblog:
probe-enable -f weblog weblog:find\t
probe-enable -f weblog weblog:find_route__
probe-enable -f weblog weblog:find_route__e\t
probe-enable -f weblog weblog:find_route__entry 
probe-enable -f weblog 'weblog:find_route__e\t
probe-enable -f weblog 'weblog:find_route__entry' 
probe-enable --file=weblog weblog:find_route__e\t
probe-enable --file=weblog weblog:find_route__entry 
probe-enable -f "weblog" -- x weblog:find_route__e\t
probe-enable -f "weblog" -- x weblog:find_route__e
probe-trace -p $pid weblog:find_route__r\t
probe-trace -p $pid weblog:find_route__return 
probe-trace -p$pid weblog:find_route__r\t
probe-trace -p$pid weblog:find_route__return 
probe-list weblog -m weblog:acc\te\t
probe-list weblog -m weblog:account__entry 
probe-list -p $pid -m weblog:find_route__e\t
probe-list -p $pid -m weblog:find_route__entry 
probe-stat -p 1,$pid\t
probe-stat -p 1,$pid 
probe-enable fu\t
probe-enable func:
probe-enable -b ke\t
probe-enable -b kernel 
probe-enable -f dir/k\t
probe-enable -f dir/kv 
probe-enable --file=dir/k\t
probe-enable --file=dir/kv 
probe-enable -f missing we\t
probe-enable -f missing we
probe-enable -f weblog weblog:*_e\t
probe-enable -f weblog weblog:*_e
probe-enable -f "\$(touch owned)" we\t
probe-enable -f "\$(touch owned)" we
probe-enable -f '\$(touch owned)' weblog:find_route__e\t
probe-enable -f '\$(touch owned)' weblog:find_route__entry 
probe-enable -p "\$(touch owned)" we\t
probe-enable -p "\$(touch owned)" we
probe-enable -f a\\ \\'b\\"\\;\\ touch\\ owned weblog:find_route__e\t
probe-enable -f a\\ \\'b\\"\\;\\ touch\\ owned weblog:find_route__entry 
probe-enable -f a\t
probe-enable -f a\\ \\'b\\"\\;\\ touch\\ owned 
E
	[ ! -e "$T/owned" ] || fail "$shell: a command of the command line ran"
	# A command that does not end is stopped.
	begin=${EPOCHREALTIME/[.,]/}
	PATH=$T/slow:$PATH PROBEPOINT_COMPLETION_TIME=0.2 check $shell <<E
probe-enable -f weblog we\t
probe-enable -f weblog we
E
	[ -e "$T/slow/ran" ] || fail "$shell: probe-list did not run"
	[ $((${EPOCHREALTIME/[.,]/} - begin)) -lt 500000000 ] || fail "$shell: completion waited for probe-list"
	rm "$T/slow/ran"
	[ "${session-}" ] || { part_skipped "sessions: the kernel backend is not permitted"; continue; }
	check $shell <<E
probe-stat -s ${S%?}\t
probe-stat -s $S 
probe-disable -s $S weblog:acc\t
probe-disable -s $S weblog:account__entry 
probe-trace --session=${S%?}\t
probe-trace --session=$S 
E
done
