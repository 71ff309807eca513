#!/bin/bash
# SPDX-License-Identifier: MIT
# make install writes below DESTDIR and PREFIX only; /usr and /usr/local share GCC's directory for the plugin.
. tests/plugin/lib.sh
need make
gcc_dir=$("$GCC" -print-file-name=plugin)

# installed GOAL VARIABLE=VALUE...
installed() { make -s O="$B" PLUGIN_CC="$GCC" PLUGIN_CXX="$GXX" "$@" >"$T/log" 2>&1 || { cat "$T/log"; fail "make $*"; }; }
# outside: prints files of the product in the system's directories that are newer than the test. Another test may write a
# list of package sources to /etc/apt meanwhile.
outside() { find /usr /opt /etc -xdev -path /etc/apt -prune -o -name '*probepoint*' -newer "$T/begin" -print 2>/dev/null; }

touch "$T/begin"
installed install PREFIX="$T/own"
want "written outside of PREFIX" "" "$(outside)"
for file in bin/probe-list lib/libprobepoint.so.1 lib/libprobepoint.a lib/probepoint.so include/sys/sdt.h share/man/man1/probe-list.1; do
	[ -f "$T/own/$file" ] || fail "PREFIX: no $file"
done
echo 'int f(void) { return 0; }' >"$T/a.c"
"$GCC" -fplugin="$T/own/lib/probepoint.so" '-fplugin-arg-probepoint-functions=*' -c "$T/a.c" -o "$T/a.o" || fail "the plugin as installed"
want "sites by the plugin as installed" 2 "$(sites "$T/a.o" | wc -l)"
installed uninstall PREFIX="$T/own"
want "left by uninstall" "" "$(find "$T/own" -type f -o -type l)"

for prefix in /usr /usr/local /usr/local/; do
	installed install DESTDIR="$T/dest" PREFIX=$prefix
	[ -f "$T/dest$gcc_dir/probepoint.so" ] || fail "PREFIX=$prefix: the plugin is not in GCC's directory"
	[ -f "$T/dest$prefix/bin/probe-list" ] || fail "PREFIX=$prefix: no bin/probe-list"
	rm -r "$T/dest"
done
installed install DESTDIR="$T/dest" PREFIX=/opt/x
want "plugins of PREFIX=/opt/x" "$T/dest/opt/x/lib/probepoint.so" "$(find "$T/dest" -name probepoint.so)"
want "plugindir of pkg-config" "plugindir=/opt/x/lib" "$(grep plugindir "$T/dest/opt/x/lib/pkgconfig/probepoint.pc")"
rm -r "$T/dest"
installed install DESTDIR="$T/dest" PREFIX=/opt/x plugindir=/opt/plugins
want "plugins with plugindir=" "$T/dest/opt/plugins/probepoint.so" "$(find "$T/dest" -name probepoint.so)"
want "written outside of DESTDIR" "" "$(outside)"
