#!/bin/bash
# SPDX-License-Identifier: MIT
# first
# The agent on aarch64, cross-built and run by qemu-user: trampolines do what the interpreter does and keep all registers;
# records have the values that the program passed; sites change while threads run through them; and the text has its
# original bytes at the end.
. tests/lib.sh

SYSROOT=/usr/aarch64-linux-gnu
need qemu-aarch64 pkg-config
[ -e $SYSROOT/include/stdio.h ] || skip "needs libc6-dev-arm64-cross"
compilers=()
have aarch64-linux-gnu-gcc && compilers+=(aarch64-linux-gnu-gcc)
# Debian's gcc-multilib, which other tests need, conflicts with a cross gcc. clang needs only the cross gcc's libgcc.
have clang && have ld.lld && [ -e /usr/lib/gcc-cross/aarch64-linux-gnu ] &&
	compilers+=("clang --target=aarch64-linux-gnu -Dnoipa=noinline")
[ "${CROSS_CC-}" ] && compilers=("$CROSS_CC")
# qemu-user is slow, so the short form runs one of the compilers.
[ "${PROBEPOINT_LONG-}" ] || [ ${#compilers[@]} -lt 2 ] || unset "compilers[SRANDOM % 2]"
[ ${#compilers[@]} -gt 0 ] || skip "needs gcc-aarch64-linux-gnu, or clang, lld and libgcc-12-dev-arm64-cross"
. tests/agent/lib.sh

# build OUT SOURCES AND FLAGS...: builds a program for aarch64.
build() {
	$cross $lld -std=gnu17 -D_GNU_SOURCE -DPP_VERSION='""' -Wall -Wextra -O2 -g -pthread -Itests/agent/cross -Iinclude \
		-I. -o "$T/$1" "${@:2}" || fail "$cross cannot build $1"
}
run() { qemu-aarch64 "${cpu[@]}" -L $SYSROOT "$@"; }
cpu=()

under_agent() { exec qemu-aarch64 "${cpu[@]}" -L $SYSROOT -E LD_PRELOAD="$agent" -E PROBEPOINT_LISTEN=1 "$@"; }

# ---- trampolines and the interpreter ----
trampolines() {
	local o=$T/agent/obj/runtime/agent/inproc out
	build trampoline tests/unit/trampoline.c tests/agent/cross/image.c runtime/aggregate.c runtime/fetch/program.c runtime/fetch/check.c sdt/operand*.c sdt/signature.c base/arena.c base/error.c \
		"$o/trampoline-aarch64.o" "$o/compile.o" "$o/codebuf.o" "$o/hit-read.o" "$o/hit-ring.o" "$o/hit-flight.o" "$o/hit-aggregate.o" "$o/hit-calls.o" "$o/hit-sample.o" \
		"$o/entry-aarch64.o"
	# The models have vectors of 256 bytes and atomic instructions, neither of these, or vectors of 64 bytes. The
	# short form runs one of the three models, and a third of the random programs.
	local models=(max cortex-a53 a64fx) programs=3
	[ "${PROBEPOINT_LONG-}" ] && programs=$slow || models=("${models[SRANDOM % 3]}")
	for model in "${models[@]}"; do
		out=$(PROBEPOINT_SLOW=$programs run -cpu $model "$T/trampoline" 2>&1) || fail "unit/trampoline, $cross, $model: $out"
		want "passed tests, $model" "$(grep -c "tcase_add_test(tc, " tests/unit/trampoline.c)" "$(grep -c ': passed$' <<<"$out")"
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
	want_like "the site is a nop" "*$NOP*" "$before"
	poke arm $S 1 "$T/simple" app:tick
	want "a point is armed" "attachment 1 armed 1 pending 0 refused 0" "$(rescan)"
	say bytes
	[ "$said" != "$before" ] || fail "arming does not change the text"
	want_like "an armed site is a branch" "*[0-9a-f][0-9a-f] [0-9a-f][0-9a-f] [0-9a-f][0-9a-f] 1[4-7] *" "$said"
	say "tick 1000"
	want "hits without a reader are idle" "hits 1000 recorded 0 filtered 0 idle 1000 lost 0" "$(counts 1)"
	poke arm $S 2 -r "$T/simple" app:tick 'arg0 >= 10 && arg0 % 2 == 0'
	rescan >/dev/null
	say "tick 20"
	poke read $pid $S 200 >"$T/records"
	want "a filter filters" "hits 20 recorded 5 filtered 15 idle 0 lost 0" "$(counts 2)"
	want "both attachments record" "end 25" "$(tail -1 "$T/records")"
	want_like "a record has the arguments" "2:0 tid $pid faults 0 a * fffffffffffffff6" "$(grep '^2:0' "$T/records" | head -1)"
	poke drop $S 1; poke drop $S 2
	rescan >/dev/null
	say bytes
	want "disarming restores the text" "$before" "$said"

	poke arm $S 3 -r "$T/simple" app:say
	rescan >/dev/null
	say "say 3"
	poke read $pid $S 200 >"$T/records"
	want "a string in the image is recorded" "0 c 6920656874206e69 6567616d" "$(sed -n '1s/.*faults //p' "$T/records")"
	want "a string on the stack is recorded" "0 c 7320656874206e6f 6b636174" "$(sed -n '2s/.*faults //p' "$T/records")"
	want "an unreadable string is a fault" "1 0" "$(sed -n '3s/.*faults //p' "$T/records")"
	poke drop $S 3
	rescan >/dev/null

	# A ring that is overwritten keeps the newest records, and only those count as recorded.
	poke arm ${S}o 1 -o "$T/simple" app:tick
	poke rescan $pid ${S}o >/dev/null
	say "tick 30000"
	counted=$(poke counts $pid ${S}o 1)
	want "overwritten hits are not idle" "hits 30000 idle 0" "hits $(field hits "$counted") idle $(field idle "$counted")"
	recorded=$(field recorded "$counted")
	[ $recorded -gt 6100 ] && [ $recorded -lt 6600 ] && [ $((recorded + $(field lost "$counted"))) = 30000 ] ||
		fail "an overwritten ring does not count what it holds as recorded and the rest as lost: $counted"
	poke drop ${S}o 1
	rescan >/dev/null

	# A site that is not a nop is refused, and reported.
	site=$(poke site "$T/simple" app:tick)
	base=$(sed -n 's|^\([0-9a-f]*\)-[^ ]* r[^ ]* \([0-9a-f]*\) .*/simple$|0x\1 0x\2|p' /proc/$pid/maps | while read -r start offset; do
		[ $((offset)) -le "$site" ] && echo $((start - offset)); done | tail -1)
	address=$((base + site))
	printf '\x20\x00\x20\xd4' | dd of=/proc/$pid/mem bs=1 seek=$address conv=notrunc 2>/dev/null # brk 1
	poke arm $S 4 "$T/simple" app:tick
	want "a site that is not a nop is refused" "attachment 4 armed 0 pending 0 refused 1" "$(rescan)"
	want_like "the reason is its bytes" "0 refused 1 *" "$(poke state $pid $S 4)"
	printf '\x1f\x20\x03\xd5' | dd of=/proc/$pid/mem bs=1 seek=$address conv=notrunc 2>/dev/null
	want "a restored site is armed" "attachment 4 armed 1 pending 0 refused 0" "$(rescan)"
	poke drop $S 4
	rescan >/dev/null
	say bytes
	want "the text has its original bytes at the end" "$before" "$said"
	target_end
	rm -rf "$XDG_RUNTIME_DIR/probepoint"
}

# ---- records have the values that were passed ----
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
		want "v:$name is armed" "attachment $number armed 1 pending 0 refused 0" "$(rescan)"
		say go
		want "the program ends with status 0" 0 "$said"
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
		rescan >/dev/null
	done <"$T/expected"
	target_end
	rm -rf "$XDG_RUNTIME_DIR/probepoint"
	echo "$n probes with their values"
}

# ---- libraries are loaded and unloaded ----
libraries() {
	build life tests/agent/life.c
	build library.so -shared -fPIC tests/agent/library.c
	# qemu-user hides the emulator's own mappings from the process. If they leave no room near the library, which depends on
	# the addresses of this process, the agent refuses the point (reason 5). Another process then has other addresses.
	for _ in 1 2 3 4 5 6 7 8 9 10; do
		target "$T/life"
		poke arm $S 1 "$T/library.so" lib:hit
		want "a point waits for its library" "attachment 1 armed 0 pending 1 refused 0" "$(rescan)"
		say "load $T/library.so 10"
		[ "$(field hits "$(counts 1)")" = 0 ] || break
		say "keep $T/library.so"
		want_like "the reason why a library is not armed" "0 refused 5 *" "$(poke state $pid $S 1)"
		target_end
		rm -rf "$XDG_RUNTIME_DIR/probepoint"
	done
	for n in 1 2 3; do
		[ $n = 1 ] || say "load $T/library.so 10"
		want "a loaded library is armed" $((10 * n)) "$(field hits "$(counts 1)")"
		want "a point waits again after dlclose" "attachment 1 armed 0 pending 1 refused 0" "$(rescan)"
	done
	say "loop $T/library.so 20"
	want "each load is armed" 50 "$(field hits "$(counts 1)")"
	say "keep $T/library.so"
	say "again 5"
	want "the library is armed while it stays" "attachment 1 armed 1 pending 0 refused 0" "$(rescan)"
	want "hits are counted to the end" 55 "$(field hits "$(counts 1)")"
	say "threads 20 50" # hits of provider app, in which nothing is armed
	say "churn 300 1"
	target_end
	rm -rf "$XDG_RUNTIME_DIR/probepoint"
}

# ---- guarded pages stay guarded ----
guarded() {
	build libguarded.so -DLIBRARY -mbranch-protection=bti -shared -fPIC -nostdlib -Wl,-z,force-bti tests/agent/guarded.c
	build guarded tests/agent/guarded.c "$T/libguarded.so"
	target "$T/guarded"
	say go; want "a page is guarded before arming" caught "$said"
	poke arm $S 1 "$T/libguarded.so" lib:guarded
	want "a guarded site is armed" "attachment 1 armed 1 pending 0 refused 0" "$(rescan)"
	say go; want "an armed page is guarded" caught "$said"
	want "a guarded site counts" 1 "$(field hits "$(counts 1)")"
	poke drop $S 1
	rescan >/dev/null
	say go; want "a disarmed page is guarded" caught "$said"
	target_end
	rm -rf "$XDG_RUNTIME_DIR/probepoint"
}

# ---- storm ----
storm() {
	local seconds=2 out
	[ "${PROBEPOINT_LONG-}" ] && seconds=60
	build storm -O1 tests/agent/storm.c tests/agent/storm-asm-aarch64.c # 1000 functions
	target "$T/storm" 4
	poke arm $S 2 "$T/storm" app:always
	poke arm $S 3 "$T/storm" app:handler 'arg0 > 0'
	want "the points are armed" "attachment 2 armed 1 pending 0 refused 0
attachment 3 armed 2 pending 0 refused 0" "$(rescan)"
	say go
	poke read $pid $S $((seconds * 1000)) quiet >"$T/records" & reader=$!
	POKE_ANY=1 poke storm $pid $S "$T/storm" 'app:[rfv]*' $seconds $$ >"$T/storm.out" || fail "$(cat "$T/storm.out")"
	say stop
	wait $reader || fail "invalid record: $(tail -1 "$T/records")"
	echo "$said; $(tail -1 "$T/storm.out"); $(counts 2)"
	want "no result is wrong" 0 "$(sed 's/.*wrong //' <<<"$said")"
	want "a point that is always armed counts all hits" "$(field always "$said")" "$(field hits "$(counts 2)")"
	want "hits in a signal handler are counted" "$(field handler "$said")" "$(field hits "$(counts 3)")"
	want_like "all points are armed at the end" "*attachment 1 armed 1000 pending 0 refused 0*" "$(cat "$T/storm.out")"
	poke drop $S 1; poke drop $S 2; poke drop $S 3
	rescan >/dev/null
	say go
	say stop
	want "no result is wrong after disarming" 0 "$(sed 's/.*wrong //' <<<"$said")"
	target_end
	rm -rf "$XDG_RUNTIME_DIR/probepoint"
}

for cross in "${compilers[@]}"; do
	case $cross in clang*) lld=-fuse-ld=lld ;; *) lld= ;; esac
	echo "== $cross"
	rm -rf "$T/agent"
	agent=$T/agent/lib/libprobepoint-agent.so
	# qemu-user shows a process its own mappings, not the emulator's, only if it opens the file by this name.
	make O="$T/agent" CC="$cross" CPPFLAGS=-DMAPS='\"/proc/self/maps\"' LDFLAGS="$lld" SAN= MISSING= "$agent" >"$T/make" 2>&1 ||
		fail "$(cat "$T/make")"
	trampolines
	simple
	values -O2
	[ -z "${PROBEPOINT_LONG-}" ] || values -O0
	libraries
	guarded
	storm
	cpu=(-cpu cortex-a53)
	simple
	cpu=()
done
sort -u "$T/skipped"
part_skipped "fork: qemu-user $(qemu-aarch64 --version | sed -n 's/.*version \([0-9.]*\).*/\1/p') aborts when a forked child makes a thread"
part_skipped "points of one process: qemu-user shows a process another start time"
part_skipped "kernel and agent on one site: the host's kernel does not trap emulated code"
part_skipped "instruction caches and membarrier: qemu-user always translates changed code again"
case ${compilers[*]} in *gcc*) ;; *) part_skipped "gcc: needs aarch64-linux-gnu-gcc" ;; esac
exit 0
