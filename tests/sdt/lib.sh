# SPDX-License-Identifier: MIT
# Shared by tests/t_sdt_*.sh: a folder of our own in $T, compilers, and what readelf and gdb make of notes.

set -u
export LC_ALL=C
T=$(mktemp -d) || exit 1
trap 'rm -rf "$T"' EXIT
S=tests/sdt
WARN="-Wall -Wextra -Wpedantic -Wconversion -Wsign-conversion -Wshadow -Werror"
failed=0

fail() {
	echo "FAIL: $*"
	failed=1
}

skip() {
	echo "$*"
	exit 77
}

have() {
	command -v "$1" >/dev/null
}

# The ones that are here of the compilers named.
compilers() {
	local c
	for c in "$@"; do
		have "$c" && echo "$c"
	done
}

# try WHAT COMMAND...: runs it; where it fails, says so with the first of what it said.
try() {
	local what=$1
	shift
	"$@" >"$T/log" 2>&1 && return 0
	fail "$what: $*"
	head -n 8 "$T/log"
	return 1
}

# notes FILE: a line "provider name address base semaphore operands" each, in the order of the file.
notes() {
	readelf -nW "$1" 2>/dev/null | awk '
		/Provider:/ { provider = $NF }
		/^ *Name:/ { name = $2 }
		/^ *Location:/ { gsub(",", ""); address = $2; base = $4; semaphore = $6 }
		/^ *Arguments:/ { sub(/^ *Arguments: */, ""); print provider, name, address, base, semaphore, $0 }'
}

# sizes FILE: a line "provider name size size ..." each, sorted; a size of SystemTap's `8f@` is 8.
sizes() {
	notes "$1" | awk '{
		line = $1 " " $2
		for (i = 6; i <= NF; i++)
			if (split($i, part, "@") > 1) { sub("f", "", part[1]); line = line " " part[1] }
		print line }' | sort
}
