#!/bin/bash
# SPDX-License-Identifier: MIT
# The static program works in a container that has nothing but it, /proc and /sys: it lists, arms, counts, traces and
# disarms a program in another container. It refuses what it cannot do, with the reason.
. tests/lib.sh
need_root
need make unshare
make -s O="$B" static >"$T/log" 2>&1 || { cat "$T/log"; grep -q 'apt-get source' "$T/log" && skip "the source of Zydis: see the line above"; fail "make static"; }
static=$B/bin/probepoint-static
readelf -d "$static" | grep -q NEEDED && fail "the program needs shared libraries: $(readelf -d "$static" | grep NEEDED)"
readelf -l "$static" | grep -q INTERP && fail "the program needs a loader"

# ---- names ----

expect 2 "$static"
want_like "usage" "*Commands: probe-disable probe-enable probe-list probe-stat probe-trace*" "$out"
expect 2 "$static" nonsense
want_like "unknown command" "*no such command: 'nonsense'*" "$out"
expect 0 "$static" --help
for command in list enable disable stat trace; do
	ln -s "$static" "$T/probe-$command"
	for how in "$T/probe-$command" "$static probe-$command" "$static $command"; do
		want "$how" "$(probe-$command --help)" "$($how --help)"
	done
	want "error message" "$(probe-$command --nonsense 2>&1)" "$("$static" $command --nonsense 2>&1)"
done

# ---- an empty container ----

empty=$T/empty
mkdir -p "$empty/proc" "$empty/sys"
cp "$static" "$empty/"
# bare ARG...: runs the program in a mount namespace and a root directory with nothing else.
cat >"$T/bare" <<'E2'
mount --rbind /proc "$1/proc" && mount --rbind /sys "$1/sys" || exit 125
shift
exec chroot "$@"
E2
bare() { env -i unshare -m sh "$T/bare" "$empty" "$empty" /probepoint-static "$@"; }
want "what the container has" "probepoint-static proc sys" "$(cd "$empty" && echo *)"

# weblog in another container: its own root directory, and its own namespaces for pids and mounts.
other=$T/other
mkdir -p "$other/proc" "$other/app"
cp "$B/examples/weblog" "$other/app/"
ldd "$B/examples/weblog" | grep -o '/[^ ]*' | while read -r library; do
	mkdir -p "$other$(dirname "$library")"
	cp -L "$library" "$other$library"
done
unshare --mount --pid --fork --kill-child chroot "$other" /app/weblog -t 100 >"$T/weblog" 2>&1 &
wait_for 10 pgrep -P $! weblog
pid=$(pgrep -P $! weblog)
runs "$pid" "$other/app/weblog"

expect 0 bare list -q -p "$pid" -m 'weblog:find_*__entry'
want_like "list" "*weblog:find_route__entry *1  -  *(const char \*path)*" "$out"
expect 0 bare enable -s $S -p "$pid" weblog:find_route__entry weblog:parse_line__entry
want "armed" "2" "$(grep -c "^armed .* pid $pid  1 site  kernel" <<<"$out")"
hits_of() { bare stat -s $S | awk '/find_route__entry/ { print $1 }'; }
counted() { [ "$(hits_of)" -gt 100 ]; }
wait_for 20 counted
expect 0 bare trace -s $S -n 5
want "records" 5 "$(grep -cE 'weblog weblog:(find_route__entry path="/|parse_line__entry line=")' <<<"$out")"
# Ordinary commands see the session, too.
want_like "session, outside" "*weblog:find_route__entry *1  $S *" "$(probe-list -p "$pid" -m 'weblog:find*')"
expect 0 bare list --sessions -q
want_like "session, inside" "*$S *" "$out"
expect 0 bare disable -s $S
want "disarmed" "disarmed 2 sites in session '$S'" "$out"
want_like "list after disarming" "*weblog:find_route__entry  *1  -*" "$(bare list -p "$pid" -m 'weblog:find*')"

# func:SYMBOL and returns need the decoder.
expect 0 bare enable -s $S -p "$pid" 'func:nanosleep%return'
counted() { [ "$(bare stat -s $S | awk '/func:nanosleep/ { print $1 }')" -gt 100 ]; }
wait_for 20 counted
expect 0 bare disable -q -s $S
kill -0 "$pid" || fail "weblog has ended"

# ---- what it cannot do ----

expect 1 bare enable -b agent --inject -s $S -p "$pid" 'weblog:*'
want_like "no agent" "*cannot read the agent*PROBEPOINT_AGENT can name another file*" "$out"
expect 1 bare enable -b agent -s $S -p "$pid" 'weblog:*'
want_like "no directory for agents" "*cannot create '/tmp/probepoint-0': No such file or directory*" "$out"
mkdir "$empty/tmp"
expect 1 bare enable -b agent -s $S -p "$pid" 'weblog:*'
want_like "agent in another container" "*another*namespace (a container) and has no agent*" "$out"
# With an agent named, it starts programs of glibc with it.
PROBEPOINT_AGENT=$B/lib/libprobepoint-agent.so expect 0 "$static" enable -b agent -s $S weblog:find_route__entry -- "$B/examples/weblog" -n 500
want "hits by the agent" "$(sed -n 's/^lookups //p' <<<"$out")" "$(probe-stat -q -s $S 2>/dev/null | awk '/find_route__entry/ { print $1 }')"
probe-disable -q -s $S
PROBEPOINT_AGENT=$B/lib/libprobepoint-agent.so expect 125 "$static" enable -b agent -s $S 'x:*' -- "$static"
want_like "static target" "*it is linked statically*" "$out"
