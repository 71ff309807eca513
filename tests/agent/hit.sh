#!/bin/bash
# SPDX-License-Identifier: MIT
# Hits in difficult places: threads under seccomp, programs that count descriptors, stacks that end, locked memory,
# children that share memory. The process lives, counts are exact, and records are correct or report a fault.
. tests/lib.sh
. tests/agent/lib.sh
. tests/kernel/lib.sh
need jq
[ "$(uname -m)" = x86_64 ] || skip "tests/agent/hit.c has code for x86-64"
agent_build hit
host() { target "${@:2}" "$T/hit"; eval "$1=\$pid"; }
end() { kill -KILL "$pid"; wait "$pid" 2>/dev/null; probe-disable -q -s $S 2>/dev/null; }
arm() { expect 0 probe-enable -s $S -b agent -p "$pid" --string arg1 --string arg2 --string arg3 "$@"; }
# traced WORD...: sends the words while a reader reads; its records go to $T/traced
traced() {
	local word
	before=$(recorded)
	tracing "$T/traced" -s $S --json
	for word; do say "$word"; done
	wait_for 20 all_read
	kill -INT $tracer
	wait $tracer || fail "probe-trace: $(cat "$T/traced.err")"
}
recorded() { probe-stat --json -s $S | jq '[.probes[].recorded] | add // 0'; }
all_read() { [ $(($(recorded) - before)) = "$(wc -l <"$T/traced")" ]; }
texts() { jq -c "[.args[] | if type == \"string\" then . else \"-\" end] | .[1:]" "$T/traced" | sort | uniq -c | xargs -d '\n'; }
# Without an invariant counter only a system call reads the time, so hits under a filter are lost.
grep -qw nonstop_tsc /proc/cpuinfo && ticks=1 || ticks=
all='["on the heap","in the image","on the stack"]' some='["-","in the image","on the stack"]'

# ---- the compiler accepts shared words only in the macros ----

shared() {
	printf '#include "runtime/agent/inproc/trampoline.h"\nuint64_t f(struct agent_ring *r) { return %s; }\n' "$1" |
		$CC -std=gnu17 -D_GNU_SOURCE -DAGENT_INSIDE -Iinclude -I. -fsyntax-only -x c - 2>/dev/null
}
shared 'shared_get(r->head) + 1' || fail "the macro does not compile"
shared 'r->head + 1' && fail "a shared word is read without the macro"

# ---- filters before and after arming, of this thread and of another ----

for how in filter strict seccomp; do
	host a
	say second # a filter of the only thread would end the agent's thread
	say $how
	arm --record hit:text
	[ $ticks ] && remark='values that are neither' || remark='and this CPU has no invariant counter'
	want_like "message about $how" "*hits in pid $pid make no system calls*$remark*" "$out"
	say hit
	say hit
	want "hits under $how" 20 "$(count $S hit:text)"
	[ $how = strict ] || say thread
	[ $how = strict ] || want "hits of a new thread" 30 "$(count $S hit:text)"
	adds_up $S
	want "the process lives" 0 "$(kill -0 $pid; echo $?)"
	end
done
for how in filter strict seccomp tsync tsc filter-other; do
	host a
	say second
	arm --record hit:text
	[[ $out != *"no system calls"* ]] || fail "message without a filter: $out"
	say hit
	say other
	say $how
	say hit
	n=30
	case $how in
	strict) ;;
	*) say thread; say other; n=50 ;;
	esac
	want "the process lives after $how" 0 "$(kill -0 $pid; echo $?)"
	want "hits around $how" $n "$(count $S hit:text)"
	# The agent's thread has ended, because the filter would apply to it, too. The keeper has the counts.
	[ $how != tsync ] || { end; continue; }
	adds_up $S
	[ $how = strict ] || [ $how = tsc ] || {
		[ $ticks ] || n=20
		want "recorded around $how" $n "$(count $S hit:text recorded)"
	}
	end
done

# ---- a filter of the only thread: the agent's thread would be a way out of it ----

for how in filter seccomp; do
	host a
	arm --record hit:text
	say hit
	want "threads before $how" 2 "$(ls "/proc/$pid/task" | wc -l)"
	say $how
	say hit
	# The thread has done all that it does, and may need the CPU once more to disappear.
	wait_for 10 eval '[ "$(ls "/proc/$pid/task" | wc -l)" = 1 ]'
	want "hits around $how of the only thread" 20 "$(count $S hit:text)"
	expect 1 probe-enable -s ${S}b -b agent -p $pid hit:text
	want_like "message about $how" "*seccomp filter*" "$out"
	end
done

# ---- values under a filter ----

