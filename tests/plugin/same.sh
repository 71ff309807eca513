#!/bin/bash
# SPDX-License-Identifier: MIT
# The same input gives the same object, byte for byte, independent of memory layout, ccache and -save-temps.
. tests/plugin/lib.sh
COMPARE= # ccache does not cache such compilations, and -save-temps keeps the second one's files
need cmp
probed '*'
$GCC -std=gnu17 -O1 "$SOURCES/gen.c" -o "$T/gen" && (cd "$T" && ./gen 7 200 p) || fail "gen"
cp "$SOURCES/tail.c" "$T"
cat >"$T/x.cc" <<'E'
#include <map>
#include <string>
template <class K> struct table {
	std::map<K, std::string> m;
	void add(K k, const std::string &s) { m[k] += s; }
	size_t size() const { return m.size(); }
};
int main(int argc, char **argv)
{
	table<int> a;
	table<std::string> b;
	auto add = [&](int i) { a.add(i, argv[0]); b.add(argv[0], "x"); };
	for (int i = 0; i < argc; i++)
		add(i);
	return a.size() + b.size() == 2 ? 0 : 1;
}
E
for flags in -O0 -O2 "-O2 -g" "-O2 -flto -ffat-lto-objects -frandom-seed=1"; do
	for source in p.c tail.c x.cc; do
		# The short form has each source and each set of options once or twice.
		case ${PROBEPOINT_LONG-}$flags:$source in
		-O0:p.c | -O2:tail.c | "-O2 -g:x.cc" | *lto*:tail.c | 1*) ;;
		*) continue ;;
		esac
		cc=$GCC
		[[ $source = *.cc ]] && cc=$GXX
		build() { (cd "$T" && "$@" $cc -w $flags "${with[@]}" -c $source ${extra-} -o out.o) || fail "$flags $source"; }
		extra=
		build
		mv "$T/out.o" "$T/first.o"
		build
		cmp "$T/first.o" "$T/out.o" || fail "$flags $source: differs from run to run"
		extra=-save-temps build
		[[ $flags = *-g* || $flags = *lto* ]] || cmp "$T/first.o" "$T/out.o" || fail "$flags $source: differs with -save-temps"
		# another memory layout: another stack and environment, no randomisation
		build env X="$(printf 'x%.0s' {1..5000})" setarch -R
		cmp "$T/first.o" "$T/out.o" || fail "$flags $source: differs with another memory layout"
	done
done

# -ffile-prefix-map removes the directory of the sources from the notes too.
mkdir "$T/one" "$T/two"
for d in one two; do
	cp "$T/tail.c" "$T/$d"
	(cd "$T/$d" && $GCC -O2 "${with[@]}" -ffile-prefix-map="$T/$d"=/src -c "$T/$d/tail.c" -o "$T/$d.o") || fail "prefix map"
done
cmp "$T/one.o" "$T/two.o" || fail "the directory is in the object in spite of -ffile-prefix-map"

# The dependencies of -MD contain the file of rules, in C and C++.
echo 'probe *' >"$T/some rules"
for source in tail.c x.cc; do
	cc=$GCC
	[[ $source = *.cc ]] && cc=$GXX
	(cd "$T" && $cc -w "-fplugin=$PLUGIN" "-fplugin-arg-probepoint-rules=some rules" -MD -MF deps -c $source -o out.o) ||
		fail "-MD: $source"
	tr -d '\n' <"$T/deps" | tr -s ' ' | grep -qF "out.o: $source some\\ rules" || fail "-MD of $source: $(cat "$T/deps")"
done

# ccache takes the object from its cache the second time, but not with another plugin or other rules.
have ccache || { part_skipped "ccache is not installed"; exit 0; }
export CCACHE_DIR=$T/cache CCACHE_COMPILERCHECK=content CCACHE_EXTRAFILES=$T/rules
unset CCACHE_DISABLE CCACHE_RECACHE
hits() { ccache --print-stats | awk '$1 ~ /^(direct|preprocessed)_cache_hit$/ { n += $2 } END { print n }'; }
cached() { (cd "$T" && ccache $GCC -O2 "$@" -c tail.c -o out.o) || fail "ccache: $*"; }
echo 'probe * sites=entry' >"$T/rules"
with=("-fplugin=$PLUGIN" "-fplugin-arg-probepoint-rules=$T/rules")
cached "${with[@]}"
mv "$T/out.o" "$T/first.o"
want "hits at first" 0 "$(hits)"
cached "${with[@]}"
want "hits then" 1 "$(hits)"
cmp "$T/first.o" "$T/out.o" || fail "the cached object differs"
sites "$T/out.o" | grep -q __entry || fail "the cached object has no sites"
echo 'probe * sites=return' >"$T/rules"
cached "${with[@]}"
want "hits with other rules" 1 "$(hits)"
sites "$T/out.o" | grep -q __entry && fail "the object is made by the old rules"
cached
want "hits without the plugin" 1 "$(hits)"
want "sites without the plugin" "" "$(sites "$T/out.o")"

# In its depend mode ccache finds the rules without CCACHE_EXTRAFILES.
unset CCACHE_EXTRAFILES
# otherwise it does not trust files that are as new as the compilation
export CCACHE_DEPEND=1 CCACHE_DIR=$T/depend CCACHE_SLOPPINESS=include_file_mtime,include_file_ctime
cached "${with[@]}" -MD
want "hits at first, depend mode" 0 "$(hits)"
cached "${with[@]}" -MD
want "hits then, depend mode" 1 "$(hits)"
echo 'probe * sites=entry' >"$T/rules"
cached "${with[@]}" -MD
want "hits with other rules, depend mode" 1 "$(hits)"
! sites "$T/out.o" | grep -q __return || fail "the object is made by the old rules, in depend mode"
