#!/bin/bash
# SPDX-License-Identifier: MIT
# limit: 1200 3600
# gdb, bpftrace, perf, bcc, readelf and eu-readelf read the notes of programs with the macros: names, addresses, and argument
# values that equal the log of the program.
. tests/sdt/lib.sh
. tests/interop/lib-logged.sh
need python3 gcc
need_root
logged_source

# version COMMAND...: prints the first number of its output that looks like a version.
version() { "$@" 2>&1 | grep -oE '[0-9]+\.[0-9]+(\.[0-9]+)?' | head -n 1; }

if ! mountpoint -q /sys/kernel/tracing; then
	mount -t tracefs tracefs /sys/kernel/tracing 2>/dev/null && at_end umount /sys/kernel/tracing
fi

# listed WHAT FILE: each tool lists the names and addresses that readelf prints.
listed() {
	local what=$1 file=$2
	notes "$file" | awk '$1 == "r" { print $1, $2, $3 }' | sort >"$T/notes"
	[ "$(awk '{ print $2 }' "$T/notes" | sort -u | wc -l)" = 40 ] || wrong "$what: readelf prints $(wc -l <"$T/notes") notes"
	probe-list --json "$file" | python3 -c 'if True:
		import json, sys
		for p in json.load(sys.stdin)["probes"]:
			for s in p["sites"] if p["provider"] == "r" else []:
				print(p["provider"], p["name"], "0x%016x" % s["address"])' | sort >"$T/listed"
	diff "$T/notes" "$T/listed" >"$T/diff" || wrong "$what: probe-list: $(head -n 4 "$T/diff")"
	if have eu-readelf; then
		eu-readelf -n "$file" 2>"$T/err" | tr -d "'," | awk '$1 == "PC:" { pc = substr($2, 3) }
			$1 == "Provider:" && $2 == "r" { printf "%s %s 0x%s\n", $2, $4, substr("0000000000000000" pc, length(pc) + 1) }' | sort >"$T/listed"
		diff "$T/notes" "$T/listed" >"$T/diff" || wrong "$what: eu-readelf: $(head -n 4 "$T/diff")"
	fi
	if have gdb; then
		gdb -nx -batch -ex 'info probes stap r' "$file" 2>&1 | awk '$1 == "stap" { print $2, $3, $4 }' | sort >"$T/listed"
		diff "$T/notes" "$T/listed" >"$T/diff" || wrong "$what: gdb: $(head -n 4 "$T/diff")"
	fi
	awk '{ print $1 ":" $2 }' "$T/notes" | sort -u >"$T/names"
	if have bpftrace; then
		bpftrace -l "usdt:$file:r:*" 2>"$T/err" | sed 's/.*:\(r:[^:]*\)$/\1/' | sort -u >"$T/listed"
		diff "$T/names" "$T/listed" >"$T/diff" || wrong "$what: bpftrace -l: $(head -n 4 "$T/diff" "$T/err")"
	fi
	if have perf; then
		"${PERF[@]}" buildid-cache --add "$file" >"$T/err" 2>&1
		# perf 7.2 replaces two underscores in a name by one
		perf_events | sed 's/^sdt_//; s/__/_/' | sort >"$T/listed"
		sed 's/__/_/' "$T/names" | sort | diff - "$T/listed" >"$T/diff" || wrong "$what: perf list: $(head -n 4 "$T/diff" "$T/err")"
		"${PERF[@]}" buildid-cache --remove "$file" >"$T/err" 2>&1
	fi
	if bcc; then
		/usr/bin/python3 -c 'if True:
			import sys
			from bcc import USDT
			usdt = USDT(path=sys.argv[1])
			for p in usdt.enumerate_probes():
				for i in range(p.num_locations if p.provider == b"r" else 0):
					print(p.provider.decode(), p.name.decode(), "0x%016x" % p.get_location(i).address)' "$file" 2>"$T/err" | sort >"$T/listed"
		diff "$T/notes" "$T/listed" >"$T/diff" || wrong "$what: bcc: $(head -n 4 "$T/diff" "$T/err")"
	fi
}
bcc() { /usr/bin/python3 -c 'import bcc' 2>/dev/null; }

declare -A programs=() hits=() values=() bad=()
# reads TOOL WHAT READER FILE: one program under one tool.
reads() {
	local tool=$1
	if agrees "$2" "$3" "$4" "${@:5}"; then
		echo "$2: $tool: $said"
		programs[$tool]=$((${programs[$tool]-0} + 1))
		hits[$tool]=$((${hits[$tool]-0} + ${said%% hits*}))
		said=${said#* hits, }
		values[$tool]=$((${values[$tool]-0} + ${said%% *}))
	else
		bad[$tool]=1
	fi
}

for cc in $(compilers gcc g++ clang clang++); do
	for flags in -O0 -O2 "-O2 -static" "-Os -fno-pie -no-pie"; do
		case ${PROBEPOINT_LONG-}$cc:$flags in 1* | gcc:-O2 | clang:-O0) ;; *) continue ;; esac
		language=c
		[[ $cc == *++ ]] && language=c++
		for source in logged declared; do
			what="$cc $flags $source"
			file=$T/$source
			try "$what" $cc $flags -x $language $WARN -Iinclude "$T/$source.c" -o "$file" || continue
			listed "$what" "$file"
			reader=probe-trace
			[ $source = logged ] || reader=declared
			[[ $flags == *-static* ]] || reads "probe-trace agent" "$what" $reader "$file" -b agent
			reads "probe-trace kernel" "$what" $reader "$file" -b kernel
			have gdb && reads gdb "$what" gdb "$file"
			have bpftrace && reads bpftrace "$what" bpftrace "$file"
			have perf && [ -w /sys/kernel/tracing/uprobe_events ] && reads perf "$what" perf "$file"
			[[ ${PROBEPOINT_LONG-}$flags == *-O2 ]] && bcc && [ -n "$bcc_headers" ] && reads bcc "$what" bcc "$file"
		done
	done
done

# Lines for the table of doc/platforms.md.
row() {
	local tool=$1
	shift
	if [ "${bad[$tool]-}" ]; then
		echo "row: $tool $*: FAILED"
	elif [ "${programs[$tool]-}" ]; then
		echo "row: $tool $*: ${programs[$tool]} programs, ${hits[$tool]} hits, ${values[$tool]} values"
	else
		echo "row: $tool $*: not run"
	fi
}
row "probe-trace agent"
row "probe-trace kernel"
have gdb && row gdb "$(version gdb --version)"
have bpftrace && row bpftrace "$(version bpftrace --version)"
have perf && row perf "$(version perf --version)"
bcc && row bcc "$(/usr/bin/python3 -c 'import bcc; print(bcc.__version__)' | grep -oE '^[0-9.]+[0-9]')"
for tool in readelf eu-readelf; do have $tool && echo "row: $tool $(version $tool --version | head -n 1): names and addresses"; done
exit $failed
