#!/bin/bash
# SPDX-License-Identifier: MIT
# alone
# probe-disable --all takes everything down, also for sessions of other commands: so no other test beside it.
. tests/lib.sh
. tests/cmd/lib.sh
need_kernel
[ -z "$(sessions)" ] || skip "there are sessions of somebody else"
build_target
know_sites
start p
expect 0 probe-disable --all
want "nothing" "probe-disable: no sessions, so nothing is armed" "$out"
for i in 1 2 3; do expect 0 probe-enable -q -s "$S-$i" -p "$p" '*:*'; done
want "armed" "3 cc" "$(site_bytes "$p")"
expect 0 probe-disable --all --json
want "all" "[[\"$S-1\",3],[\"$S-2\",3],[\"$S-3\",3]]" "$(json '[.disarmed[]|[.session,.points]]|sort' <<<"$out")"
want "disarmed" "3 90" "$(site_bytes "$p")"
want "no session" "" "$(sessions)"
expect 0 probe-list --sessions
want "none" "probe-list: no sessions" "$out"
stop p
