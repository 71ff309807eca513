#!/bin/bash
# SPDX-License-Identifier: MIT
# alone
# probe-disable --all disarms all sessions, also those of other tests, so no other test may run meanwhile.
. tests/lib.sh
. tests/cmd/lib.sh
need_kernel
[ -z "$(sessions)" ] || skip "there are sessions of other users of this machine"
build_target
know_sites
start p
expect 0 probe-disable --all
want "message without sessions" "probe-disable: no sessions, so nothing is armed" "$out"
for i in 1 2 3; do expect 0 probe-enable -q -s "$S-$i" -p "$p" 'app:*' 'target:*'; done
want "bytes of armed sites" "3 cc" "$(site_bytes "$p")"
expect 0 probe-disable --all --json
want "sessions disarmed" "[[\"$S-1\",3],[\"$S-2\",3],[\"$S-3\",3]]" "$(json '[.disarmed[]|[.session,.points]]|sort' <<<"$out")"
want "bytes of disarmed sites" "3 90" "$(site_bytes "$p")"
want "sessions left" "" "$(sessions)"
expect 0 probe-list --sessions
want "message of probe-list" "probe-list: no sessions" "$out"
stop p
