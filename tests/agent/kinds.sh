#!/bin/bash
# SPDX-License-Identifier: MIT
# Keys of the agent's aggregates: enumerations by name, fields, two keys, cpu, and the duration of a call. They equal what
# the program prints.
. tests/plugin/lib.sh
. tests/agent/lib.sh
need jq
probed work provider=k
build_once "$T/kinds" $GCC -w -O2 "${with[@]}" tests/agent/kinds.c || fail "kinds.c does not build"
coproc TARGET { exec env LD_PRELOAD="$AGENT" "$T/kinds"; }
pid=$TARGET_PID
wait_for 10 has_agent "$pid"
at_end 'for s in a b c d e; do probe-disable -q -s "$S-$s" 2>/dev/null; done'
arm() { expect 0 probe-enable -q -b agent -s "$S-$1" -p "$pid" --agg "$2" "k:work__$3"; }
arm a 'count(), sum(r->len) by color, r->path' entry
arm b 'max(r->len) by r->color' entry
arm c 'count() by cpu' entry
arm d 'count(), hist(duration) by color' return
hits=3000
echo $hits >&"${TARGET[1]}"
while read -t $patience -r line <&"${TARGET[0]}" && [ "$line" != done ]; do echo "$line"; done >"$T/log"

# table SESSION: a line for each key
table() {
	probe-stat --json -s "$S-$1" | jq -r '.aggregates[0].entries[] | [.key[], (.values[] | .count, .sum, .max)] |
		map(select(. != null)) | map(tostring) | join(" ")' | sort
}
names='BEGIN { name[0] = "RED"; name[5] = "GREEN"; name[6] = "BLUE"; name[9] = 9 }'
want "count() and sum() by enumerator and path" "$(awk "$names"' { n[name[$4] " " $2]++; s[name[$4] " " $2] += $1;
	if ($1 > m[name[$4] " " $2]) m[name[$4] " " $2] = $1 } END { for (k in n) print k, n[k], n[k], s[k], m[k] }' "$T/log" | sort)" "$(table a)"
want "max() by a field" "$(awk "$names"' { n[name[$3]]++; s[name[$3]] += $1; if ($1 > m[name[$3]]) m[name[$3]] = $1 }
	END { for (k in n) print k, n[k], s[k], m[k] }' "$T/log" | sort)" "$(table b)"
want "the hits of all CPUs" $hits "$(table c | awk '{ n += $2 } END { print n }')"
want "CPUs that do not exist" "" "$(table c | awk -v n="$(nproc --all)" '$1 >= n')"
want "calls by enumerator" "$(awk "$names"' { n[name[$4]]++ } END { for (k in n) print k, n[k] }' "$T/log" | sort)" \
	"$(table d | cut -d' ' -f1,2)"
want "durations outside of 1 ns to 5 minutes" "" "$(probe-stat --json -s "$S-d" |
	jq '.aggregates[0].entries[].values[1] | select(.min < 1 or .max > 3e11 or .count != ([.buckets[].count] | add))')"
