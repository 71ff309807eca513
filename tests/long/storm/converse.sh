# SPDX-License-Identifier: MIT
# For long/storm.sh: services that answer each line on standard input with one line.

converse() {
	head -c 300000 "$(command -v bash)" >"$T/work.data"
	rm -f "$T/to" "$T/from"
	mkfifo "$T/to" "$T/from"
	run_service "$@" <"$T/to" >"$T/from" 2>"$T/service.out" &
	pid=$!
	exec {to}>"$T/to" {from}<"$T/from"
	local line
	read -r -t 120 line <&$from && [ "$line" = ready ] || fail "$1 does not begin: $(tail "$T/service.out")"
}

service_round() {
	local line
	echo >&$to
	if read -r -t 300 line <&$from; then echo "$line"; else echo "no answer"; fi
}

service_stop() {
	exec {to}>&- {from}<&-
	wait $pid
}
