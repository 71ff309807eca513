#!/bin/bash
# SPDX-License-Identifier: MIT
# CONTRIBUTING.md: files and functions that it names exist, and its recipes for a command and a backend work. The examples
# of tests pass. make help is complete.
. tests/lib.sh
need make jq git python3

# ---- names ----

# Prints the text between backquotes, without code blocks.
quoted() { awk '/^```/ { code = !code; next } !code' CONTRIBUTING.md | grep -o '`[^`]*`' | tr -d '`' | sort -u; }
directories=(base bench cmd doc examples include plugin runtime scripts sdt tests)
defined() { grep -rqw --include='*.[ch]' --include='*.cc' --include='*.sh' --include='*.mk' -- "$1" "${directories[@]}"; }
# Functions that recipes call are not those of examples and tests.
in_product() { grep -rqw --include='*.[ch]' --include='*.cc' -- "$1" include base sdt runtime cmd plugin; }

checked=0
while IFS= read -r name; do
	case $name in
	*' '* | *NAME* | -* | build/* | .git/* | gcc-N) continue ;;
	*CPU*.[ch] | *CPU*.cc)
		for cpu in x86_64 aarch64; do
			file=${name//CPU/$cpu}
			[ -f "$file" ] || [ -f "runtime/agent/inproc/$file" ] || fail "no such file: $file"
		done
		;;
	*'*'*) compgen -G "$name" >/dev/null || fail "no such file: $name" ;;
	*/* | *.md | *.mk) [ -e "$name" ] || fail "no such file: $name" ;;
	*'()') in_product "${name%()}" || fail "no such function: $name" ;;
	*) continue ;;
	esac
	checked=$((checked + 1))
done <<<"$(quoted)"
[ $checked -ge 30 ] || fail "only $checked names were found in CONTRIBUTING.md"
while read -r kind name; do
	defined "$name" || fail "no such $kind: $name"
done <<<"$(quoted | grep -E '^(struct|enum) [a-z_]+$')"

# ---- make help ----

help=$(make -s help) || fail "make help fails"
for target in $(sed -n 's/^\.PHONY: //p' Makefile */*.mk runtime/agent/inproc/build.mk); do
	case $target in FORCE | run-*) continue ;; esac
	grep -q "^  $target " <<<"$help" || fail "make help does not list $target"
done
for variable in V O TESTS CHECK SAN CC CXX CFLAGS PLUGIN_CC PLUGIN_CXX PREFIX DESTDIR plugindir; do
	grep -q "\<$variable=" <<<"$help" || fail "make help does not list $variable"
done

# ---- a copy of the tree ----

# file PATH: prints the block that CONTRIBUTING.md or tests/README.md marks with this path.
file() {
	awk -v mark="<!-- file: $1 -->" '$0 == mark { on = 1; next } on && /^```/ { if (n++) exit; next } on && n' \
		CONTRIBUTING.md tests/README.md
}
build() {
	MAKEFLAGS='' make -s -j2 O=build all >"$T/log" 2>&1 || fail "the $1 is not built: $(tail -n 20 "$T/log")"
	! grep -q warning: "$T/log" || fail "the $1 is built with warnings: $(cat "$T/log")"
}

mkdir "$T/tree"
cp -a "${directories[@]}" Makefile config.mk CONTRIBUTING.md "$T/tree"
cp -a "$B" "$T/tree/build"
cd "$T/tree" || exit 1
B=$T/tree/build
PATH=$B/bin:$PATH

# ---- the recipe for a command, and the examples of tests ----

for path in cmd/probe-count.c tests/cmd/example.sh tests/cmd/hit.sh; do
	file "$path" >"$path"
	[ -s "$path" ] || fail "no document has a block for $path"
done
# Step 4: the page lists the options of --help.
{
	echo '.TH PROBE\-COUNT 1'
	for section in NAME SYNOPSIS DESCRIPTION OPTIONS; do printf '.SH %s\ntext\n' $section; done
	for option in '-q\fR, \fB--quiet' '-v\fR, \fB--verbose' --json '-?\fR, \fB--help\fR, \fB--usage' '-V\fR, \fB--version'; do
		printf '.TP\n\\fB%s\\fR\ntext\n' "${option//-/\\-}"
	done
	for section in JSON "EXIT STATUS" EXAMPLES "SEE ALSO"; do printf '.SH %s\ntext\n' "$section"; done
} >doc/man/probe-count.1
# Step 5
sed -i 's/^COMMANDS="/&probe-count /' tests/cmd/help.sh
# Step 6
cat >tests/cmd/count.sh <<'E'
#!/bin/bash
# SPDX-License-Identifier: MIT
# probe-count prints the number of probes, and fails for a file that does not exist.
. tests/lib.sh
expect 0 probe-count "$B/examples/weblog" /bin/true
want_like "counts" "[1-9]* $B/examples/weblog?0 /bin/true" "$out"
expect 1 probe-count --json /nonexistent
expect 0 probe-count --json /bin/true
want "as JSON" '{"file":"/bin/true","probes":0}' "$out"
expect 2 probe-count
E
build command
# Step 8
for test in cmd/help cmd/count cmd/example cmd/hit; do
	bash "tests/$test.sh" >"$T/log" 2>&1
	case $? in
	0) ;;
	77) part_skipped "$test: $(tail -n 1 "$T/log")" ;;
	*) fail "$test: $(tail -n 5 "$T/log")" ;;
	esac
done

# ---- the recipe for a backend ----

# Step 2: the null backend of the unit test, without its list.
mkdir runtime/null
sed -n '1,/^const struct backend \*const backends/p' tests/unit/null-backend.c | sed '/^#include <check/d; $d' >runtime/null/backend.c
# Step 4
sed -i 's/^extern const struct backend backend_kernel,/& backend_null,/' runtime/backend.h
sed -i 's/&backend_kernel,* }/\&backend_kernel, \&backend_null }/' runtime/backends.c
build backend
expect 2 probe-enable -b magic -p $$ 'a:b'
want_like "backends that -b knows" "*no backend 'magic'*null*" "$out"
"$B/examples/weblog" -t 3600 >"$T/weblog" 2>&1 &
runs $! "$B/examples/weblog"
out=$(probe-enable -b null --json -s "$S" -p $! 'weblog:find_route__entry' 2>"$T/log") || fail "the null backend: $(cat "$T/log")"
want "the null backend arms nothing" '[0,1]' "$(json '[.armed, .pending | length]' <<<"$out")"
# Step 7: no other directory may include a header of the backend.
git init -q . || fail "no repository"
echo 'struct null;' >runtime/null/null.h
before=$(scripts/cycles)
echo '#include "runtime/null/null.h"' >>runtime/stat.c
expect 1 scripts/cycles
want "an include of a backend's header" "wrong direction: runtime/stat.c: includes runtime/null/null.h" \
	"$(comm -13 <(sort <<<"$before") <(sort <<<"$out"))"
