#!/bin/bash
# SPDX-License-Identifier: MIT
# Object files, members of archives, and compressed note sections: each site's offset leads to its nop.
. tests/lib.sh
need gcc ar objdump python3

cat >"$T/a.c" <<'END'
#include <sys/sdt.h>
extern unsigned short t_two_semaphore;
unsigned short t_two_semaphore __attribute__((section(".probes")));
int counter;
int f(int x, char *s) { STAP_PROBE2(t, one, x, s); DTRACE_PROBE1(t, three, counter); return x; }
__attribute__((section(".text.cold"))) int g(long y) { STAP_PROBE1(t, one, y); return 0; }
END
sed 's/f(int/f2(int/; s/g(long/g2(long/; s/t_two/t_four/' "$T/a.c" >"$T/b.c"

# check_nops FILE NOP [MEMBER]: prints how many sites the file has, after their code was compared with NOP, in hex.
check_nops() {
	probe-list --json --sites "${3:-$1}" >"$T/json" || fail "${3:-$1}: probe-list"
	python3 - "$1" "$2" "$T/json" <<'END' || fail "${3:-$1}: a site is not a nop"
import json, sys
data, nop, n = open(sys.argv[1], "rb").read(), bytes.fromhex(sys.argv[2]), 0
for probe in json.load(open(sys.argv[3]))["probes"]:
    for site in probe["sites"]:
        at = data[site["offset"]:site["offset"] + len(nop)]
        assert at == nop, (probe["name"], hex(site["offset"]), at.hex())
        n += 1
print(n)
END
}

gcc -O2 -g -ffunction-sections -Iinclude -c "$T/a.c" -o "$T/a.o" && gcc -O2 -Iinclude -c "$T/b.c" -o "$T/b.o" || fail "gcc"
[ "$(check_nops "$T/a.o" 90)" = 3 ] || fail "a.o has not 3 sites"
probe-list --sites "$T/a.o" | grep -q 'in g' || fail "the function of a site is not known"

# Both members are listed, each under its own name, also with long names and with a table of symbols.
cp "$T/a.o" "$T/a-member-with-a-name-that-does-not-fit.o"
(cd "$T" && ar rcs lib.a a-member-with-a-name-that-does-not-fit.o b.o)
probe-list --sites "$T/lib.a" >"$T/out" || fail "lib.a"
[ "$(grep -c '3 sites' "$T/out")" = 2 ] || fail "lib.a: $(cat "$T/out")"
probe-list --json --sites "$T/lib.a(b.o)" | python3 -c '
import json, sys
for p in json.load(sys.stdin)["probes"]: print(p["name"], [(s["offset"], s["operands"]) for s in p["sites"]])' >"$T/member"
probe-list --json --sites "$T/b.o" | python3 -c '
import json, sys
for p in json.load(sys.stdin)["probes"]: print(p["name"], [(s["offset"], s["operands"]) for s in p["sites"]])' >"$T/file"
cmp "$T/member" "$T/file" || fail "b.o differs in the archive"
probe-list "$T/lib.a(c.o)" 2>"$T/err" && fail "there is no c.o"
grep -q 'no such member' "$T/err" || fail "$(cat "$T/err")"
(cd "$T" && ar rcsT thin.a a.o b.o)
probe-list "$T/thin.a" 2>"$T/err" && fail "a thin archive was read"
grep -q 'thin archive' "$T/err" || fail "$(cat "$T/err")"
head -c $(($(stat -c %s "$T/lib.a") - 300)) "$T/lib.a" >"$T/cut.a"
probe-list "$T/cut.a" >/dev/null 2>"$T/err"
[ $? -lt 128 ] || fail "cut.a: crash"

