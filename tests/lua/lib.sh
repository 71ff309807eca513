# SPDX-License-Identifier: MIT
# Shared by tests/lua/*.sh, after tests/lib.sh: Lua 5.4 of Debian's source package, downloaded and built once for all.
#
# levels: the optimization levels of a test. The short form has only -O2.
#
# lua_need KIND... builds below $B/lua, and skips the test if the source cannot be downloaded. KINDs: plain-O0, plain-O2
# (without the plugin), probed-O0, probed-O2, probed-lto, gcov. Each is $B/lua/KIND/lua. Hash seeds are fixed in all
# of them; gcov resets its counts on SIGUSR1 and writes them on SIGUSR2.

LUA=$B/lua
levels=(${PROBEPOINT_LONG:+O0} O2)
LUA_CC=${PLUGIN_CC:-gcc}
# The gcov of the compiler: one of another version may crash on its files.
GCOV=${LUA_CC/gcc/gcov}
have "$GCOV" || GCOV=gcov

lua_fetch() {
	local dir=$LUA/src
	[ -e "$dir/lua/src/lua.c" ] && return
	have dpkg-source || skip "needs dpkg-source (package dpkg-dev) to unpack Lua's source"
	scripts/deps --source >"$T/fetch" 2>&1 || skip "cannot add package sources to apt: $(tail -n 1 "$T/fetch")"
	rm -rf "$dir"
	mkdir -p "$dir"
	(cd "$dir" && timeout 120 apt-get -q source lua5.4) >"$T/fetch" 2>&1 ||
		skip "Lua's source cannot be fetched: $(grep -m 1 '^E:' "$T/fetch" || tail -n 1 "$T/fetch")"
	echo '#define DEB_HOST_MULTIARCH "none"' >"$(echo "$dir"/lua5.4-*/src)/lua5.4-deb-multiarch.h"
	mv "$dir"/lua5.4-*/ "$dir/lua" || fail "Lua's source is not in its directory: $(ls "$dir")"
}

lua_is_fresh() {
	local lua=$LUA/$1/lua
	[ -x "$lua" ] && [ "$lua" -nt tests/lua/lib.sh ] || return
	case $1 in probed-*) [ "$lua" -nt "$B/lib/probepoint.so" ] ;; gcov) [ "$lua" -nt tests/lua/gcov.c ] ;; esac
}

lua_build() {
	local kind=$1 dir=$LUA/$1 flags
	lua_is_fresh "$kind" && return
	flags=(-std=gnu99 -g -DLUA_COMPAT_5_3 -DLUA_USE_LINUX '-Dluai_makeseed(L)=42' -DSTRCACHE_N=1 -DSTRCACHE_M=1)
	case $kind in
	*-O0) flags+=(-O0) ;;
	*-O2) flags+=(-O2) ;;
	*-lto) flags+=(-O2 -flto=2) ;;
	gcov) flags+=(-O0 -fprofile-arcs -ftest-coverage) ;;
	esac
	case $kind in probed-*) flags+=(-fplugin="$B/lib/probepoint.so" '-fplugin-arg-probepoint-functions=*') ;; esac
	rm -rf "$dir"
	mkdir -p "$dir"
	cp "$LUA"/src/lua/src/*.[ch] "$dir"
	rm "$dir/luac.c"
	[ "$kind" != gcov ] || cp tests/lua/gcov.c "$dir"
	# Compiles by base names, so that gcov's notes are in the directory of the objects.
	(cd "$dir" && printf '%s\n' *.c | xargs -P 2 -I{} "$LUA_CC" "${flags[@]}" -c {}) >"$dir/log" 2>&1 ||
		fail "Lua does not compile ($kind): $(head -n 5 "$dir/log")"
	(cd "$dir" && "$LUA_CC" "${flags[@]}" -rdynamic -o lua.new ./*.o -lm -ldl) >>"$dir/log" 2>&1 ||
		fail "Lua does not link ($kind): $(head -n 5 "$dir/log")"
	mv "$dir/lua.new" "$dir/lua"
}

lua_need() {
	local kind
	need "$LUA_CC"
	[ -e "$B/lib/probepoint.so" ] || skip "the plugin is not built"
	mkdir -p "$LUA"
	exec 9>"$LUA/lock"
	flock 9
	lua_fetch
	for kind; do lua_build "$kind"; done
	exec 9>&-
}

# lua_own KIND: sets $lua to a copy that belongs to this test, so that no other test arms it.
lua_own() {
	mkdir -p "$T/$1"
	cp "$LUA/$1/lua" "$T/$1/lua" || fail "no Lua ($1)"
	lua=$T/$1/lua
}

# lua_start NAME LUA ARG...: starts it in the background, waits until it reads input, and sets $pid. lua_go NAME sends it
# a line.
lua_start() {
	local name=$1
	shift
	mkfifo "$T/$name.in"
	(exec -a lua "$@") <"$T/$name.in" >"$T/$name.out" 2>"$T/$name.err" &
	pid=$!
	eval "exec {fd_$name}>'$T/$name.in'"
	lua_waits $pid
}
lua_go() { eval "echo go >&\$fd_$1"; }
# Sends the line that ends it, and checks that it exits with 0.
lua_end() {
	local status
	eval "echo end >&\$fd_$1"
	wait "$2"
	status=$?
	[ $status = 0 ] && [ ! -s "$T/$1.err" ] || fail "Lua ($1) ends with $status: $(cat "$T/$1.err")"
}
# Waits until it is blocked in read(0, ...).
lua_waits() { wait_for 60 grep -q '^0 0x0 ' "/proc/$1/syscall"; }

# text_changes PID FILE: prints offset (from 0) and values of each byte of code in which the process differs from the file.
text_changes() {
	local range mode offset rest start end
	while read -r range mode offset rest; do
		[[ $mode == r-x* && $rest == *" $2" ]] || continue
		start=$((0x${range%-*})) end=$((0x${range#*-})) offset=$((0x$offset))
		dd if="/proc/$1/mem" of="$T/text.mem" bs=4096 skip=$((start / 4096)) count=$(((end - start) / 4096)) status=none
		dd if="$2" of="$T/text.file" bs=4096 skip=$((offset / 4096)) count=$(((end - start) / 4096)) status=none
		[ -s "$T/text.file" ] || fail "no code"
		cmp -l "$T/text.mem" "$T/text.file" 2>"$T/cmp" | awk -v offset=$offset '{ print $1 - 1 + offset, $2 }'
		! grep -v 'EOF on' "$T/cmp" || fail "cmp"
	done <"/proc/$1/maps"
}
