#!/bin/bash
# SPDX-License-Identifier: MIT
# The agent arms, counts, records and disarms, and restores every byte. It refuses what it cannot arm.
. tests/lib.sh
. tests/agent/lib.sh

agent_build simple
target "$T/simple"

text() { # the process's text
	local from to
	sed -n 's|^\([0-9a-f]*\)-\([0-9a-f]*\) r-xp .*/simple$|0x\1 0x\2|p' /proc/$pid/maps | while read -r from to; do
		dd if=/proc/$pid/mem bs=4096 skip=$((from / 4096)) count=$(((to - from) / 4096)) 2>/dev/null
	done | sha256sum
}
# The kernel may leave two mappings with the same protection where there was one.
maps() {
	awk '/\/simple$/ { split($1, at, "-")
		if (at[1] == end && $2 == protection) { end = at[2]; next }
		if (end) print begin "-" end, protection, offset
		begin = at[1]; end = at[2]; protection = $2; offset = $3 }
		END { print begin "-" end, protection, offset }' /proc/$pid/maps
}

say bytes; before=$said
text_before=$(text)
maps_before=$(maps)

# ---- counting, recording ----
poke arm $S 1 -p $pid "$T/simple" app:tick || fail "cannot arm"
want "armed" "attachment 1 armed 1 pending 0 refused 0" "$(rescan)"
say bytes
# The nop and a jump; on aarch64 a branch, whose opcode is in the fourth byte.
[ "$(uname -m)" = aarch64 ] && armed="?? ?? ?? 1[4567] *" || armed="90 e9 *"
want_like "bytes of an armed site" "$armed" "$said"
want "protection of mappings" "$maps_before" "$(maps)"
say "tick 1000"
want "counts without a reader" "hits 1000 recorded 0 filtered 0 idle 1000 lost 0" "$(counts 1)"
reads 600000
say "tick 6"
kill $reader && wait $reader
want "records" "end 6" "$(tail -1 "$T/records")"
want_like "first record" "1:0 tid $pid faults 0 0 *" "$(head -1 "$T/records")"
want_like "fourth record" "1:0 tid $pid faults 0 3 * fffffffffffffffd" "$(sed -n 4p "$T/records")"
want "counts of both runs" "hits 1006 recorded 6 filtered 0 idle 1000 lost 0" "$(counts 1)"

# ---- disarming ----
poke drop $S 1
want "all points are disarmed" "" "$(rescan)"
say bytes
want "bytes" "$before" "$said"
want "text" "$text_before" "$(text)"
want "maps" "$maps_before" "$(maps)"
say "tick 1000"

# ---- again, with a filter; a second session; one point switched off ----
poke arm $S 2 -p $pid "$T/simple" app:tick 'arg0 >= 10 && arg0 % 2 == 0'
poke arm $S-b 1 "$T/simple" app:tick
rescan >/dev/null
say "tick 20"
want "counts with a filter" "hits 20 recorded 0 filtered 15 idle 5 lost 0" "$(counts 2)"
want "counts of the other session" "hits 20 recorded 0 filtered 0 idle 20 lost 0" "$(poke counts $pid $S-b 1)"
poke off $S 2 0
rescan >/dev/null
say "tick 5"
want "counts of a point that is off" "hits 20 recorded 0 filtered 15 idle 5 lost 0" "$(counts 2)"
want "counts of the other session later" "hits 25 recorded 0 filtered 0 idle 25 lost 0" "$(poke counts $pid $S-b 1)"
poke drop $S-b 1
poke drop $S 2
rescan >/dev/null
want "text after disarming" "$text_before" "$(text)"

