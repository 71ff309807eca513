#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# The manual pages of section 3 and include/probepoint.h agree: each declaration is in the SYNOPSIS of one page, each function is
# described, each error that a comment of the header names is in ERRORS, and the pages name nothing that the header does not have.
. tests/lib.sh
header=include/probepoint.h
pages=(doc/man/*.3)

# statements: prints each declaration of standard input on one line, without white space.
statements() {
	awk '{
			text = $0 " "
			gsub(/[ \t]/, "", text)
			for (i = 1; i <= length(text); i++) {
				c = substr(text, i, 1)
				depth += (c == "{") - (c == "}")
				line = line c
				if (c == ";" && depth == 0) {
					print line
					line = ""
				}
			}
		}'
}
# section NAME PAGE: prints the lines of a section.
section() { awk -v name="$1" '/^\.SH / { on = $0 == ".SH " name; next } on' "$2"; }
# plain: removes the markup of standard input.
plain() { sed -E '/^\.\\"/d; s/^\.(B|I|BI|BR|IR|RB|TP|IP|PP|SS|nf|fi|EX|EE)( |$)//; s/\\f.//g; s/\\-/-/g; s/"//g'; }

# ---- SYNOPSIS ----

# Without comments. A comment that does not end on its line is joined with the next one.
sed -E ':again; s#/\*([^*]|\*+[^*/])*\*+/##g; /\/\*/ { N; b again }' $header >"$T/header.h"
grep -v '^#' "$T/header.h" | sed 's/^extern "C" {//; s/^}$//' | statements | sort >"$T/declared"
grep '^#define P.* ' "$T/header.h" | tr -d ' \t' | sort >>"$T/declared"
[ "$(wc -l <"$T/declared")" -gt 120 ] || fail "only $(wc -l <"$T/declared") declarations found in $header"
for page in "${pages[@]}"; do
	section SYNOPSIS "$page" | plain >"$T/synopsis"
	grep -v '^#' "$T/synopsis" | statements
	grep '^#define' "$T/synopsis" | tr -d ' \t'
	grep -qx '#include <probepoint.h>' "$T/synopsis" || fail "$page does not include the header"
done >"$T/shown"
diff <(sort "$T/declared") <(sort "$T/shown") >"$T/diff" ||
	fail "declarations that only the header has (<), that only a SYNOPSIS has, or two have (>): $(cat "$T/diff")"

# ---- names ----

