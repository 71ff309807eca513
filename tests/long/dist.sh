#!/bin/bash
# SPDX-License-Identifier: MIT
# make dist writes the same bytes twice. The archive holds the commit and nothing else, and builds without git.
. tests/lib.sh
need make git xz tar
git rev-parse --verify -q HEAD >/dev/null 2>&1 || skip "this is not a git checkout"

for run in 1 2; do
	make -s dist O="$T/build$run" >"$T/log" 2>&1 || { cat "$T/log"; fail "make dist"; }
	sleep 1.1 # an archive with the time of its creation would differ
done
archive=$(basename "$T"/build1/*.tar.xz)
cmp "$T/build1/$archive" "$T/build2/$archive" || fail "two archives of one commit differ"
name=${archive%.tar.xz}
want "name of the archive" "probepoint-$(probe-list --version | sed 's/.* //')" "$name"
want "files of the archive" "$(git ls-tree -r --name-only HEAD | sort)" \
	"$(tar -tf "$T/build1/$archive" | grep -v '/$' | sed "s|^$name/||" | sort)"

# Another checkout of the same commit gives the same bytes, and a change that is not committed is reported and left out.
git clone -q --no-hardlinks . "$T/clone" || fail "git clone"
git -C "$T/clone" checkout -q "$(git rev-parse HEAD)" || fail "git checkout"
make -s -C "$T/clone" dist >"$T/log" 2>&1 || { cat "$T/log"; fail "make dist in a clone"; }
cmp "$T/build1/$archive" "$T/clone/build/$archive" || fail "the archives of two checkouts differ"
echo changed >>"$T/clone/README.md"
want_like "warning" "*changes that are not committed are left out*" "$(make -s -C "$T/clone" dist 2>&1)"
cmp "$T/build1/$archive" "$T/clone/build/$archive" || fail "the archive has a change that is not committed"

mkdir "$T/unpacked"
tar -xf "$T/build1/$archive" -C "$T/unpacked"
env GIT_DIR=/nonexistent make -s -j2 -C "$T/unpacked/$name" O="$T/product" >"$T/log" 2>&1 || { tail -20 "$T/log"; fail "the archive does not build"; }
grep -i warning "$T/log" && fail "the build prints warnings"
want "probes listed by the product" "$(probe-list -q "$B/examples/weblog")" "$("$T/product/bin/probe-list" -q "$T/product/examples/weblog")"
