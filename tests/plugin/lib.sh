# SPDX-License-Identifier: MIT
# For t_plugin_*.sh: the compiler that the plugin was built for, and what objects say.
. tests/lib.sh

GCC=${PLUGIN_CC:-gcc} GXX=${PLUGIN_CXX:-g++}
PLUGIN=$B/lib/probepoint.so
SOURCES=$PWD/tests/plugin
[ -f "$PLUGIN" ] || fail "$PLUGIN is not there: is the plugin built?"

# probed GLOBS [provider=NAME...]: the compiler's arguments, in $with.
probed() {
	local arg
	with=("-fplugin=$PLUGIN" "-fplugin-arg-probepoint-functions=$1")
	shift
	for arg; do with+=("-fplugin-arg-probepoint-$arg"); done
}

# The probes of a file, one line a site: "provider:name operands".
sites() {
	readelf -nW "$1" 2>/dev/null | awk '
		/ Provider: / { sub(/.* Provider: /, ""); provider = $0 }
		/^ +Name: / { name = $2 }
		/^ +Arguments: / { sub(/^ +Arguments: ?/, ""); print provider ":" name ($0 == "" ? "" : " " $0) }'
}
# The notes of .note.probepoint of a type (1: signatures, 2: sites), each as its bytes in hex.
ppn() {
	local name=NT_VERSION # readelf takes the types for its own of these numbers
	[ "$2" = 2 ] && name=NT_ARCH
	readelf -nW "$1" 2>/dev/null | sed -n "/^ *ppn .*$name/{/description data/!N;s/.*description data: //;s/ //g;p}"
}
names() { sites "$1" | sed 's/ .*//' | sort -u; }