grep -oE '\b(pp|PP|PROBEPOINT)_[A-Za-z_]*[A-Za-z]\b' "$T/header.h" | sort -u >"$T/names"
printf '%s\n' "${pages[@]}" | sed 's#.*/##; s#\.3$##' | sort -u - "$T/names" >"$T/known"
for page in "${pages[@]}"; do
	name=${page##*/} name=${name%.3}
	plain <"$page" | grep -oE '\b(pp|PP)_[A-Za-z_]*[A-Za-z]\b' | sort -u | grep -vxFf "$T/known" |
		grep -vx "$(tr a-z A-Z <<<"$name")" >"$T/unknown" # the title
	[ ! -s "$T/unknown" ] || fail "$page names what the header does not have: $(xargs <"$T/unknown")"
	section SYNOPSIS "$page" | plain | grep -oE '\bpp_[a-z_]+\(' | tr -d '(' | sort -u >"$T/functions"
	section NAME "$page" | grep -oE '\bpp_[a-z_]+' | grep -vx "$name" | sort -u >"$T/heads"
	diff "$T/functions" "$T/heads" >"$T/diff" || fail "$page: SYNOPSIS (<) and NAME (>) differ: $(cat "$T/diff")"
	section DESCRIPTION "$page" | plain | grep -oE '\bpp_[a-z_]+' | sort -u >"$T/described"
	grep -vxFf "$T/described" "$T/functions" >"$T/missing"
	[ ! -s "$T/missing" ] || fail "$page does not describe $(xargs <"$T/missing")"
	for part in DESCRIPTION '"RETURN VALUE"' ERRORS NOTES EXAMPLE '"SEE ALSO"'; do
		grep -q "^\.SH ${part//\"/}$" "$page" || fail "$page has no section $part"
	done
	# References to other pages exist.
	section "SEE ALSO" "$page" | plain | sed -n 's/ \([13]\)),*$/.\1/p; s/ *(\([13]\)),*$/.\1/p' | while read -r other; do
		[ -f "doc/man/$other" ] || fail "$page refers to $other, which does not exist"
	done || exit 1
done

# ---- errors ----

# "FUNCTION ERROR" for each error that the comment before a group of declarations names.
awk '/^ *\/\*/ { text = "" } /^ *\/\*/, /\*\// { text = text $0; next } !NF { text = "" }
	match($0, /pp_[a-z_]+\(/) {
		rest = text
		while (match(rest, /-E[A-Z0-9]+/)) {
			error = substr(rest, RSTART, RLENGTH)
			rest = substr(rest, RSTART + RLENGTH)
			match($0, /pp_[a-z_]+\(/)
			print substr($0, RSTART, RLENGTH - 1), error
		}
	}' $header | sort -u >"$T/errors"
[ "$(wc -l <"$T/errors")" -gt 15 ] || fail "only these errors found in $header: $(cat "$T/errors")"
while read -r function error; do
	page=$(grep -lE "^\.BI .*\b$function\(" "${pages[@]}")
	section ERRORS "$page" | plain | grep -qx -- "$error" || fail "$page does not name $error of $function()"
done <"$T/errors"

# ---- examples ----

for example in count trace; do
	shown=
	for page in "${pages[@]}"; do
		text=$(section EXAMPLE "$page" | sed 's/\\-/-/g; s/\\e/\\/g; s/^\\&//')
		[[ $text != *"$(tail -n +3 examples/$example.c | sed 's/\t/    /g')"* ]] || shown=$page
	done
	[ "$shown" ] || fail "no page shows examples/$example.c as it is"
done

# Each example compiles: as a whole program, or as the body of a function that has the variables it uses.
cat >"$T/variables.h" <<'E'
#include <errno.h>
#include <poll.h>
#include <probepoint.h>
#include <stdio.h>
static void __attribute__((unused)) print_event(const struct pp_event *event) { (void)event; }
static struct pp_session *session;
static struct pp_request *request;
static struct pp_report *report;
static struct pp_stat *stat;
static struct pp_reader *reader;
static struct pp_trace *trace;
static const struct pp_event *event;
static int pid, other, n, row;
E
for page in "${pages[@]}"; do
	sed 's/\\-/-/g; s/\\e/\\/g; s/^\\&//' "$page" | awk -v prefix="$T/example-${page##*/}" '
		/^\.EX$/ { file = prefix "-" ++n ".c"; is_first = 1; next }
		/^\.EE$/ { if (is_body) print "}" >file; close(file); file = ""; next }
		file && is_first {
			is_first = 0
			is_body = !/^#/
			if (is_body)
				print "#include \"variables.h\"\nvoid example(void);\nvoid example(void)\n{" >file
		}
		file { print >file }'
done
for file in "$T"/example-*.c; do
	"$CC" -std=gnu17 -Wall -Wno-unused-variable -Werror -Iinclude -I"$T" -fsyntax-only "$file" || fail "${file##*/} does not compile"
done
want "examples in the pages" 10 "$(ls "$T"/example-*.c | wc -l)"

# ---- formatting and installing ----

if have man; then
	for page in "${pages[@]}"; do
		man --warnings -E UTF-8 -l -Tutf8 -Z "$page" 2>&1 >/dev/null | grep . && fail "man warns about $page"
	done
else
	part_skipped "warnings of man: not installed"
fi
if have mandoc; then
	mandoc -T lint -W warning "${pages[@]}" | grep -v 'missing date' | grep . && fail "mandoc warns"
else
	part_skipped "warnings of mandoc: not installed"
fi
make -s O="$B" install DESTDIR="$T/root" PREFIX=/usr plugindir=/plugin >"$T/log" 2>&1 || fail "make install: $(cat "$T/log")"
while read -r function; do
	[ -e "$T/root/usr/share/man/man3/$function.3" ] || fail "$function.3 is not installed"
done < <(sed -n 's/.*\b\(pp_[a-z_]*\)(.*/\1/p' "$T/declared")
make -s O="$B" uninstall DESTDIR="$T/root" PREFIX=/usr plugindir=/plugin
want "files that uninstall leaves" "" "$(find "$T/root" ! -type d)"
