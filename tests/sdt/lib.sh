# SPDX-License-Identifier: MIT
# Shared by tests/sdt/*.sh: compilers, and what readelf makes of notes.

. tests/lib.sh
D=tests/sdt
WARN="-Wall -Wextra -Wpedantic -Wconversion -Wsign-conversion -Wshadow -Werror"
failed=0

# Something is wrong; the test goes on, and fails at its end by `exit $failed`.
wrong() {
	echo "FAIL: $*"
	failed=1
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
	wrong "$what: $*"
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
