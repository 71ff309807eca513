#!/bin/bash
# SPDX-License-Identifier: MIT
# clang builds everything but the plugin without a warning, and tests of each part pass with that build.
. tests/lib.sh
need clang clang++ make
# The plugin is a part of GCC, so its own sources are for g++.
expect 0 make -s -j2 O="$T/build" CC=clang CXX=clang++ WARN='-Wall -Wextra -Werror' all checks
# The programs of the tests are for gcc.
B=$T/build tests/run unit kernel/exact kernel/return agent/session agent/hit agent/patch-life cmd/stat cmd/trace trace/ctf >"$T/run" 2>&1 || {
	cat "$T/run"
	fail "tests of the build with clang"
}
tail -n 1 "$T/run"
