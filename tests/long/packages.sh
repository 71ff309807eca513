#!/bin/bash
# SPDX-License-Identifier: MIT
# limit: 7200 10800
# Debian packages build in Debian 12, 13 and 14, lintian finds no error, and in a minimal tree README's session, pkg-config and
# CMake work from the packages alone. scripts/packages describes the steps. RELEASES selects releases.
. tests/lib.sh
need_root
need debootstrap unshare git xz
in_chroot && skip "a chroot cannot mount trees"
for release in ${RELEASES:-bookworm trixie forky}; do
	scripts/packages "$release" >"$T/log" 2>&1 || failed=1
	cat "$T/log"
	want "steps that passed in $release" 5 "$(grep -c '^pass ' "$T/log")"
done
[ -z "${failed-}" ] || fail "scripts/packages failed"
