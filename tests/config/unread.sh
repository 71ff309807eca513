#!/bin/bash
# SPDX-License-Identifier: MIT
# probe-enable --config FILE --follow reports a session that another version of probepoint has made once, not each time
# that it reads the sessions.
. tests/lib.sh
. tests/cmd/lib.sh
. tests/config/lib.sh
need_kernel
AGENT=$B/lib/libprobepoint-agent.so
[ -e "$AGENT" ] || skip "no agent was built"
build_version 1
mkdir "$T/bin"
at_end "probe-disable -q -s $S 2>/dev/null"

# Another session, whose file gets the number of another version: the second word.
coproc OTHER { exec env LD_PRELOAD="$AGENT" "$T/version.1"; }
other=$OTHER_PID
runs_agent $other "$T/version.1"
old=$S-old
expect 0 probe-enable -q -s $old -b agent -p $other svc:hit
kill $other
wait $other 2>/dev/null
file=$(echo "$XDG_RUNTIME_DIR/probepoint/$old"/segment-*)
[ -f "$file" ] || fail "no file $file"
version() { printf "\\x$1\\x$2\\0\\0" | dd of="$file" bs=1 seek=4 conv=notrunc status=none; }
before=$(od -An -tu1 -j4 -N2 "$file")
version ff ff

# messages: how many there are about it.
messages() { grep -c "session '$old': cannot be read: .*another version" "$T/follow.err"; }
# rounds: installs the service and removes it, three times. Each time the follower reads all sessions.
rounds() {
	for i in 1 2 3; do
		n=$(grep -c "^armed " "$T/follow")
		cp "$T/version.1" "$T/bin/service.new"
		mv "$T/bin/service.new" "$T/bin/service"
		wait_for 30 eval '[ $(grep -c "^armed " "$T/follow") -gt $n ]'
		n=$(grep -c "^waiting " "$T/follow")
		rm "$T/bin/service"
		wait_for 30 eval '[ $(grep -c "^waiting " "$T/follow") -gt $n ]'
	done
}
cat >"$T/config.yaml" <<E2
sessions:
  - session: $S
    arm:
      - probes: svc:hit
        file: $T/bin/service
E2
probe-enable --config "$T/config.yaml" --follow >"$T/follow" 2>"$T/follow.err" &
follower=$!
wait_for 30 grep -q "^waiting " "$T/follow"
want "messages at the begin" 1 "$(messages)"
rounds
want "messages after changes" 1 "$(messages)"
n=$(grep -c "^waiting " "$T/follow")
kill -HUP $follower
wait_for 30 eval '[ $(grep -c "^waiting " "$T/follow") -gt $n ]'
want "messages after SIGHUP" 1 "$(messages)"

# A session that can be read, and then cannot again, is reported again.
version $(printf '%02x %02x' $before)
rounds
version ff ff
rounds
want "messages after a time in which it could be read" 2 "$(messages)"
kill -TERM $follower
wait $follower
want "status" 0 $?
want "messages at the end" 2 "$(messages)"
version $(printf '%02x %02x' $before)
expect 0 probe-disable -q -s $old

exit 0
