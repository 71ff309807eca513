# SPDX-License-Identifier: MIT
# Shared by tests/plugin/*.sh: the compiler that the plugin was built for, and the notes of objects.
. tests/lib.sh

GCC=${PLUGIN_CC:-gcc} GXX=${PLUGIN_CXX:-g++}
PLUGIN=$B/lib/probepoint.so
SOURCES=$PWD/tests/plugin
[ -f "$PLUGIN" ] || fail "$PLUGIN does not exist: the plugin is not built"

# The default options of Debian's, Ubuntu's and Fedora's packages.
DISTRIBUTION="-O2 -g -fstack-protector-strong -fstack-clash-protection -fcf-protection -fno-omit-frame-pointer
	-mno-omit-leaf-frame-pointer -D_FORTIFY_SOURCE=3 -fexceptions -flto=auto -ffat-lto-objects"
[ "$("$GCC" -dumpversion | cut -d. -f1)" -lt 12 ] || DISTRIBUTION+=" -ftrivial-auto-var-init=zero"
DISTRIBUTION=$(echo $DISTRIBUTION)

# With this option GCC compiles a second time, with -g or without, and fails if the code differs. The long form adds it
# to every compilation with the plugin. The short form adds it only where a test names it, because it doubles the time.
# A test that cannot have it sets COMPARE to nothing before it calls probed.
COMPARE=${COMPARE--fcompare-debug}

# probed GLOBS [provider=NAME...]: sets $with to the compiler's arguments.
probed() {
	local arg
	with=(${PROBEPOINT_LONG:+$COMPARE} "-fplugin=$PLUGIN" "-fplugin-arg-probepoint-functions=$1")
	shift
	for arg; do with+=("-fplugin-arg-probepoint-$arg"); done
}

# compile COMMAND...: runs the compiler. If its two compilations differ without the plugin too, GCC is at fault (16 with
# -Og -g is), and the file is compiled once, with the plugin.
compile() {
	local arg plain=() once=()
	for arg; do
		[[ $arg = -fplugin* ]] || plain+=("$arg")
		[[ $arg = -fcompare-debug ]] || once+=("$arg")
	done
	"$@" 2>"$T/compile.log" && return
	cat "$T/compile.log"
	grep -q 'fcompare-debug.*failure' "$T/compile.log" && ! "${plain[@]}" 2>/dev/null || return 1
	echo "-fcompare-debug fails without the plugin too"
	"${once[@]}"
}

# option_sets: sets $sets to the lines of standard input. Lines that begin with "long " are for the long form only.
option_sets() {
	if [ "${PROBEPOINT_LONG-}" ]; then mapfile -t sets < <(sed 's/^long //'); else mapfile -t sets < <(sed '/^long /d'); fi
}

# sites FILE: prints a line per site: "provider:name operands".
sites() {
	readelf -nW "$1" 2>/dev/null | awk '
		/ Provider: / { sub(/.* Provider: /, ""); provider = $0 }
		/^ +Name: / { name = $2 }
		/^ +Arguments: / { sub(/^ +Arguments: ?/, ""); print provider ":" name ($0 == "" ? "" : " " $0) }'
}
# ppn FILE TYPE: prints the notes of .note.probepoint of this type (1: signatures, 2: sites) in hex, a line each.
ppn() {
	local name=NT_VERSION # readelf takes the types for its own of these numbers
	[ "$2" = 2 ] && name=NT_ARCH
	descriptions "$1" $name
	[ "$2" = 2 ] || descriptions "$1" 'GO BUILDID' | python3 -c '
import sys
for line in sys.stdin: # those of a unit: the file, then each behind its size
    note = bytes.fromhex(line)
    at = note.index(0) + 1
    while at + 2 <= len(note):
        size = int.from_bytes(note[at:at + 2], "little")
        print(note[at + 2:at + 2 + size].hex())
        at += 2 + size'
}
descriptions() {
	readelf -nW "$1" 2>/dev/null | sed -n "/^ *ppn .*$2/{/description data/!N;s/.*description data: //;s/ //g;p}"
}
# unknown_operands FILE: prints the operands that gdb, libbpf or bcc cannot read, and fails, as grep does, if there are
# none. It ignores probes of the C and C++ libraries, which a static program has too.
unknown_operands() {
	sites "$1" | grep -vE '^(lib[a-z]+|rtld):' | cut -s -d' ' -f2- | tr ' ' '\n' |
		grep -vE '^-?[1248]@(\$-?[0-9]+|%([re]?([abcd]x|[sd]i|[sb]p)|[abcd]l|sil|dil|bpl|r(8|9|1[0-5])[dw]?)|-?[0-9]*\(%r(bp|sp|[0-9a-z]+)\))$'
}
names() { sites "$1" | sed 's/ .*//' | sort -u; }

# debian_source PACKAGE: sets $source to the directory of its source, which is unpacked once for all tests. Skips the test
# if the source cannot be downloaded. Does not change the machine's own apt lists.
debian_source() {
	local dir=$B/tests/source lists=$B/tests/source/lists
	mkdir -p "$lists/partial"
	exec 9>"$dir/lock"
	flock 9
	if [ ! -e "$dir/$1.done" ]; then
		have apt-get && have dpkg-source || skip "$1 is not built: needs apt-get and dpkg-source"
		{
			sed -n 's/^deb \(.*\)/deb-src \1/p' /etc/apt/sources.list /etc/apt/sources.list.d/debian*.list
		} >"$dir/debian.list" 2>/dev/null
		sed 's/^Types:.*/Types: deb-src/' /etc/apt/sources.list.d/debian.sources >"$dir/debian.sources" 2>/dev/null
		local apt=(apt-get -q -o Dir::Etc::sourcelist=/dev/null -o Dir::Etc::sourceparts="$dir"
			-o Dir::State::lists="$lists" -o APT::Sandbox::User=root)
		{ [ -e "$dir/updated" ] || "${apt[@]}" update && touch "$dir/updated"; } >"$dir/log" 2>&1 &&
			(cd "$dir" && "${apt[@]}" source "$1") >>"$dir/log" 2>&1 ||
			skip "$1 is not built: cannot download its source: $(tail -n 1 "$dir/log")"
		ls -d "$dir/$1"-*/ >"$dir/$1.done"
	fi
	flock -u 9
	source=$(head -n 1 "$dir/$1.done")
	source=${source%/}
}
