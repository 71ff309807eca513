#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# examples/count.c and examples/trace.c, built from the installed product in each C and C++ standard, shared and static, count
# and print exactly what a program hit; without privileges or a process they print the reason and fail.
. tests/lib.sh
[ -z "${SAN-}" ] || skip "programs without sanitizers cannot use a library with them"
need pkg-config jq
P=$T/product
make -s O="$B" install PREFIX="$P" >"$T/log" 2>&1 || { cat "$T/log"; fail "make install"; }
chmod -R a+rX "$P"
export PKG_CONFIG_PATH=$P/lib/pkgconfig
strict="-Wall -Wextra -Wundef -Werror -pedantic"
shared="$(pkg-config --cflags --libs probepoint) -Wl,-rpath,$P/lib"
static=$(pkg-config --static --cflags --libs probepoint | sed 's/-lprobepoint/-l:libprobepoint.a/')

# Only the examples are copied, so that no header of the tree is found.
mkdir "$T/examples" && cp examples/count.c examples/trace.c "$T/examples" && cd "$T" || exit 1

# ---- building ----

# build_all COMPILER -std=STANDARD [-x LANGUAGE]
build_all() {
	printf '#include <probepoint.h>\nint only;\n' >alone.c
	"$@" $strict -fsyntax-only alone.c $(pkg-config --cflags probepoint) || fail "$*: the header does not compile alone"
	"$@" $strict -o count examples/count.c $shared || fail "$*: count.c does not build"
	"$@" $strict -o trace examples/trace.c $shared || fail "$*: trace.c does not build"
	built+=("$*")
}
built=()
for compiler in clang "$CC"; do
	have "$compiler" || { part_skipped "$compiler"; continue; }
	for standard in c99 ${PROBEPOINT_LONG:+c11} gnu17; do build_all "$compiler" -std=$standard; done
done
for compiler in clang++ "$CXX"; do
	have "$compiler" || { part_skipped "$compiler"; continue; }
	for standard in c++98 ${PROBEPOINT_LONG:+c++11} c++17; do build_all "$compiler" -std=$standard -x c++; done