# ---- strings: in the image, on the stack, nowhere ----
poke arm $S 3 -p $pid "$T/simple" app:say
rescan >/dev/null
reads 600000
say "say 4"
kill $reader && wait $reader
want "string in the image" "0 c 6920656874206e69 6567616d" "$(sed -n '1s/.*faults //p' "$T/records")"
want "string on the stack" "0 c 7320656874206e6f 6b636174" "$(sed -n '2s/.*faults //p' "$T/records")"
want "string that cannot be read" "1 0" "$(sed -n '3s/.*faults //p' "$T/records")"
want "string on the heap" "0 b 6820656874206e6f 706165" "$(sed -n '4s/.*faults //p' "$T/records")"
want "number of records" "end 4" "$(tail -1 "$T/records")"
poke drop $S 3
rescan >/dev/null

# ---- a point of another process ----
poke arm $S 4 -p $$ "$T/simple" app:tick
want "point of another process" "attachment 4 armed 0 pending 0 refused 0" "$(rescan)"
poke drop $S 4

# ---- bytes of another tool ----
if [ "$(uname -m)" = x86_64 ]; then
	site=$(poke site "$T/simple" app:tick)
	base=$(sed -n 's|^\([0-9a-f]*\)-.* r-xp \([0-9a-f]*\) .*/simple$|0x\1 0x\2|p' /proc/$pid/maps)
	set -- $base
	address=$(($1 - $2 + site))
	printf '\xcc' | dd of=/proc/$pid/mem bs=1 seek=$((address + 3)) conv=notrunc 2>/dev/null
	poke arm $S 5 -p $pid "$T/simple" app:tick
	want "point that is refused" "attachment 5 armed 0 pending 0 refused 1" "$(rescan)"
	want_like "reason of the refusal" "0 refused 1 *" "$(poke state $pid $S 5)"
	printf '\x0f' | dd of=/proc/$pid/mem bs=1 seek=$((address + 3)) conv=notrunc 2>/dev/null
	want "point that is armed after the nop is back" "attachment 5 armed 1 pending 0 refused 0" "$(rescan)"
	# The first byte belongs to the kernel.
	printf '\xcc' | dd of=/proc/$pid/mem bs=1 seek=$address conv=notrunc 2>/dev/null
	poke drop $S 5
	rescan >/dev/null
	printf '\x90' | dd of=/proc/$pid/mem bs=1 seek=$address conv=notrunc 2>/dev/null
else
	part_skipped "bytes of another tool: they are written for x86-64"
fi
want "text at the end" "$text_before" "$(text)"

# ---- invalid attachments ----
dir=$XDG_RUNTIME_DIR/probepoint/$S
head -c 100 /dev/urandom >"$dir/segment-6"; chmod 600 "$dir/segment-6"
ln -s /etc/passwd "$dir/segment-7"
mkdir "$dir/segment-8"
mkfifo -m 600 "$dir/segment-9"
poke arm $S 10 -p $pid "$T/simple" app:tick
chmod 666 "$dir/segment-10"
want "attachments that are refused as damaged" "6 7 8 9 10" "$(rescan | sed -n 's/attachment \([0-9]*\) armed 0 pending 0 refused 0 damaged/\1/p' | sort -n | tr '\n' ' ' | sed 's/ $//')"
rm -rf "$dir"/segment-*
poke arm $S 11 -p $pid "$T/simple" 'app:*'
good=$dir/segment-11
cp "$good" "$T/good"
size=$(stat -c %s "$good")
for ((i = 0; i < 295 / slow + 5; i++)); do
	cp "$T/good" "$T/bad"
	printf "\\x$(printf %02x $((RANDOM % 256)))" | dd of="$T/bad" bs=1 seek=$((RANDOM % size)) conv=notrunc 2>/dev/null
	[ $((i % 5)) = 0 ] && truncate -s $((RANDOM % size)) "$T/bad"
	chmod 600 "$T/bad"
	mv "$T/bad" "$good"
	rescan >/dev/null || fail "no answer after damage $i"
	say "tick 3"
done
rm "$good"
rescan >/dev/null
want "text after damage" "$text_before" "$(text)"
target_end
