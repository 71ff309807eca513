#!/bin/bash
# SPDX-License-Identifier: MIT
# probe-enable --config FILE --check names what is wrong with a file by its line and column, and changes nothing.
. tests/lib.sh
. tests/cmd/lib.sh
. tests/config/lib.sh
build_version 1

# wrong LINE:COLUMN PATTERN: the file on standard input is invalid, there, with a message that matches.
wrong() {
	cat >"$T/wrong.yaml"
	expect 2 probe-enable --config "$T/wrong.yaml" --check
	want_like "the message" "probe-enable: $T/wrong.yaml:$1: $2" "$(head -n 1 <<<"$out")"
	expect 2 probe-enable --config "$T/wrong.yaml"
	expect 2 probe-enable --json --config "$T/wrong.yaml" --check
	want "JSON" true "$(jq 'has("error")' <<<"$out")"
}
# entry LINES: a file with one entry that has also these lines, at line 5.
entry() { printf 'sessions:\n  - session: %s\n    arm:\n      - probes: svc:hit\n%s\n' "$S" "$1"; }

wrong 1:1 "the file must begin with 'sessions:'" <<<"hello"
wrong 1:1 "unknown key 'session'*" <<<"session: []"
wrong 1:11 "sessions: give a list*" <<<"sessions: 1"
wrong 1:14 "*did not find expected*" <<<"sessions: [[{]"
wrong 2:5 "the session has no name*" <<<$'sessions:\n  - arm: []'
wrong 2:14 "session: give a name*" <<<$'sessions:\n  - session: "a/b"\n    arm: []'
wrong 2:5 "a session needs the key arm*" <<<$'sessions:\n  - session: a'
wrong 4:14 "session 'a' is described twice; line 2*" <<<$'sessions:\n  - session: a\n    arm: []\n  - session: a\n    arm: []'
wrong 4:9 "the entry names no target*" < <(entry '')
wrong 5:9 "unknown key 'fil'; did you mean 'file'[?]" < <(entry '        fil: /bin/true')
wrong 5:9 "'pid' cannot be given in a file: *" < <(entry '        pid: 1')
wrong 6:9 "'file' is given twice" < <(entry $'        file: /a\n        file: /b')
wrong 5:15 "file: 'bin/true' is not an absolute path" < <(entry '        file: bin/true')
wrong 5:21 "file: '2' is not an absolute path" < <(entry '        file: [ /a, 2 ]')
wrong 6:17 "budget: invalid budget '5'*" < <(entry $'        file: /a\n        budget: 5')
wrong 6:17 "buffer: *" < <(entry $'        file: /a\n        buffer: 1')
wrong 6:23 "min-duration: invalid time 'soon'*" < <(entry $'        file: /a\n        min-duration: soon')
wrong 6:26 "flight-recorder: *'1K'*" < <(entry $'        file: /a\n        flight-recorder: 1K')
wrong 4:9 "--overwrite and --flight-recorder cannot be combined" < <(entry $'        file: /a\n        flight-recorder: 1M\n        overwrite: true')
wrong 6:15 "fast: give true or false" < <(entry $'        file: /a\n        fast: maybe')
wrong 6:18 "latency: give a list of two probes*" < <(entry $'        file: /a\n        latency: x')
wrong 6:13 "if: give a text" < <(entry $'        file: /a\n        if: []')
wrong 6:12 "if: give a text" < <(entry $'        file: /a\n        if:')
wrong 6:19 "build-id: '12' is not a build-id*" < <(entry $'        file: /a\n        build-id: 12')
wrong 4:9 "children needs process" < <(entry $'        file: /a\n        children: true')
wrong 5:18 "service: 'a/b' is not the name of a unit*" < <(entry '        service: a/b')
wrong 5:15 "aliases are not supported" < <(entry '        file: *x')
wrong 5:15 "anchors and tags are not supported" < <(entry '        file: &x /a')
wrong 2:1 "the file has several documents" <<<$'sessions: []\n---\nsessions: []\n...\n'
printf 'sessions: []\0' >"$T/wrong.yaml"
expect 2 probe-enable --config "$T/wrong.yaml"
: >"$T/empty.yaml"
expect 2 probe-enable --config "$T/empty.yaml"
want_like "an empty file" "*the file is empty*" "$out"
expect 1 probe-enable --config "$T/none.yaml"
want "a missing file" "probe-enable: $T/none.yaml: No such file or directory" "$out"