done
[ ${#built[@]} -ge 4 ] || fail "only these built: ${built[*]}"
mv count count-c++ && mv trace trace-c++
build_all "$CC" -std=c99
for example in count trace; do
	"$CC" -o $example-static examples/$example.c $static || fail "$example.c does not build with libprobepoint.a"
	ldd $example-static | grep -q libprobepoint && fail "$example-static needs the shared library"
	[ "$(ldd $example | awk '/libprobepoint/ { print $3 }')" = "$P/lib/libprobepoint.so.1" ] ||
		fail "$example does not use the installed library"
done

# ---- a program that knows what it hits ----

cat >shop.c <<'E'
#define _SDT_HAS_SEMAPHORES 1
#include <stdio.h>
#include <stdlib.h>
#include <sys/sdt.h>
#include <unistd.h>

extern const volatile char __ehdr_start[];
volatile unsigned short shop_sale_semaphore __attribute__((section(".probes"))), shop_open_semaphore __attribute__((section(".probes")));

/* Waits until the first two bytes of a site differ from those of the file: the semaphore is raised before the point is armed. */
static void wait_for_site(unsigned long address, long offset)
{
	FILE *file = fopen("/proc/self/exe", "r");
	char bytes[2];

	if (!file || fseek(file, offset, SEEK_SET) || fread(bytes, 2, 1, file) != 1)
		exit(1);
	while (bytes[0] == __ehdr_start[address] && bytes[1] == __ehdr_start[address + 1])
		usleep(1000);
	fclose(file);
}

/* Waits until shop:sale is armed, and the sites of the variable SITES, and for a line of input. Logs each hit as trace.c prints it, and ends when its input does. */
int main(void)
{
	static const char *const goods[] = { "apple", "pear", "" };
	char c, *sites = getenv("SITES");

	while (!shop_sale_semaphore)
		usleep(1000);
	while (sites && *sites) {
		unsigned long address = strtoul(sites, &sites, 0);

		wait_for_site(address, strtol(sites, &sites, 0));
	}
	puts("armed");
	fflush(stdout);
	if (read(0, &c, 1) != 1)
		return 0;
	for (long i = 0; i < 1000; i++) {
		const char *what = i % 10 == 7 ? (const char *)8 : goods[i % 3];
		double price = i / 4.;

		STAP_PROBE4(shop, sale, what, (int)i, -i * 10000000000, price);
		if (i % 10 == 7)
			printf("shop:sale ? %ld %ld %g\n", i, -i * 10000000000, price);
		else
			printf("shop:sale \"%s\" %ld %ld %g\n", what, i, -i * 10000000000, price);
		if (i % 2)
			STAP_PROBE(shop, open);
	}
	puts("done");
	fflush(stdout);
	return read(0, &c, 1) < 0;
}
E
"$CC" -O1 -o shop shop.c $(pkg-config --cflags probepoint) || fail "the program does not build"
# sites PATTERN: prints address and file offset of each site.
sites() { "$P/bin/probe-list" --json -m "$1" shop | jq -r '.probes[].sites[] | "\(.address) \(.offset)"' | paste -sd' '; }
want "number of sites of the program" 4 "$(sites 'shop:*' | wc -w)"

# start_shop [PREFIX...]: sets $shop.
start_shop() {
	mkfifo in
	"$@" ./shop <in >shop.log &
	shop=$!
	exec {in}>in
	rm in
	runs $shop "$T/shop"
}
stop_shop() {
	exec {in}>&-
	wait $shop || fail "the program ended with $?"
}

give_up_shop() {
	exec {in}>&-
	kill $shop
	wait $shop 2>/dev/null
}

# count_shop COUNT-PROGRAM BACKEND [PREFIX...]
count_shop() {
	local program=$1 backend=$2 seconds wanted=$'500 shop:open\n1000 shop:sale'
	shift 2
	for seconds in 3 20 60; do # within three seconds a busy machine may not do it all
		SITES=$(sites 'shop:*') start_shop "$@" "${preload[@]}"
		echo >&"$in"
		expect 0 "$@" ./$program $shop 'shop:*' $seconds
		[ "$out" != "$wanted" ] || break
		give_up_shop
	done
	want "$program, $backend" "$wanted" "$out"
	stop_shop
}
# trace_shop TRACE-PROGRAM BACKEND [PREFIX...]
trace_shop() {
	local program=$1 backend=$2
	shift 2
	start_shop "$@" "${preload[@]}"
	expect 0 "$@" "$P/bin/probe-enable" -q -s "$S" -b "$backend" -p $shop --record --string arg0 shop:sale
	echo >&"$in"
	expect 0 timeout 120 "$@" ./$program "$S" 1000
	wait_for 20 grep -qx done shop.log
	grep '^shop' shop.log | diff - <(printf '%s\n' "$out") >lines ||
		fail "$program, $backend: not what the program hit: $(head lines)"
	expect 0 "$@" "$P/bin/probe-disable" -q -s "$S"
	stop_shop
}

# An unprivileged user, with the agent.
as=() # not the function nobody, whose process would be a child of $!
[ "$(id -u)" != 0 ] || as=(setpriv --reuid=65534 --regid=65534 --clear-groups --bounding-set=-all --inh-caps=-all env XDG_RUNTIME_DIR="$T/nobody")
mkdir -m 700 nobody
[ "$(id -u)" != 0 ] || chown 65534:65534 nobody
[ "$(id -u)" = 0 ] || export XDG_RUNTIME_DIR=$T/nobody
preload=(env LD_PRELOAD="$P/lib/libprobepoint-agent.so")
for way in ${PROBEPOINT_LONG:+"" -static} -c++; do count_shop count$way agent "${as[@]}"; done
for way in "" -c++ -static; do trace_shop trace$way agent "${as[@]}"; done
preload=()
if [ "$(id -u)" = 0 ] && [ -d /sys/bus/event_source/devices/uprobe ]; then
	for way in "" ${PROBEPOINT_LONG:+-c++} -static; do count_shop count$way kernel; done
	for way in "" -c++ -static; do trace_shop trace$way kernel; done
else
	part_skipped "the kernel backend: needs root and uprobes"
fi

# ---- errors ----

start_shop
for program in count count-c++ count-static; do
	expect 1 ./$program 2147483647 'shop:*' 1
	want_like "$program, no such process" "count: *2147483647*" "$out"
	expect 1 ./$program $shop 'shop:nothing' 1
	want_like "$program, no such probe" "count: *'shop:nothing'*" "$out"
	expect 1 "${as[@]}" ./$program $shop 'shop:*' 1
	want_like "$program, no privilege" "count: ?*" "$out"
	expect 1 ./$program
	want "$program, no arguments" "count: usage: count PID PATTERN SECONDS" "$out"
done
for program in trace trace-c++ trace-static; do
	expect 1 ./$program "$S" 1
	want_like "$program, no such session" "trace: *'$S'*" "$out"
	expect 1 ./$program 'no name' 1
	want_like "$program, invalid name" "trace: *'no name'*" "$out"
done
kill $shop
exec {in}>&-

# ---- README ----

# The lines of README.md's program, but for its pattern, count what the program hits.
awk '/<!-- library -->/ { on = 1; next } on && /^```/ { if (n++) exit; next } on && n' "$OLDPWD/README.md" |
	sed 's/weblog:\*/shop:sale/' >readme.txt
[ -s readme.txt ] || fail "README.md has no program"
{
	printf '#include <inttypes.h>\n#include <probepoint.h>\n#include <stdio.h>\n#include <stdlib.h>\n#include <unistd.h>\n'
	printf 'int main(int argc, char **argv)\n{\n\tpid_t pid = argc > 1 ? atoi(argv[1]) : 0;\n'
	cat readme.txt
	echo '}'
} >readme.c
for seconds in 3 20 60; do
	sed -i "s/sleep([0-9]*)/sleep($seconds)/" readme.c
	"$CC" -std=gnu17 $strict -o readme readme.c $shared || fail "the program in README.md does not build"
	SITES=$(sites shop:sale) start_shop "${as[@]}" env LD_PRELOAD="$P/lib/libprobepoint-agent.so"
	echo >&"$in"
	"${as[@]}" ./readme $shop >count.out 2>&1
	[ "$(cat count.out)" != "1000 shop:sale" ] || break
	give_up_shop
done
want "README.md's program" "1000 shop:sale" "$(cat count.out)"
stop_shop
