# SPDX-License-Identifier: MIT
# Helpers for the tests of metrics. Source this file after tests/lib.sh.

# build_work FILE: builds a program with the probe app:work(value, key). It hits it N times for a line "SEED N" of its input,
# with values from 0 to 2^20 that are evenly distributed by their logarithm, and answers with the sum of the values.
build_work() {
	cat >"$T/work.c" <<-'E'
		#include <math.h>
		#include <stdio.h>
		#include <stdlib.h>
		#include <sys/sdt.h>
		int main(void)
		{
			unsigned long n;
			unsigned seed;

			setvbuf(stdout, NULL, _IOLBF, 0);
			while (scanf("%u %lu", &seed, &n) == 2) {
				unsigned long sum = 0;

				for (unsigned long i = 0; i < n; i++) {
					unsigned value = (unsigned)exp2(20.0 * rand_r(&seed) / RAND_MAX) - 1;

					sum += value;
					STAP_PROBE2(app, work, value, (int)(i % 3));
				}
				printf("%lu\n", sum);
			}
			return 0;
		}
	E
	"$CC" -O1 -Iinclude "$T/work.c" -o "$1" -lm || fail "the target does not build"
}

# work_start NAME FILE, work NAME SEED N: starts such a program, and lets it hit. Sets $sum to the sum of its values.
declare -A work_in=() work_out=() work_pid=()
work_start() {
	local in out
	mkfifo "$T/$1.in" "$T/$1.out"
	"$2" <"$T/$1.in" >"$T/$1.out" &
	work_pid[$1]=$!
	exec {in}>"$T/$1.in" {out}<"$T/$1.out"
	work_in[$1]=$in work_out[$1]=$out
}
work() {
	echo "$2 $3" >&"${work_in[$1]}"
	IFS= read -r -t 100 -u "${work_out[$1]}" sum || fail "target $1 has ended"
}

# exporting FILE ARGUMENT...: starts probe-export with messages in FILE. Sets $exporter to its pid, and $url.
exporting() {
	local file=$1
	shift
	have probe-export || skip "probe-export was not built, because libmicrohttpd was missing"
	: >"$file"
	probe-export "$@" >"$file" 2>&1 &
	exporter=$!
	wait_for 10 grep -q '^probe-export: serving' "$file"
	url=$(sed -n 's/^probe-export: serving //p' "$file")
}
# scrape [CURL OPTION...]: prints the metrics. A document is made again after 0.25 s only.
scrape() { sleep 0.3; curl -sS -m 60 -f "$@" "$url"; }
# value FILE NAME [LABEL TEXT]...: prints the sum of the samples of that name whose labels contain the texts.
value() {
	local file=$1 name=$2
	shift 2
	awk -v name="$name" 'BEGIN { for (i = 1; i < ARGC; i++) text[++n] = ARGV[i]; ARGC = 1; while ((getline line <file) > 0) {
		if (line !~ "^" name "[{ ]") continue
		for (i = 1; i <= n; i++) if (!index(line, text[i])) break
		if (i <= n) continue
		found = 1; sub(/.* /, "", line); sum += line }
		printf found ? "%.17g\n" : "none\n", sum }' file="$file" "$@" 2>/dev/null
}