# All errors are reported, not the first one only.
entry $'        fil: /a\n        iff: x\n        budget: 7' >"$T/wrong.yaml"
expect 2 probe-enable --config "$T/wrong.yaml" --check
want "errors" 3 "$(grep -c "$T/wrong.yaml:[0-9]*:[0-9]*: " <<<"$out")"

# Probes and arguments that do not exist in the file.
entry "        file: $T/version.1" | sed 's/svc:hit/svc:hat/' >"$T/config.yaml"
expect 3 probe-enable --config "$T/config.yaml" --check
want_like "an unknown probe" "*$T/config.yaml:4:9: no probe matches 'svc:hat'*svc:hit*" "$out"
entry "        file: $T/version.1"$'\n        if: nothing > 1' >"$T/config.yaml"
expect 3 probe-enable --config "$T/config.yaml" --check
want_like "an unknown argument" "*$T/config.yaml:4:9: *nothing*" "$out"

# A request that an agent can serve in no process is refused.
entry "        file: $T/version.1"$'\n        backend: agent\n        cgroup: /sys' >"$T/config.yaml"
expect 3 probe-enable --config "$T/config.yaml" --check
want_like "a control group for the agent" "*$T/config.yaml:4:9: the agent does not support process groups and control groups*refused *0 changes, 1 refused" "$out"
if [ "$(uname -m)" = x86_64 ]; then
	cat >"$T/plain.c" <<-'C'
		int main(void)
		{
			__asm__ volatile("990: nop\n.pushsection .note.stapsdt,\"\",\"note\"\n.balign 4\n.4byte 992f-991f,994f-993f,3\n"
			                 "991: .asciz \"stapsdt\"\n992: .balign 4\n993: .8byte 990b,0,0\n.asciz \"svc\"\n.asciz \"hit\"\n"
			                 ".asciz \"\"\n994: .balign 4\n.popsection");
			return 0;
		}
	C
	"$CC" "$T/plain.c" -o "$T/plain" || fail "no program with a plain nop"
	entry "        file: $T/plain"$'\n        backend: agent' >"$T/config.yaml"
	expect 3 probe-enable --config "$T/config.yaml" --check
	want_like "a site for the kernel only" "*$T/config.yaml:4:9: the site is not followed by the 10-byte nop*refused *" "$out"
	entry "        file: $T/plain"$'\n        backend: kernel' >"$T/config.yaml"
	expect 0 probe-enable --config "$T/config.yaml" --check
fi

# A valid file: what would be armed, and nothing is.
entry "        file: $T/version.1"$'\n        if: arg0 > 0' >"$T/config.yaml"
expect 0 probe-enable --config "$T/config.yaml" --check
want_like "the report" "to arm *$S *line 4 *svc:hit *$T/version.1 *build-id $(build_id "$T/version.1" | cut -c 1-12) *1 site*1 change*not checked: *" "$out"
want "sessions" "" "$(probe-list --sessions | grep -w "$S")"
[ "$(id -u)" != 0 ] || in_chroot || for_others
if [ -d "$T/product" ]; then
	# A file can be checked without privileges.
	cp "$T/config.yaml" "$T/other.yaml"
	chmod 644 "$T/other.yaml"
	expect 0 nobody "$T/product/bin/probe-enable" --config "$T/other.yaml" --check
fi
expect 2 probe-enable --config "$T/config.yaml" --check --follow
expect 2 probe-enable --config "$T/config.yaml" -f /bin/true
expect 2 probe-enable --config "$T/config.yaml" 'svc:*'
expect 2 probe-enable --check 'svc:*' -f /bin/true

# The example of a fleet is valid, on a machine with or without its files.
cp examples/fleet/probepoint.yaml "$T/fleet.yaml"
chmod 644 "$T/fleet.yaml"
probe-enable --config "$T/fleet.yaml" --check >"$T/out" 2>&1
status=$?
[ $status = 0 ] || [ $status = 3 ] || fail "examples/fleet/probepoint.yaml: $(cat "$T/out")"
