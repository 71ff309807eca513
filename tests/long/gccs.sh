#!/bin/bash
# SPDX-License-Identifier: MIT
# Each gcc-N whose plugin headers are installed builds the plugin without a warning, and passes the plugin's tests.
# limit: 20000 30000
. tests/lib.sh
tests/gccs || { status=$?; [ $status != 77 ] && fail "a compiler fails"; exit 77; }
