#!/bin/bash
# SPDX-License-Identifier: MIT
# scripts/distro refuses what it cannot do, with the reason and what to do. It finds the mirrors that apt uses.
. tests/lib.sh
need apt-get unshare setpriv python3 pivot_root
cp scripts/distro "$T/distro" # where other users can read it
export PROBEPOINT_DISTROS=$T/cache PROBEPOINT_KEYRING=$T/keys

refused() { # STATUS PATTERN COMMAND...
	expect "$1" "${@:3}"
	want_like "${*:3}" "scripts/distro: $2" "$out"
}
refused 2 "no release is named (bookworm trixie forky); usage: *" scripts/distro
refused 2 "unknown release 'potato' (known: bookworm trixie forky); usage: *" scripts/distro potato true
refused 2 "unknown option '--old'; usage: *" scripts/distro --old trixie true
if [ "$(id -u)" != 0 ]; then
	refused 125 "trixie: * needs root; run it with sudo" scripts/distro trixie true
	exit 0
fi
refused 125 "trixie: * needs root; run it with sudo" nobody "$T/distro" trixie true

without() { # TOOL: runs the script while the tool is missing
	local tool
	tool=$(command -v "$1" || echo "$T/none")
	: >"$T/none"
	unshare -m sh -c 'mount --bind "$0" "$1" && exec scripts/distro trixie true' "$T/none" "$tool"
}
in_chroot && { part_skipped "what needs a mount namespace: this is a chroot"; exit 0; }
refused 125 "debootstrap is missing; install the package debootstrap" without debootstrap

# ---- a machine with a debootstrap that fails ----

mkdir -p "$T/bin" "$T/mirror/dists/trixie" "$T/mirror/dists/forky"
printf '#!/bin/sh\necho "$*" >"%s"\necho "E: no space"\nexit 1\n' "$T/called" >"$T/bin/debootstrap"
printf '#!/bin/sh\n' >"$T/bin/gpgv"
chmod +x "$T/bin"/*
PATH=$T/bin:$PATH
refused 125 "$T/keys: the keys of Debian's archive are missing; *" scripts/distro trixie true
: >"$T/keys"
PROBEPOINT_DISTROS=/proc/none refused 125 "/proc/none: cannot make the directory; set PROBEPOINT_DISTROS*" scripts/distro trixie true

# apt's sources in both forms: neither has the release
mkdir "$T/parts"
port=1
sources() {
	printf 'deb [arch=%s] http://127.0.0.1:1/one bookworm main\n' "$(dpkg --print-architecture)" >"$T/parts/one.list"
	printf 'Types: deb deb-src\nURIs: http://127.0.0.1:%s/ http://127.0.0.1:1/other\nSuites: bookworm\nComponents: main\n' $port >"$T/parts/two.sources"
}
sources
printf 'Dir::Etc::SourceList "%s/none";\nDir::Etc::SourceParts "%s/parts";\nAcquire::http::Proxy "DIRECT";\n' "$T" "$T" >"$T/apt.conf"
export APT_CONFIG=$T/apt.conf
refused 125 "trixie: no mirror has it, tried: http://127.0.0.1:1/one http://127.0.0.1:1 http://127.0.0.1:1/other; set PROBEPOINT_MIRROR*" \
	scripts/distro trixie true
PROBEPOINT_MIRROR=http://127.0.0.1:1/mine refused 125 "trixie: no mirror has it, tried: http://127.0.0.1:1/mine; *" scripts/distro trixie true

# the mirror has one release, and another whose codename differs
python3 -u -m http.server --bind 127.0.0.1 --directory "$T/mirror" 0 >"$T/http" 2>/dev/null &
wait_for 20 grep -q port "$T/http"
port=$(sed 's/.* port \([0-9]*\).*/\1/' "$T/http")
sources
printf 'Origin: Debian\nCodename: trixie\n' >"$T/mirror/dists/trixie/Release"
printf 'Origin: Debian\nCodename: sid\n' >"$T/mirror/dists/forky/Release"
refused 125 "forky: no mirror has it, *" scripts/distro forky true
expect 125 scripts/distro trixie true
want_like "debootstrap that fails" "*trixie: debootstrap failed: E: no space; the log is $T/cache/trixie.log; run the command again" "$out"
want_like "its arguments" "*--keyring=$T/keys * trixie $T/cache/trixie.new http://127.0.0.1:$port*" "$(cat "$T/called")"
[ ! -e "$T/cache/trixie" ] || fail "a tree that debootstrap did not make is used"
