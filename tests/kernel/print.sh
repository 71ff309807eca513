#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# --print: random fields of random structures, by DWARF and by notes, through both backends, equal what the program itself
# prints of them. Strings by address and length; std::string; names of values; names of parameters; refusals.
. tests/plugin/lib.sh
. tests/agent/lib.sh
. tests/kernel/lib.sh
need_kernel
need python3
strings "$B/lib/libprobepoint.a" | grep -q dwarf_begin || skip "libprobepoint was built without libdw"
at_end "probe-disable -q -s $S 2>/dev/null"

# ---- random structures ----

seed=${PROBEPOINT_SEED:-$RANDOM$RANDOM}
echo "PROBEPOINT_SEED=$seed"
rounds=1
[ -z "${PROBEPOINT_LONG-}" ] || rounds=40
# traced BACKEND PROBE: compares the records of a run with what the program prints
traced() {
	probe-trace -q --json -b "$1" --print "$(jq -r .print "$T/made")" "$2" -- "$T/random" >"$T/both" 2>"$T/err" ||
		fail "seed $seed, $3, $1: $(cat "$T/err" "$T/both")"
	grep -v '^{' "$T/both" >"$T/expected"
	grep '^{' "$T/both" >"$T/records"
	out=$(python3 tests/kernel/print.py compare "$T/expected" "$T/records" "$T/made" 2>&1) || fail "seed $seed, $3, $1: $out"
}
for ((round = 0; round < rounds; round++)); do
	python3 tests/kernel/print.py make $((seed + round)) "$T/random.c" >"$T/made" || fail "no program"
	probed take provider=t
	hows=("$GCC -O2 -g ${with[*]} t:take__entry" "$CC -O0 -gdwarf-4 func:take")
	[ -z "${PROBEPOINT_LONG-}" ] || hows+=("clang -O1 -g func:take" "clang -O2 -gdwarf-4 func:take" "$CC -O2 -g func:take")
	for how in "${hows[@]}"; do
		have "${how%% *}" || continue
		${how% *} -w -o "$T/random" "$T/random.c" || fail "$how: does not compile"
		traced kernel "${how##* }" "$how"
		case $how in *t:*) traced agent "${how##* }" "$how" ;; esac # it needs the space of a site
	done
done

# ---- strings, C++ and parameters ----

