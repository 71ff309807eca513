# SPDX-License-Identifier: MIT
# Shared by tests of declared probes: checks a program of shop.c. Source it after tests/sdt/lib.sh.

cat >"$T/key.c" <<'E'
#include <inttypes.h>
#include <stdio.h>
#include <probepoint-note.h>
int main(int argc, char **argv)
{
	uint64_t key = ppn_key(argv[1], argv[argc - 1]);
	for (int i = 0; i < 8; i++)
		printf("%02x", (unsigned)(key >> 8 * i & 255));
}
E
try key gcc -Iinclude "$T/key.c" -o "$T/key"

# signature WHAT BINARY NAME ARGUMENT...: checks that there is one note of this key, with these arguments.
signature() {
	local what=$1 binary=$2 name=$3 key strings
	shift 3
	key=$("$T/key" shop "$name")
	readelf -x .note.probepoint "$binary" | sed -n 's/^ *0x[0-9a-f]* \(.\{35\}\).*/\1/p' | tr -d ' \n' >"$T/hex"
	[ "$(grep -o "70706e00$key" "$T/hex" | wc -l)" -eq 1 ] || { wrong "$what: signature of $name by its key"; return; }
	# after the key: line, kind 0, number of arguments, flags; file, no function, the arguments
	strings=$(sed "s/.*70706e00$key//" "$T/hex" | cut -c17-2000 | sed 's/../& /g; s/00 /0a /g; s/\(..\) /\\x\1/g')
	strings=$(printf "$strings" | head -n $(($# + 2)))
	[ "$(sed -n '3,$s/:.*/:/p' <<<"$strings" | paste -sd' ')" = "${*/%/:}" ] ||
		wrong "$what: signature of $name says $(paste -sd' ' <<<"$strings")"
	[ "$(head -n 1 <<<"$strings")" = $D/shop.h ] || wrong "$what: $name is declared in $(head -n 1 <<<"$strings")"
}

cat >"$T/gdb" <<'E'
set pagination off
break -probe-stap shop:order
commands
silent
printf "order %d %s %d\n", $_probe_arg0, (char *)$_probe_arg1, $_probe_arg2
continue
end
break -probe-stap shop:kinds
commands
silent
printf "kinds %d %d %d %d %d %d %d %s %lx\n", $_probe_arg0, $_probe_arg1, $_probe_arg2, $_probe_arg3, $_probe_arg4, $_probe_arg5, *(int *)$_probe_arg6, (char *)$_probe_arg7, $_probe_arg8
continue
end
break -probe-stap shop:twelve
commands
silent
printf "twelve %ld %ld %ld\n", $_probe_arg0, $_probe_arg6, $_probe_arg11
continue
end
break -probe-stap shop:some
commands
silent
printf "some %lu %d\n", $_probe_arg0, $_probe_argc
continue
end
run
printf "status %d\n", $_exitcode
E
sed -n 's/^ *\/\* = \(.*\) \*\/$/\1/p' $D/shop.h | sort -u >"$T/signatures"
[ "$(wc -l <"$T/signatures")" -ge 5 ] || wrong "shop.h expects nothing"

# whole WHAT BINARY: checks all of the above.
whole() {
	local what=$1 binary=$2 args got
	"$binary" || wrong "$what: status $? while no probe is enabled"
	while read -r name args; do
		signature "$what" "$binary" "$name" $args
	done <"$T/signatures"
	[ "$(nm "$binary" | grep -c ' shop_order_semaphore$')" -eq 1 ] || wrong "$what: one semaphore of order"
	nm "$binary" | grep -q shop_never_called && wrong "$what: a probe that is never called leaves something"
	[ "$(notes "$binary" | awk '$2 == "order" { print $5 }' | sort -u | wc -l)" -eq 1 ] || wrong "$what: semaphores of order"
	notes "$binary" | awk '$1 !~ /^(libc|rtld|libm|libgcc|libstdcxx)$/ && $5 ~ /^0x0+$/' | grep -q . && wrong "$what: a site without a semaphore"
	if have gdb; then
		got=$(gdb -nx -batch -x "$T/gdb" "$binary" 2>&1 </dev/null | grep -E '^(order|kinds|some|twelve|status) ' | paste -sd,)
		[ "$got" = "order 0 part one 8,order 1 part one 8,order 2 part one 8,order 7 part two 8,kinds 97 1 -3 200 -5 9 5 h 4004000000000000,some 12345678901 1,twelve 1 7 12,status 50" ] ||
			wrong "$what: gdb: $got"
	fi
}
