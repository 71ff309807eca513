#!/bin/bash
# SPDX-License-Identifier: MIT
# Lua with every function probed prints the same results, and all readers can read its sites.
. tests/plugin/lib.sh
need readelf
# The short form uses the builds that lua/*.sh share. The long form has builds of its own, with -fcompare-debug.
if [ "${PROBEPOINT_LONG-}" ]; then
	debian_source lua5.4
else
	. tests/lua/lib.sh
	lua_need plain-O2 probed-O2
fi
probed '*'
mkdir "$T/inc"
echo '#define DEB_HOST_MULTIARCH "x86_64-linux-gnu"' >"$T/inc/lua5.4-deb-multiarch.h"

cat >"$T/script.lua" <<'E'
local function fib(n) if n < 2 then return n end return fib(n - 1) + fib(n - 2) end
print(fib(22))
local t = {}
for i = 1, 20000 do t[i] = (i * 7919) % 10007 end
table.sort(t)
print(t[1], t[100], #t, string.format("%5.2f %s %q", 3.14159, ("x"):rep(10), "a\nb"))
local s = 0
for w in ("the quick brown fox"):gmatch("%a+") do s = s + #w end
print(s, pcall(error, "x"))
print(math.maxinteger, 2 ^ 53, 7 // 2, 1e300 * 1e10, -7 % 3, 7.5 // 2, 3 | 4, ~0)
local function loop(n) if n == 0 then return "done" end return loop(n - 1) end
print(loop(1000000))
print(coroutine.wrap(function(...) local a = ... while true do a = coroutine.yield(a * 2) end end)(21))
print(string.pack(">I4", 77):byte(1, -1))
print(select("#", table.unpack({}, 1, 200)), utf8.char(228, 8364), ("x"):find("(x)()"))
print(pcall(string.rep, "x", -1), tostring(nil), tonumber("0x1p4"), tonumber("z", 36))
local ok, e = pcall(function() local a; a.b = 1 end)
print(ok, e)
print(load("return 1 + 1")(), #string.dump(fib) > 100)
collectgarbage()
local weak = setmetatable({}, { __mode = "k", __index = function(_, k) return k .. "!" end })
print(weak.hi, rawlen({ 1, 2 }), next({}), math.type(1), math.type(1.0), os.time({ year = 2000, month = 1, day = 1, hour = 12 }))
goto out
print("not here")
::out::
E

build() {
	local to=$1
	shift
	mkdir -p "$to"
	for file in "$source"/src/*.c; do
		case $file in */luac.c) continue ;; esac
		echo "$file"
	done | xargs -P 2 -I{} sh -c 'f=$1 to=$2; shift 2; exec "$@" -c "$f" -o "$to/$(basename "$f" .c).o"' sh {} "$to" \
		$GCC -I"$T/inc" -DLUA_USE_LINUX "$@" || fail "$*: does not build"
	$GCC "$@" "$to"/*.o -lm -ldl -Wl,-E -o "$to/lua" 2>"$to/log" || { cat "$to/log"; fail "$*: does not link"; }
}

option_sets <<E
long -O0
long -O2 -flto
-O2
E
for flags in "${sets[@]}"; do
	if [ "${PROBEPOINT_LONG-}" ]; then
		build "$T/plain" $flags
		build "$T/probed" $flags "${with[@]}"
	else
		mkdir -p "$T/plain" "$T/probed"
		cp "$LUA/plain$flags/lua" "$T/plain" && cp "$LUA/probed$flags/lua" "$T/probed" || fail "$flags: no Lua"
	fi
	for kind in plain probed; do
		"$T/$kind/lua" "$T/script.lua" >"$T/$kind/out" 2>&1 || { cat "$T/$kind/out"; fail "$kind, $flags: ends with $?"; }
	done
	cmp "$T/plain/out" "$T/probed/out" || fail "$flags: other results"
	n=$(sites "$T/probed/lua" | wc -l)
	functions=$(names "$T/probed/lua" | grep -c __entry)
	[ "$n" -ge 1900 ] && [ "$functions" -ge 850 ] || fail "$flags: $n sites of $functions functions"
	echo "lua $flags: $n sites of $functions functions; text $(size "$T/plain/lua" | awk 'NR == 2 { print $1 }')" \
		"-> $(size "$T/probed/lua" | awk 'NR == 2 { print $1 }')"
	unknown_operands "$T/probed/lua" && fail "$flags: operands that some reader cannot read"
	# All notes together take at most one and a half times the size of the stapsdt notes.
	notes=$(size -A "$T/probed/lua" | awk '/note.stapsdt/ { s = $2 } /note.probepoint/ { p = $2 } END { print int((s + p) * 1000 / s), int((s + p) / '"$n"') }')
	echo "lua $flags: all notes are 0.001 x ${notes% *} of stapsdt's, ${notes#* } bytes a site"
	[ ${notes% *} -le 1500 ] || fail "$flags: notes are 0.001 x ${notes% *} of stapsdt's"
	[ -e "$T/names" ] || names "$T/probed/lua" >"$T/names"
	rm -r "$T/plain"
	[ "$flags" = -O2 ] || rm -r "$T/probed"
done

lua=$T/probed/lua
for probe in lapi:lua_pushstring__entry lapi:lua_pushstring__return ldo:luaD_call__entry lgc:luaC_fullgc__entry \
	lvm:luaV_execute__entry lstring:luaS_new__entry; do
	grep -qx "$probe" "$T/names" || fail "no probe $probe"
done
if have gdb; then
	out=$(gdb -q -nx -batch -ex 'break -probe-stap lapi:lua_setglobal__entry' -ex run \
		-ex 'printf "name is %s\n", (char *)$_probe_arg1' --args "$lua" -e 'answer = 42' 2>&1 </dev/null)
	[[ $out = *"name is "[_a-z]* ]] || fail "gdb: $out"
else
	part_skipped "gdb is not installed"
fi
if have bpftrace && [ "$(id -u)" = 0 ]; then
	n=$(bpftrace -l "usdt:$lua:*" 2>/dev/null | wc -l)
	[ "$n" -ge 1500 ] || fail "bpftrace lists $n probes"
else
	part_skipped "bpftrace is not installed, or not root"
fi