cat >"$T/kinds.cc" <<'E2'
#include <cstring>
#include <string>
#include <string_view>
#include <sys/mman.h>
#include <unistd.h>
namespace shop {
enum class state { open, closed = 7 };
struct db { int id; std::string title; std::string_view view; };
struct cart { int n; db *d; const std::string &name; state st; float load; };
struct wide { long a, b, c; };
__attribute__((noinline)) int take(const std::string &s, cart *c, const char *sql, int len, state st, char **argv, double d)
{
	asm volatile("" : : "r"(&s), "r"(c), "r"(sql), "r"(len), "r"(argv) : "memory");
	return s.size() + len;
}
__attribute__((noinline)) wide large(long x) { asm volatile(""); return { x, x, x }; }
__attribute__((noinline)) int add(int a) { asm volatile(""); return a; }
__attribute__((noinline)) int add(const char *a) { asm volatile(""); return *a; }
}
int main()
{
	using namespace shop;
	const long page = sysconf(_SC_PAGESIZE);
	char *pages = (char *)mmap(0, 2 * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	munmap(pages + page, page);
	char *sql = pages + page - 6; /* its last two bytes are not terminated, and at the end of the page */
	memcpy(sql, "sel\0ct", 6);
	db d { 5, std::string(300, 'y'), std::string_view(sql + 4, 2) };
	std::string name = "short";
	cart c { 3, &d, name, state::closed, 2.5f };
	std::string big(5000, 'x');
	char *argv[] = { (char *)"get", (char *)"key", &big[0], nullptr };
	volatile long sum = 0;
	for (int len : { 6, -1, 0 })
		sum += take(name, &c, sql, len, len ? state::open : state::closed, argv, 1.25);
	sum += large(4).a + add(5) + add("x");
	return 0;
}
E2
build_once "$T/kinds" $GXX -O2 -g -w "${with[@]}" -fplugin-arg-probepoint-functions=*take,*add "$T/kinds.cc" || fail "kinds.cc does not compile"
shown() { # BACKEND ARGUMENTS... : the values of each record
	expect 0 probe-trace -q --json -b "$@" -- "$T/kinds"
	out=$(jq -c '[.args[]]' <<<"$out")
}
y=$(printf 'y%.0s' {1..127})
for b in kernel agent; do
	longest=4096
	if [ $b = kernel ]; then
		long=(probe-trace -q -b kernel --strlen 4096 --print 'argv[2], argv[1], argv[2]' t:shop__take__entry -- "$T/kinds")
		expect 125 env PROBEPOINT_TASK_STORAGE_MAX=8192 "${long[@]}"
		want_like "strings that the kernel has no memory for" "*the kernel cannot allocate * bytes for each thread*--strlen*" "$out"
		"${long[@]}" >/dev/null 2>&1 || longest=1000 # 8 KiB, on Linux 7.2
		[ $longest = 4096 ] || part_skipped "the kernel: strings of 4096 bytes, which it cannot allocate"
	fi
	x=$(printf 'x%.0s' $(seq $longest))
	shown $b --print 's, c->d->title, c->d->view, c->d->view._M_str, c->name, c->load, d, str(sql, len), str(sql, 3), sql' t:shop__take__entry
	cpp="\"short\",\"$y\",\"ct\",null,\"short\",2.5,1.25"
	want "$b: strings of C++, and with a length" "[$cpp,\"sel\u0000ct\",\"sel\",\"sel\"]
[$cpp,null,\"sel\",\"sel\"]
[$cpp,\"\",\"sel\",\"sel\"]" "$out"
	expect 0 probe-trace -q --json -b $b --string sql:len t:shop__take__entry -- "$T/kinds"
	want "$b: a string of C++ by default" '["short",1.25] ["short",1.25] ["short",1.25]' "$(jq -c '[.args.s, .args.d]' <<<"$out" | xargs -d '\n')"
	want "$b: names of arguments" 's c sql len st argv d' "$(head -n 1 <<<"$out" | jq -r '.args | keys_unsorted[]' | xargs)"
	expect 0 probe-trace -q --json -b $b --no-string s -n 1 t:shop__take__entry -- "$T/kinds"
	want "$b: the address with --no-string" number "$(head -n 1 <<<"$out" | jq -r '.args.s | type')"
	expect 0 probe-trace -q --json -b $b --string sql:len t:shop__take__entry -- "$T/kinds"
	want "$b: --string with a length" '"sel\u0000ct" null ""' "$(jq -c .args.sql <<<"$out" | xargs -d '\n')"
	shown $b --strlen $longest --print 'argv[2], argv[1], argv[2]' -n 1 --if 's =~ "*hor*" && c->name =~ "*ort" && argv[1] =~ "*e*"' t:shop__take__entry
	want "$b: long strings" "[\"$x\",\"key\",\"$x\"]" "$out"
	shown $b --strlen 3 --print 'argv[1], argv[0], s' --if 'len == 6 || s =~ "*hors*" || s =~ "*hor" || argv[2] =~ "*x"' t:shop__take__entry
	want "$b: short strings" '["key","get","sho"]' "$out"
done
expect 0 probe-trace -q --json -b kernel --print 'st, c->st, c->n' t:shop__take__entry -- "$T/kinds"
want "names of values" '{"st":"open","c->st":"closed"} {"st":"open","c->st":"closed"} {"st":"closed","c->st":"closed"}' \
	"$(jq -c .names <<<"$out" | xargs -d '\n')"
expect 0 probe-trace -q --json -b kernel func:shop::take 'func:shop::large%return' 'func:shop::add*' -- "$T/kinds"
want "names of parameters" '["s","c","sql","len","st","argv"] ["x","duration"] ["a"] ["a"]' \
	"$(jq -sc 'map(.args | keys_unsorted) | [.[0], .[3], .[4], .[5]] | .[]' <<<"$out" | xargs -d '\n')"
want "names of values of parameters" '{"st":"open"}' "$(head -n 1 <<<"$out" | jq -c .names)"
want "a string of C++ as a parameter" '"short"' "$(head -n 1 <<<"$out" | jq -c .args.s)"
want "strings of parameters" '"x"' "$(jq -c 'select(.probe | contains("add(char")) | .args.a' <<<"$out")"

# ---- C++ names ----

matches() { # PATTERN PROBES...
	want "$1" "${*:2}" "$(probe-list --json -m "$1" "$T/kinds" 2>/dev/null | jq -r '.probes[].name' | xargs)"
}
matches 'shop::add(int)' shop__add__entry shop__add__return
matches 'shop::add(const char *)' shop__add_2__entry shop__add_2__return
matches 'shop::add(int)__entry' shop__add__entry
matches 'shop::take(const std::string &, shop::cart *, const char *, int, shop::state, char **, double)' shop__take__entry shop__take__return
matches 't:shop::a?d' shop__add_2__entry shop__add_2__return shop__add__entry shop__add__return
matches 'shop::t*' shop__take__entry shop__take__return
matches 'shop::take__entry' shop__take__entry
matches 'shop::add(long)'
matches 'hop::add'
expect 125 probe-trace -b kernel shop::large -- "$T/kinds"
want_like "a hint at a function" "*a function has this name: func:shop::large*" "$out"
expect 125 probe-trace -b kernel 'shop::l*ge' -- "$T/kinds"
want_like "a hint at functions" "*no probe matches*; functions match: func:shop::l\*ge*" "$out"
expect 125 probe-trace -b kernel func:shop__take -- "$T/kinds"
want_like "a hint at a probe" "*a probe has this name: t:shop__take__entry*" "$out"

# ---- refusals ----

refused() { # EXPRESSION MESSAGE
	expect 125 probe-trace -q -b kernel --print "$1" t:shop__take__entry -- "$T/kinds"
	want_like "$1" "*$2*" "$out"
}
refused 'c->d->x' "'db' has no field 'x': it has id, title, view"
refused 'c->n, len && len' "can only be used in filters"
expect 2 probe-trace -q --strlen 4097 t:shop__take__entry -- "$T/kinds"
want_like "--strlen" "*--strlen: invalid number '4097'; give 1 to 4096*" "$out"

# ---- strings at the ends of calls ----

# The record must not be built in the memory of the frames: then each thread had one record.
cat >"$T/deep.c" <<'E2'
__attribute__((noipa)) int down(int depth, const char *text)
{
	int below = depth ? down(depth - 1, text) + 1 : 0;
	__asm__ volatile("" : : "r"(text) : "memory");
	return below;
}
int main(void)
{
	for (int i = 0; i < 3; i++)
		down(90, "deep");
	return 0;
}
E2
sed 's/i < 3/1/' "$T/deep.c" >"$T/endless.c"
build_once "$T/deep" $GCC -O1 -fno-optimize-sibling-calls -g "${with[@]}" -fplugin-arg-probepoint-functions=down "$T/deep.c" || fail "deep.c"
for b in kernel agent; do
	for p in t:down__return 'func:down%return'; do
		[ "$b$p" != 'agentfunc:down%return' ] || continue
		expect 0 probe-trace -q --json -b $b --print 'depth, text, duration' "$p" -- "$T/deep"
		want "$b: records of $p" '3 4095' "$(jq -sr '[.[].args | select(.text == "deep" and .duration > 0) | .depth] |
			"\(length / 91) \(add / 3)"' <<<"$out")"
	done
done

# ---- a function in two parts, the cold one elsewhere ----

cat >"$T/parts.c" <<'E2'
struct item { int id; const char *name; };
__attribute__((noinline, cold)) int rare(int weight) { __asm__ volatile("" : "+r"(weight)); return weight; }
__attribute__((noipa)) int handle(struct item *item, int weight)
{
	if (item)
		return item->id + weight;
	weight += rare(weight);
	return weight * rare(weight + 1);
}
int main(void)
{
	struct item item = { 7, "seven" };
	return handle(&item, 3) - 10;
}
E2
build_once "$T/parts" "$CC" -O2 -freorder-blocks-and-partition -g "$T/parts.c" || fail "parts.c"
if nm "$T/parts" | grep -q ' handle\.cold'; then
	expect 0 probe-trace -q --json --print 'item->id, weight, item->name' func:handle -- "$T/parts"
	want "parameters of a function in two parts" '{"item->id":7,"weight":3,"item->name":"seven"}' "$(jq -c .args <<<"$out")"
else
	part_skipped "a function in two parts: this compiler makes one"
fi

# ---- a program that hits all the time: the trace ends ----

build_once "$T/endless" $GCC -O1 -fno-optimize-sibling-calls -g "${with[@]}" -fplugin-arg-probepoint-functions=down "$T/endless.c" ||
	fail "endless.c"
"$T/endless" &
endless=$!
at_end 'kill $endless 2>/dev/null'
runs $endless "$T/endless"
timeout -k 1 60 probe-trace -q -b kernel --json --for 200ms -p $endless --print depth t:down__entry >/dev/null ||
	fail "probe-trace --for ended with $?"
