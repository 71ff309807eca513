#!/bin/bash
# SPDX-License-Identifier: MIT
# babeltrace2 reads the traces of unit/ctf back as they were written.
. tests/lib.sh
need babeltrace2

write() { expect 0 "$B/tests/unit/ctf" "$1" "$T/$1"; }
# Prints times as they are on disk, without the host's name.
read_back() { babeltrace2 --clock-cycles --no-delta --names=payload "$@"; }
mask() { sed "s/^\[0*\([0-9]*\)\] $(hostname) /\1 /"; }

# ---- arguments of each kind, with their extreme values ----

write kinds
z127=$(printf 'z%.0s' {1..127})
worker='{ 100, 101, "worker" }'
expect_text 0 read_back "$T/kinds" <<E
1000 kind:signed: $worker, { a = -128, b = -32768, c = -2147483648, d = -9223372036854775808, _faults = 0x0 }
1001 kind:signed: $worker, { a = 127, b = -1, c = 7, d = 9223372036854775807, _faults = 0x0 }
1002 kind:unsigned: $worker, { a = 255, b = 65535, c = 4294967295, d = 18446744073709551615, _faults = 0x0 }
1003 kind:pointer: $worker, { p = 0x7FFFDEADBEEF, q = 0x0, _faults = 0x0 }
1004 kind:float: $worker, { f = 1.5, d = -2.25, _faults = 0x0 }
1005 kind:float: $worker, { f = -0, d = 1e+300, _faults = 0x0 }
1006 kind:others: $worker, { yes = ( "true" : container = 1 ), no = ( "false" : container = 0 ), c = "x", wide = 8364, \
_faults = 0x0 }
1007 kind:text: $worker, { n = -5, s = "plain", t = "", _faults = 0x0, _cut = 0x0 }
1008 kind:text: $worker, { n = -6, s = "quote\\" back\\\\ tab\\t line\\n", t = "é", _faults = 0x0, _cut = 0x0 }
1009 kind:text: $worker, { n = -7, s = "", t = "12345678", _faults = 0x2, _cut = 0x0 }
1010 kind:text: $worker, { n = 0, s = "1234567", t = "", _faults = 0x5, _cut = 0x0 }
1011 kind:text: $worker, { n = 0, s = "$z127", t = "nul", _faults = 0x0, _cut = 0x6 }
1012 kind:nothing: $worker, { }
1013 kind:unreadable: $worker, { v = { }, n = 42, _faults = 0x1 }
9000000000 kind:nothing: { 4194304, 4194303, "fifteen letters" }, { }
E
[ "$(babeltrace2 --names=context,payload "$T/kinds" | grep -c '{ pid = 100, tid = 101, comm = "worker" }')" = 14 ] ||
	fail "the names of the context differ"

# ---- names that are not identifiers, are keywords, or collide ----

write names
n199=$(printf 'n%.0s' {1..199})
expect_text 0 read_back "$T/names" <<E
1 odd:names: $worker, { int = 0, event = 1, this__x = 2, arg3 = 3, _ = 4, faults = 5, _faults_2 = 6, a_b = 7, \
a_b_2 = 8, 1st = 9, _cut_2 = 10, a_b_3 = 11, __ = 12, string = 13, a_b_4 = 14, s32 = "fifteen", _faults = 0x0, \
_cut = 0x0 }
2 quo"te\\:new
line: $worker, { }
3 odd:names: $worker, { }
4 p:operator<<(std::ostream&, é const*): $worker, { $n199 = ( "true" : container = 1 ), _faults = 0x0 }
E

# ---- an attachment that is added later ----

write late
expect_text 0 read_back "$T/late" <<E
10 count:hit: $worker, { n = 1, s = "first", _faults = 0x0, _cut = 0x0 }
20 count:hit: $worker, { n = -2, _faults = 0x0 }
30 count:hit: $worker, { n = 3, s = "first again", _faults = 0x0, _cut = 0x0 }
40 count:hit: $worker, { n = -4, _faults = 0x0 }
E

# ---- events that arrive out of order are read in order ----

write disorder
read_back "$T/disorder" | sed 's/^\[0*\([0-9]*\)\].* n = \([0-9]*\),.*/\1 \2/' >"$T/got"
seq 0 199999 | awk '{ print 1000000 + $1, $1 }' >"$T/all"
cmp "$T/got" "$T/all" || fail "events are missing or out of order"

# ---- losses, and a trace without events ----

write lost
expect 0 babeltrace2 --clock-cycles "$T/lost"
want_like "losses" '*WARNING: Tracer discarded 17 events between*' "$out"
want "warnings" 1 "$(grep -c WARNING <<<"$out")"
write empty
expect 0 babeltrace2 "$T/empty"
want "an empty trace" "" "$out"

# ---- dates ----

expect 0 "$B/tests/unit/ctf" now "$T/now"
read -r before after <<<$(echo $out)
at=$(babeltrace2 --clock-seconds --no-delta "$T/now" | sed 's/^\[\([0-9]*\)\.\([0-9]*\)\].*/\1\2/')
# the clock may be slewed meanwhile
[ "$at" -ge $((before - 100000000)) ] && [ "$at" -le $((after + 100000000)) ] ||
	fail "an event between $before and $after has the time $at"
