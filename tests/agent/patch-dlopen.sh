#!/bin/bash
# SPDX-License-Identifier: MIT
# dlopen() finds the same libraries as without the agent: by the caller's RPATH and RUNPATH, LD_LIBRARY_PATH, $ORIGIN.
. tests/lib.sh
. tests/agent/lib.sh

mkdir "$T/sub" "$T/other" "$T/env"
for where in sub other env; do
	cat >"$T/$where.c" <<E2
const char *which(void);
const char *which(void) { return "$where"; }
E2
	$CC -shared -fPIC -o "$T/$where/libfound.so" "$T/$where.c" || fail "not a library"
done
cat >"$T/loader.c" <<'E2'
#include <dlfcn.h>
#include <stdio.h>
const char *find(const char *file);
const char *find(const char *file)
{
	void *library = dlopen(file, RTLD_NOW | RTLD_LOCAL);
	const char *(*which)(void) = library ? (const char *(*)(void))dlsym(library, "which") : NULL;
	return which ? which() : dlerror();
}
E2
cat >"$T/main.c" <<'E2'
#include <dlfcn.h>
#include <stdio.h>
const char *find(const char *file);
int main(int argc, char **argv)
{
	void *self = dlopen(NULL, RTLD_NOW);
	for (int i = 1; i < argc; i++)
		puts(find(argv[i]));
	printf("%d %d\n", self != NULL, dlsym(self, "printf") == dlsym(RTLD_DEFAULT, "printf"));
	return 0;
}
E2
agent_build simple
poke arm $S 1 "$T/simple" 'app:*' # so that a point waits for a module in every process
n=0
for library_path in '' '-Wl,-rpath,$ORIGIN/sub -Wl,--enable-new-dtags' '-Wl,-rpath,$ORIGIN/sub -Wl,--disable-new-dtags'; do
	for main_path in '' '-Wl,-rpath,$ORIGIN/other:$ORIGIN -Wl,--enable-new-dtags' \
		'-Wl,-rpath,$ORIGIN/other:$ORIGIN -Wl,--disable-new-dtags'; do
		$CC -shared -fPIC $library_path -o "$T/libloader.so" "$T/loader.c" || fail "cannot build the loader"
		$CC $main_path -o "$T/main" "$T/main.c" -L"$T" -lloader || fail "cannot build main"
		for env in "$T" "$T:$T/env"; do
			without=$(LD_LIBRARY_PATH=$env "$T/main" libfound.so '$ORIGIN/env/libfound.so' "$T/other/libfound.so" nowhere.so 2>&1)
			with=$(LD_LIBRARY_PATH=$env LD_PRELOAD=$AGENT "$T/main" libfound.so '$ORIGIN/env/libfound.so' \
				"$T/other/libfound.so" nowhere.so 2>&1)
			want "with '$library_path', '$main_path', $env" "$without" "$with"
			n=$((n + 1))
		done
	done
done
want "cases" 18 $n

# If the caller's RUNPATH matters, the library is found a little later.
agent_build life -Wl,-rpath,"$T/sub" -Wl,--enable-new-dtags
build_once "$T/sub/library.so" $CC -O2 -shared -fPIC -Iinclude tests/agent/library.c || fail "not a library"
poke arm $S 2 "$T/sub/library.so" lib:hit
target "$T/life"
want_like "pending" "*attachment 2 armed 0 pending 1 refused 0*" "$(rescan)"
say "keep library.so"
want "load" "" "$said"
armed() { [[ $(poke state $pid $S 2) == "0 armed"* ]]; }
wait_for 10 armed
say "again 5"
want "counted" "hits 5 recorded 0 filtered 0 idle 5 lost 0" "$(counts 2)"
target_end
