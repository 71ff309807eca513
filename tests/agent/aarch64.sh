#!/bin/bash
# SPDX-License-Identifier: MIT
# The agent on aarch64, cross-built and run by qemu-user: trampolines give the interpreter's results and keep every
# register, records hold the values that the program passes, sites change under busy threads, and all bytes are restored
# at the end.
. tests/lib.sh

SYSROOT=/usr/aarch64-linux-gnu
need qemu-aarch64 pkg-config
[ -e $SYSROOT/include/stdio.h ] || skip "needs libc6-dev-arm64-cross"
compilers=()
have aarch64-linux-gnu-gcc && compilers+=(aarch64-linux-gnu-gcc)
# Debian's gcc-multilib, which other tests need, conflicts with a cross gcc.
have clang && have ld.lld && [ -e /usr/lib/gcc-cross/aarch64-linux-gnu ] &&
	compilers+=("clang --target=aarch64-linux-gnu -Dnoipa=noinline")
[ "${CROSS_CC-}" ] && compilers=("$CROSS_CC")
[ ${#compilers[@]} -gt 0 ] || skip "needs gcc-aarch64-linux-gnu, or clang, lld and libgcc-12-dev-arm64-cross"
. tests/agent/lib.sh

# build OUT SOURCES AND FLAGS...
build() {
	$cross $lld -std=gnu17 -D_GNU_SOURCE -DPP_VERSION='""' -Wall -Wextra -O2 -g -pthread -Itests/agent/cross -Iinclude \
		-I. -o "$T/$1" "${@:2}" || fail "$cross cannot build $1"
}
run() { qemu-aarch64 "${cpu[@]}" -L $SYSROOT "$@"; }
cpu=()

under_agent() { exec qemu-aarch64 "${cpu[@]}" -L $SYSROOT -E LD_PRELOAD="$agent" -E PROBEPOINT_LISTEN=1 "$@"; }

# ---- trampolines and the interpreter ----
slots() {
	local o=$T/agent/obj/runtime/agent/inproc out
	build trampoline tests/unit/trampoline.c tests/agent/cross/image.c runtime/fetch/program.c runtime/fetch/check.c sdt/operand*.c sdt/signature.c base/arena.c base/error.c \
		"$o/trampoline-aarch64.o" "$o/codebuf.o" "$o/helpers.o" "$o/entry-aarch64.o"
	# With vectors of 256 bytes and atomic instructions; with neither; with vectors of 64 bytes.
	for model in max cortex-a53 a64fx; do
		out=$(run -cpu $model "$T/trampoline" 2>&1) || fail "trampolines, $cross, $model: $out"
		want "suites, $model" 6 "$(grep -c ': passed$' <<<"$out")"
		grep 'runs recorded' <<<"$out"
		grep '^skipped' <<<"$out" >>"$T/skipped"
	done
}

# ---- arm, count, record, disarm ----
NOP='1f 20 03 d5'
simple() {
	local before site base address counted recorded
	build simple tests/agent/simple.c
	target "$T/simple"
	say bytes; before=$said
	want_like "the site" "*$NOP*" "$before"
	poke arm $S 1 "$T/simple" app:tick
	want "armed" "attachment 1 armed 1 pending 0 refused 0" "$(refresh)"
	say bytes
	[ "$said" != "$before" ] || fail "nothing has changed in the text"
	want_like "a branch" "*[0-9a-f][0-9a-f] [0-9a-f][0-9a-f] [0-9a-f][0-9a-f] 1[4-7] *" "$said"
	say "tick 1000"
	want "counts without a reader" "hits 1000 recorded 0 filtered 0 idle 1000 lost 0" "$(counts 1)"
	poke arm $S 2 -r "$T/simple" app:tick 'arg0 >= 10 && arg0 % 2 == 0'
	refresh >/dev/null
	say "tick 20"
	poke read $pid $S 200 >"$T/records"
	want "counts with a filter" "hits 20 recorded 5 filtered 15 idle 0 lost 0" "$(counts 2)"
	want "both record" "end 25" "$(tail -1 "$T/records")"
	want_like "a record" "2:0 tid $pid faults 0 a * fffffffffffffff6" "$(grep '^2:0' "$T/records" | head -1)"
	poke drop $S 1; poke drop $S 2
	refresh >/dev/null
	say bytes
	want "disarmed" "$before" "$said"

	poke arm $S 3 -r "$T/simple" app:say
	refresh >/dev/null
	say "say 3"
	poke read $pid $S 200 >"$T/records"
	want "string in the image" "0 c 6920656874206e69 6567616d" "$(sed -n '1s/.*faults //p' "$T/records")"
	want "string on the stack" "0 c 7320656874206e6f 6b636174" "$(sed -n '2s/.*faults //p' "$T/records")"
	want "string that cannot be read" "1 0" "$(sed -n '3s/.*faults //p' "$T/records")"
	poke drop $S 3
	refresh >/dev/null

	# The newest records stay: as many are counted as recorded as a ring holds.
	poke arm ${S}o 1 -o "$T/simple" app:tick
	poke refresh $pid ${S}o >/dev/null
	say "tick 30000"
	counted=$(poke counts $pid ${S}o 1)
	want "overwritten" "hits 30000 idle 0" "hits $(field hits "$counted") idle $(field idle "$counted")"
	recorded=$(field recorded "$counted")
	[ $recorded -gt 6100 ] && [ $recorded -lt 6600 ] && [ $((recorded + $(field lost "$counted"))) = 30000 ] ||
		fail "overwritten: $counted"
	poke drop ${S}o 1
	refresh >/dev/null

	# Code that is not a nop is refused with its bytes.
	site=$(poke site "$T/simple" app:tick)
	base=$(sed -n 's|^\([0-9a-f]*\)-[^ ]* r[^ ]* \([0-9a-f]*\) .*/simple$|0x\1 0x\2|p' /proc/$pid/maps | while read -r start offset; do
		[ $((offset)) -le "$site" ] && echo $((start - offset)); done | tail -1)
	address=$((base + site))
	printf '\x20\x00\x20\xd4' | dd of=/proc/$pid/mem bs=1 seek=$address conv=notrunc 2>/dev/null # brk 1
	poke arm $S 4 "$T/simple" app:tick
	want "point that is refused" "attachment 4 armed 0 pending 0 refused 1" "$(refresh)"
	want_like "reason of the refusal" "0 refused 1 *" "$(poke state $pid $S 4)"
	printf '\x1f\x20\x03\xd5' | dd of=/proc/$pid/mem bs=1 seek=$address conv=notrunc 2>/dev/null
	want "point that is armed after the nop is back" "attachment 4 armed 1 pending 0 refused 0" "$(refresh)"
	poke drop $S 4
	refresh >/dev/null
	say bytes
	want "the text at the end" "$before" "$said"
	target_end
	rm -rf "$XDG_RUNTIME_DIR/probepoint"
}

# ---- recorded values are those that were passed ----
values() {
	local number=0 name args arg got want n=0 flags=$1
	sed 's/^int main(void)/int values(void)/' tests/sdt/values.c >"$T/values.c"
	cat >"$T/main.c" <<-'C'
		#include <stdio.h>
		int values(void);
		int main(void)
		{
			char line[16];
			while (fgets(line, sizeof(line), stdin) && *line != 'e')
				printf("%d\nok\n", values()), fflush(stdout);
		}
	C
	build values $flags "$T/values.c" "$T/main.c"
	sed -n 's/.*\/\* =c\? \(.*\) \*\/.*/\1/p' tests/sdt/values.c | grep -v '"' >"$T/expected"
	target "$T/values"
	while read -r name args; do
		poke arm $S $((++number)) -r "$T/values" v:$name
		want "v:$name" "attachment $number armed 1 pending 0 refused 0" "$(refresh)"
		say go
		want "exit status" 0 "$said"
		got=$(poke read $pid $S 20 | sed -n "s/^$number:0 .* faults \(.*\)/\1/p" | head -1)
		want=0
		for arg in $args; do
			arg=${arg#*@}
			case $arg in
			'&'*) want+=" *" ;;
			*) want+=" $(printf %x "$arg")" ;;
			esac
		done
		want_like "values of v:$name, $cross $flags" "$want" "$got"
		n=$((n + 1))
		poke drop $S $number
		refresh >/dev/null
	done <"$T/expected"
	target_end
	rm -rf "$XDG_RUNTIME_DIR/probepoint"
	echo "$n probes with their values"
}

# ---- libraries that come and go ----
libraries() {
	build life tests/agent/life.c
	build library.so -shared -fPIC tests/agent/library.c
	target "$T/life"
	poke arm $S 1 "$T/library.so" lib:hit
	want "pending before dlopen()" "attachment 1 armed 0 pending 1 refused 0" "$(refresh)"
	for n in 1 2 3; do
		say "load $T/library.so 10"
		want "hits" $((10 * n)) "$(field hits "$(counts 1)")"
		want "pending after dlclose()" "attachment 1 armed 0 pending 1 refused 0" "$(refresh)"
	done
	say "loop $T/library.so 20"
	want "hits of many loads" 50 "$(field hits "$(counts 1)")"
	say "keep $T/library.so"
	say "again 5"
	want "loaded" "attachment 1 armed 1 pending 0 refused 0" "$(refresh)"
	want "hits at last" 55 "$(field hits "$(counts 1)")"
	say "threads 20 50" # in app, which is not armed
	say "churn 300 1"
	target_end
	rm -rf "$XDG_RUNTIME_DIR/probepoint"
}

# ---- guarded pages stay guarded ----
guarded() {
	build libguarded.so -DLIBRARY -mbranch-protection=bti -shared -fPIC -nostdlib -Wl,-z,force-bti tests/agent/guarded.c
	build guarded tests/agent/guarded.c "$T/libguarded.so"
	target "$T/guarded"
	say go; want "guarded at first" caught "$said"
	poke arm $S 1 "$T/libguarded.so" lib:guarded
	want "armed" "attachment 1 armed 1 pending 0 refused 0" "$(refresh)"
	say go; want "guarded, armed" caught "$said"
	want "hits" 1 "$(field hits "$(counts 1)")"
	poke drop $S 1
	refresh >/dev/null
	say go; want "guarded, disarmed" caught "$said"
	target_end
	rm -rf "$XDG_RUNTIME_DIR/probepoint"
}

# ---- storm ----
storm() {
	local seconds=4 out
	[ "${PROBEPOINT_LONG-}" ] && seconds=60
	build storm tests/agent/storm.c tests/agent/storm-asm-aarch64.c
	target "$T/storm" 4
	poke arm $S 2 "$T/storm" app:always
	poke arm $S 3 "$T/storm" app:handler 'arg0 > 0'
	want "armed" "attachment 2 armed 1 pending 0 refused 0
attachment 3 armed 2 pending 0 refused 0" "$(refresh)"
	say go
	poke read $pid $S $((seconds * 1000)) quiet >"$T/records" & reader=$!
	POKE_ANY=1 poke storm $pid $S "$T/storm" 'app:[rfv]*' $seconds $$ >"$T/storm.out" || fail "$(cat "$T/storm.out")"
	say stop
	wait $reader || fail "a record that cannot be: $(tail -1 "$T/records")"
	echo "$said; $(tail -1 "$T/storm.out"); $(counts 2)"
	want "wrong results" 0 "$(sed 's/.*wrong //' <<<"$said")"
	want "hits of points that are always armed" "$(field always "$said")" "$(field hits "$(counts 2)")"
	want "hits in the handler" "$(field handler "$said")" "$(field hits "$(counts 3)")"
	want_like "all armed at the end" "*attachment 1 armed 1000 pending 0 refused 0*" "$(cat "$T/storm.out")"
	poke drop $S 1; poke drop $S 2; poke drop $S 3
	refresh >/dev/null
	say go
	say stop
	want "wrong results, disarmed" 0 "$(sed 's/.*wrong //' <<<"$said")"
	target_end
	rm -rf "$XDG_RUNTIME_DIR/probepoint"
}

for cross in "${compilers[@]}"; do
	case $cross in clang*) lld=-fuse-ld=lld ;; *) lld= ;; esac
	echo "== $cross"
	rm -rf "$T/agent"
	agent=$T/agent/lib/libprobepoint-agent.so
	# qemu-user shows a process its own mappings instead of the emulator's only if it opens them by their full name.
	make O="$T/agent" CC="$cross" CPPFLAGS=-DMAPS='\"/proc/self/maps\"' LDFLAGS="$lld" SAN= MISSING= "$agent" >"$T/make" 2>&1 ||
		fail "$(cat "$T/make")"
	slots
	simple
	values -O2
	values -O0
	libraries
	guarded
	storm
	cpu=(-cpu cortex-a53)
	simple
	cpu=()
done
sort -u "$T/skipped"
part_skipped "fork: qemu-user $(qemu-aarch64 --version | sed -n 's/.*version \([0-9.]*\).*/\1/p') aborts when a forked child makes a thread"
part_skipped "points of one process: qemu-user reports another start time to a process"
part_skipped "kernel and agent on one site: the host's kernel cannot stop emulated code"
part_skipped "instruction caches and membarrier: qemu-user always translates code again after a write"
case ${compilers[*]} in *gcc*) ;; *) part_skipped "gcc: aarch64-linux-gnu-gcc is not installed" ;; esac
exit 0
