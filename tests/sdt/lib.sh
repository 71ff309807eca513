# SPDX-License-Identifier: MIT
# Shared by tests/sdt/*.sh: compilers, and notes as readelf prints them.

. tests/lib.sh
D=tests/sdt
WARN="-Wall -Wextra -Wpedantic -Wconversion -Wsign-conversion -Wshadow -Werror"
failed=0

# wrong TEXT: reports a failure. The test goes on, and fails at its end with `exit $failed`.
wrong() {
	echo "FAIL: $*"
	failed=1
}

# Prints the compilers among its arguments that are installed, or of these those in COMPILERS if it is set.
compilers() {
	local c
	for c in "$@"; do
		case " ${COMPILERS-$c} " in *" $c "*) have "$c" && echo "$c" ;; esac
	done
}

# versions gcc|g++|clang|clang++: prints all installed versions, such as gcc-12.
versions() { compgen -c "$1-" | grep -x "$1-[0-9]*" | sort -Vu; }

# try WHAT COMMAND...: runs the command. If it fails, reports it with the first lines of its output.
try() {
	local what=$1
	shift
	"$@" >"$T/log" 2>&1 && return 0
	wrong "$what: $*"
	head -n 8 "$T/log"
	return 1
}

# notes FILE: prints a line "provider name address base semaphore operands" per note, in the order of the file.
notes() {
	readelf -nW "$1" 2>/dev/null | awk '
		/Provider:/ { provider = $NF }
		/^ *Name:/ { name = $2 }
		/^ *Location:/ { gsub(",", ""); address = $2; base = $4; semaphore = $6 }
		/^ *Arguments:/ { sub(/^ *Arguments: */, ""); print provider, name, address, base, semaphore, $0 }'
}

# sizes FILE: prints a line "provider name size size ..." per note, sorted. The size of SystemTap's `8f@` is 8.
sizes() {
	notes "$1" | awk '{
		line = $1 " " $2
		for (i = 6; i <= NF; i++)
			if (split($i, part, "@") > 1) { sub("f", "", part[1]); line = line " " part[1] }
		print line }' | sort
}
