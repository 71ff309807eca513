#!/bin/bash
# SPDX-License-Identifier: MIT
# Names of enumerations, fields of structures, and more than twelve arguments are as the program itself has them.
. tests/plugin/lib.sh
need readelf jq
probed 'take*,give' provider=t
cd "$T" || exit 1

# fields.h is C and C++. SHOW prints the program's own view of each field.
cat >fields.h <<'E'
#include <stddef.h>
#include <stdio.h>
#include <stdint.h>
enum colour { RED = -3, GREEN, BLUE = 1000 };
enum big { NONE = 0, MANY = 0xfffffff0u };
struct inner { int a; char b; };
struct request {
	uint16_t id;
	double weight;
	const char *path;
	size_t len;
	char tag[8];
	struct inner in;
	struct { short x, y; };
	union { long l; float f; };
	unsigned kind : 3;
	int more : 10;
	_Bool done;
	enum colour colour;
	struct request *next;
	int (*call)(int);
	long double ld;
	int rest[];
};
typedef struct { int fd; unsigned char flags; } handle;
struct unknown;
#define SHOW(type, field) printf("%s %zu %zu\n", #field, offsetof(type, field), sizeof(((type *)0)->field))
E
cat >fields.c <<'E'
#include "fields.h"
__attribute__((noinline)) struct request *give(struct request *r) { __asm__ volatile("" : : "r"(r)); return r; }
__attribute__((noinline)) int take(const struct request *r, handle *h, enum colour c, enum big b, struct unknown *u, int *i, struct request big)
{ __asm__ volatile("" : : "r"(r), "r"(h), "r"(c), "r"(b), "r"(u), "r"(i), "m"(big)); return 0; }
int main(void)
{
	static struct request r;
	handle h = { 1, 2 };
	SHOW(struct request, id);
	SHOW(struct request, weight);
	SHOW(struct request, path);
	SHOW(struct request, len);
	SHOW(struct request, tag);
	SHOW(struct request, in);
	SHOW(struct request, x);
	SHOW(struct request, y);
	SHOW(struct request, l);
	SHOW(struct request, f);
	SHOW(struct request, done);
	SHOW(struct request, colour);
	SHOW(struct request, next);
	SHOW(struct request, call);
	SHOW(struct request, ld);
	r.kind = 5;
	r.more = -77;
	unsigned char *bytes = (unsigned char *)&r;
	for (size_t i = 0; i < sizeof r; i++)
		if (bytes[i]) { /* the place that the compiler has chosen */
			unsigned w = bytes[i] | bytes[i + 1] << 8;
			printf("bits %zu %u %d\n", i, w & 7, (int)(w >> 3 << 22) >> 22);
			break;
		}
	return take(give(&r), &h, RED, MANY, 0, 0, r);
}
E
option_sets <<'E'
-O0
-O2 -g -flto -fno-fat-lto-objects
long -O2
long -O2 -flto
long -O1 -fno-toplevel-reorder
E
for flags in "${sets[@]}"; do
	$GCC -w $flags "${with[@]}" fields.c -o fields && ./fields >shown || fail "$flags: fields.c"
	probe-list fields --json -v >list || fail "$flags: not read"
	[ "$(probe-list fields 2>&1 >/dev/null)" = "" ] || fail "$flags: warnings"
	args() { jq -c ".probes[] | select(.name == \"$1\") | .args[] | select(.name == \"$2\") | $3" list; }
	for pair in take__entry:r give__entry:r give__return:result take__entry:big; do
		args ${pair%:*} ${pair#*:} '.fields[] | select(.bits == 0) | "\(.name) \(.offset) \(.size)"' | tr -d '"' >got
		grep -v bits shown | diff - got || fail "$flags: fields of $pair"
		want "$flags: $pair: bit-fields" "$(awk '/bits/ { print "[\"kind\"," $2 ",0,3][\"more\"," $2 ",3,10]" }' shown)" \
			"$(args ${pair%:*} ${pair#*:} '.fields[] | select(.bits > 0) | [.name, .offset, .bit, .bits]' | tr -d '\n')"
	done
	want "$flags: bits" "5 -77" "$(awk '/bits/ { print $3, $4 }' shown)"
	want "$flags: types" '["uint16_t","double","const char *","size_t","char [8]","struct inner","short","short","long","float","unsigned","int","_Bool","enum colour","struct request *","int (*)(int)","long double"]' \
		"$(args take__entry r '[.fields[].type]' | sed 's/unsigned short/uint16_t/; s/unsigned long/size_t/; s/"bool"/"_Bool"/')" # C23 names it bool
	want "$flags: typedef" '["fd","flags"]' "$(args take__entry h '[.fields[].name]')"
	want "$flags: names" '[["RED",-3],["GREEN",-2],["BLUE",1000]]' "$(args take__entry c '[.values[] | [.name, .value]]')"
	want "$flags: unsigned names" '[["NONE",0],["MANY",4294967280]]' "$(args take__entry b '[.values[] | [.name, .value]]')"
	want "$flags: nothing known" "0 0" "$(args take__entry u '.fields | length') $(args take__entry i '.fields | length')"
	want "$flags: one note a type" 4 "$(readelf -nW fields | grep -c 'Unknown note type: (0x00000003)')"
done

# Two units share one note. If one of them only declares the structure, the note of the other counts.
echo '#include "fields.h"
int take2(struct request *r); int take2(struct request *r) { return r->id; }' >two.c
$GCC -w -O2 "${with[@]}" fields.c two.c -o fields && want "two units" 4 "$(readelf -nW fields | grep -c 'note type: (0x00000003)')"

# Bases, anonymous members and templates have fields; types of C++'s library and virtual bases do not.
cat >x.cc <<'E'
#include <cstdio>
#include <string>
#include <cstddef>
struct base { virtual ~base() {} int b = 1; char c = 2; };
struct virt { int v; };
namespace ns {
enum class mode : unsigned char { OFF, ON = 200 };
template <class T> struct box { T value; mode m; };
struct derived : base { char after; union { int i; float f; }; struct { long deep; } named; int &ref; derived(int &r) : ref(r) {} };
struct odd : virtual virt { int own = 0; };
}
__attribute__((noinline)) int take(ns::derived *d, const ns::box<short> &b, const std::string &s, ns::odd *o, ns::mode m) { return d->b + b.value + s.size() + o->own + (int)m; }
int main()
{
	int r = 3;
	ns::derived d(r);
	ns::box<short> b = { 4, ns::mode::ON };
	ns::odd o;
	auto at = [&](const void *p) { return (long)((const char *)p - (const char *)&d); };
	printf("b %ld c %ld after %ld i %ld f %ld named %ld ref \n", at(&d.b), at(&d.c), at(&d.after), at(&d.i), at(&d.f), at(&d.named));
	return take(&d, b, "x", &o, ns::mode::OFF) < 0;
}
E
option_sets <<'E'
-O2
long -O0
long -O2 -flto
E
for flags in "${sets[@]}"; do
	$GXX -w $flags "${with[@]}" x.cc -o x && ./x >shown || fail "$flags: x.cc"
	probe-list x --json -v >list || fail "$flags: not read"
	want "$flags: derived" "$(cat shown)" "$(args take__entry d '.fields[] | "\(.name) \(.offset)"' | tr -d '"' | sed 's/ref .*/ref/' | tr '\n' ' ')"
	want "$flags: box" '["value","m"]' "$(args take__entry b '[.fields[].name]')"
	want "$flags: library" '[]' "$(args take__entry s '[.fields[].name]')"
	want "$flags: virtual base" '["own"]' "$(args take__entry o '[.fields[].name]')"
	want "$flags: scoped names" '[["OFF",0],["ON",200]]' "$(args take__entry m '[.values[] | [.name, .value]]')"
done

# Of more than twelve arguments, old readers see twelve and ours all.
{
	echo '__attribute__((noinline)) long take_many('
	for ((i = 1; i <= 20; i++)); do echo "$([ $i = 1 ] || echo ,) $([ $((i % 3)) = 0 ] && echo short || echo long) p$i"; done
	echo ') { __asm__ volatile(""); return p1 + p20; } int main(void) { return take_many('
	for ((i = 1; i <= 20; i++)); do echo "$([ $i = 1 ] || echo ,) $((i * -11))"; done
	echo ') != -231; }'
} >many.c
option_sets <<'E'
-O0
-O2
long -O3
long -O2 -flto
E
for flags in "${sets[@]}"; do
	$GCC $flags "${with[@]}" many.c -o many && ./many || fail "$flags: many.c"
	want "$flags: operands in stapsdt" 12 "$(sites many | grep many__entry | cut -d' ' -f2- | wc -w)"
	want "$flags: operands for us" 20 "$(probe-list many --json | jq -r '.probes[] | select(.name == "take_many__entry") | .sites[0].operands' | wc -w)"
	if [ "$(id -u)" = 0 ]; then
		want "$flags: traced" "$(for ((i = 1; i <= 20; i++)); do echo -n "$((i * -11)) "; done)" \
			"$(probe-trace -q --json t:take_many__entry -- ./many | jq -r '.args | to_entries | map(.value) | join(" ") + " "' | tr -d '\n')"
	fi
done

# A damaged note is reported, and the others are read.
$GCC -w -O2 "${with[@]}" fields.c -o fields
at=$(grep -obaF 'GREEN=-2' fields | cut -d: -f1)
[ "$at" ] || fail "no GREEN in the notes"
printf X | dd of=fields bs=1 seek="$at" conv=notrunc 2>/dev/null
probe-list fields --json -v >list 2>/dev/null
out=$(probe-list fields -v 2>&1)
want_like "damaged" "*its key does not match its contents*" "$out"
want "damaged: the names" '[]' "$(args take__entry c '.values')"
want "damaged: the others" '["fd","flags"]' "$(args take__entry h '[.fields[].name]')"
$GCC -w -O2 "${with[@]}" fields.c -o broken || fail broken
start=$(readelf -SW broken | awk '/\.note\.probepoint/ { sub(/.*NOTE/, ""); print $2, $3; exit }')
offset=$((16#${start% *})) length=$((16#${start#* }))
seed=${SEED:-$RANDOM} && echo "seed $seed" && RANDOM=$seed
for ((i = 0; i < ${PROBEPOINT_LONG:+1}50; i++)); do
	cp broken hurt
	for n in 1 2 3; do
		printf "\\x$(printf %02x $((RANDOM % 256)))" | dd of=hurt bs=1 seek=$((offset + RANDOM % length)) conv=notrunc 2>/dev/null
	done
	probe-list hurt --json -v >list 2>/dev/null
	[ $? -lt 100 ] && jq -e '.probes or .error' list >/dev/null || fail "a damaged file (seed $seed, try $i) breaks probe-list"
done
exit 0