# An archive that ends in the header of a member, or in its table of symbols, does not seem to be complete.
begin=$(LC_ALL=C grep -abo 'b\.o/ ' "$T/lib.a" | tail -n 1)
begin=${begin%%:*}
head -c $((begin + 30)) "$T/lib.a" >"$T/cut.a"
probe-list "$T/cut.a" >"$T/out" 2>"$T/err"
[ $? = 3 ] || fail "an archive without its last member: $(cat "$T/out" "$T/err")"
grep -q '3 sites' "$T/out" || fail "the member before the cut is not listed"
grep -q "damaged or truncated: the member at offset $begin" "$T/err" || fail "$(cat "$T/err")"
head -c 60 "$T/lib.a" >"$T/cut.a"
probe-list "$T/cut.a" 2>"$T/err" && fail "an archive without members"
grep -q 'damaged or truncated' "$T/err" || fail "cut in the table of symbols: $(cat "$T/err")"
ar rc "$T/empty.a" || fail "ar"
probe-list "$T/empty.a" 2>"$T/err" && fail "an empty archive"
grep -q 'an archive without object files' "$T/err" || fail "$(cat "$T/err")"

# Nothing of them is armed.
for path in "$T/a.o" "$T/lib.a(b.o)"; do
	probe-enable -f "$path" 't:*' 2>"$T/err" && fail "$path was armed"
	grep -q 'object file' "$T/err" || fail "$(cat "$T/err")"
done

# A compressed section has the same notes.
cat >"$T/compress.c" <<'END'
#include <fcntl.h>
#include <gelf.h>
#include <string.h>
int main(int argc, char **argv)
{
	int fd = open(argv[1], O_RDWR), n = 0;
	Elf *elf = (elf_version(EV_CURRENT), elf_begin(fd, ELF_C_RDWR, NULL));
	Elf_Scn *scn = NULL;
	GElf_Shdr shdr;
	size_t names;

	elf_getshdrstrndx(elf, &names);
	while ((scn = elf_nextscn(elf, scn)))
		if (gelf_getshdr(scn, &shdr) && !strcmp(elf_strptr(elf, names, shdr.sh_name), ".note.stapsdt"))
			n += elf_compress(scn, ELFCOMPRESS_ZLIB, ELF_CHF_FORCE) == 1;
	return elf_update(elf, ELF_C_WRITE) < 0 || !n;
}
END
gcc "$T/compress.c" -o "$T/compress" -lelf || fail "compress"
cp "$T/a.o" "$T/z.o"
"$T/compress" "$T/z.o" || fail "the notes were not compressed"
readelf -SW "$T/z.o" | grep -q 'note.stapsdt .* L*C ' || fail "the notes are not compressed"
[ "$(check_nops "$T/z.o" 90)" = 3 ] || fail "z.o has not 3 sites"
python3 - "$T/z.o" "$T/bomb.o" <<'END'
import struct, sys
data = bytearray(open(sys.argv[1], "rb").read())
at = data.find(struct.pack("<II", 1, 0), 64)     # ELFCOMPRESS_ZLIB, reserved
data[at + 8:at + 16] = struct.pack("<Q", 1 << 29)
open(sys.argv[2], "wb").write(data)
END
(ulimit -v 400000; probe-list "$T/bomb.o") >/dev/null 2>"$T/err"
[ $? -lt 128 ] || fail "bomb.o: crash"

# Objects of other CPUs, with relocations of their own, big-endian and 32-bit ones among them.
have clang || { echo "other CPUs: clang is not installed"; exit 0; }
for target in i386:90 aarch64:1f2003d5 arm:0000a0e1 powerpc64le:00000060 s390x:4700 riscv64:0100; do
	cpu=${target%:*}
	clang --target="$cpu-linux-gnu" -O1 -ffreestanding -Iinclude -include stddef.h -c "$T/a.c" -o "$T/$cpu.o" 2>"$T/err" || {
		echo "$cpu: $(head -n 1 "$T/err")"
		continue
	}
	[ "$(check_nops "$T/$cpu.o" "${target#*:}")" = 3 ] || fail "$cpu has not 3 sites"
	echo "$cpu: 3 sites"
done
