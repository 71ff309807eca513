#!/bin/bash
# SPDX-License-Identifier: MIT
# probe-stat -i on a terminal draws a table in place, takes keys, follows the size of the terminal, and restores the terminal
# however it ends.
. tests/lib.sh
. tests/cmd/lib.sh
need_kernel
need python3
build_target
start p
at_end "probe-disable -q -s $S 2>/dev/null"
expect 0 probe-enable -q -s "$S" -p "$p" 'app:*' 'target:*'
tell p "say 61"
while tell p "tick 100"; do sleep 0.02; done &
expect 0 python3 tests/cmd/live.py "$S" "$p"