host a
say second
arm hit:text
traced hit
want "strings" "10 $all" "$(texts | sed 's/^ *//')"
say filter
if [ $ticks ]; then
	traced hit
	want_like "strings without system calls" "10 [[]\"-\",\"in the image\",*" "$(texts | sed 's/^ *//')"
	want "the thread's name" hit "$(jq -r .comm "$T/traced" | sort -u)"
	want "the thread's id" $pid "$(jq -r .tid "$T/traced" | sort -u)"
else
	part_skipped "records under a filter: this CPU has no invariant counter"
fi
probe-disable -q -s $S
expect 1 probe-enable -s $S -b agent -p $pid --if 'arg1 == "x"' --string arg1 hit:text
want_like "refusal of a filter that needs a system call" "*only a system call can read safely*" "$out"
end

# ---- descriptors ----

host a
arm hit:text
say files
want "descriptors that were not the lowest free one" "wrong 0" "$said"
want "hits of 2000 threads" 20000 "$(count $S hit:text)"
end

# ---- stacks ----

host a
expect 0 probe-enable -s $S -b agent -p "$pid" --string arg4 hit:leaf
say hit
traced edge
want "arguments at the end of a stack" \
	'[1152,1181,1150,8] [1016,1045,1014,8] [2040,null,2038,null] [null,null,2046,null]' \
	"$(jq -c '[.args.arg0, .args.arg1, .args.arg2, .args.arg3]' "$T/traced" | xargs -d '\n' | sed 's/ *$//')"
traced strings
want "strings at the end of a stack" '"near the end" null null null null "far up"' \
	"$(jq -c .args.arg4 "$T/traced" | xargs -d '\n' | sed 's/ *$//')"
say unmap
want "hits next to pages that are unmapped" "hits 20000" "$said"
want "the process lives" 0 "$(kill -0 $pid; echo $?)"
end

# ---- memory ----

for how in as-it-is limited later; do
	case $how in
	limited) host a prlimit --memlock=4000000:4000000 setpriv --bounding-set=-ipc_lock ;;
	*) host a ;;
	esac
	[ $how != later ] || { arm --record hit:text; say hit; }
	say lock
	if [ -n "$said" ]; then
		part_skipped "locked memory, $how: mlockall() is not allowed"
		end
		continue
	fi
	[ $how = later ] || arm --record hit:text
	say hit
	say grown
	[ "${said#grown }" -lt 20 ] || fail "a process that locks its memory has grown by ${said#grown } MB"
	n=10
	[ $how != later ] || { n=30; say thread; }
	want "hits of the process" $n "$(count $S hit:text recorded)"
	end
done
host a prlimit --as=500000000:500000000
expect 1 probe-enable -s $S -b agent -p $pid hit:text
want_like "too little address space" "*resource limit*" "$out"
say memory
want "memory after the refusal" "memory 1" "$said"
end

# ---- children that share memory ----

host a
arm hit:text
traced vfork
want "thread id in the program" "$pid" "${said#tid }"
want "records of the parent" "10 $pid" "$(jq -r 'select(.args | to_entries[0].value < 1000) | .tid' "$T/traced" | uniq -c | sed 's/^ *//')"
say clone
want "hits of two tasks with one thread-local block" 40011 "$(count $S hit:text)"
adds_up $S
end

# ---- an agent that was loaded later does not see filters ----

bare() {
	coproc TARGET { exec "$T/hit"; }
	pid=$TARGET_PID
	exec {to}>&"${TARGET[1]}" {from}<&"${TARGET[0]}"
	say hit
}
bare
arm --inject hit:text
want_like "message" "*hits in pid $pid make no system calls*--system-calls*" "$out"
traced hit
if [ $ticks ]; then
	want_like "strings" "10 [[]\"-\",\"in the image\",*" "$(texts | sed 's/^ *//')"
else
	want "records without the time" "" "$(texts)"
	want "lost without the time" 10 "$(count $S hit:text lost)"
fi
probe-disable -q -s $S
expect 0 probe-enable -s $S -b agent -p $pid --system-calls --string arg1 --string arg2 --string arg3 hit:text
[[ $out != *"no system calls"* ]] || fail "message although system calls are allowed: $out"
traced hit
want "strings with system calls" "10 $all" "$(texts | sed 's/^ *//')"
end
expect 2 probe-enable -s $S -b kernel -p $$ --system-calls hit:text
bare
say second # for the first thread the C library makes system calls that the filter forbids
arm --inject hit:text
say hit
say filter
say hit
say thread
want "hits around a filter that the agent did not see" 30 "$(count $S hit:text)"
end
