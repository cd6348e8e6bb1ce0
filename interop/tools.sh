#!/usr/bin/env bash
# The programs from outside that tests run against: installed where we may, named loudly where not.
#   tools.sh install   installs what is missing (Debian, as root or with sudo -n)
#   tools.sh report    says which tests were skipped for want of a program
#   tools.sh race      prints -race if this machine can build it
set -euo pipefail

# command (or file), Debian package, what is skipped without it
tools='
sipp      sip-tester    the SIPp scenarios and benchmarks
baresip   baresip-core  the calls between two softphones
/usr/lib/baresip/modules/avcodec.so baresip-ffmpeg the video calls in H.264
linphonec linphone-cli  the registration of Linphone
kamailio  kamailio      the comparison with Kamailio
chromium  chromium      the tests with browsers
npm       npm           the tests with browsers
turnutils_uclient coturn the relays of an outside TURN client
ip        iproute2      the phones behind NAT
nft       nftables      the phones behind NAT
sysctl    procps        the phones behind NAT
strace    strace        the disk that fails
gcc       gcc           the race detector
'

# Daemons are in /usr/sbin, which is not on every user's PATH.
export PATH="$PATH:/usr/sbin:/sbin"

missing() {
	while read -r command package what; do
		if [ -n "$command" ] && ! command -v "$command" >/dev/null && [ ! -e "$command" ]; then
			echo "$command $package $what"
		fi
	done <<<"$tools"
}

install() {
	local absent packages root=()
	absent=$(missing)
	[ -n "$absent" ] || return 0
	packages=$(awk '{print $2}' <<<"$absent")
	if grep -q '^gcc ' <<<"$absent"; then packages+=' libc6-dev'; fi
	if grep -q '^kamailio ' <<<"$absent"; then packages+=' kamailio-sqlite-modules'; fi # its credentials in the comparison
	echo "== installing test tools:" $packages
	if ! command -v apt-get >/dev/null; then
		report
		return 0
	fi
	if [ "$(id -u)" != 0 ]; then
		if ! command -v sudo >/dev/null || ! sudo -n true 2>/dev/null; then
			report
			return 0
		fi
		root=(sudo -n)
	fi
	# Kamailio must not be started: it would take port 5060.
	local policy=/usr/sbin/policy-rc.d
	if [ ! -e "$policy" ]; then
		printf '#!/bin/sh\nexit 101\n' | "${root[@]}" tee "$policy" >/dev/null
		"${root[@]}" chmod 755 "$policy"
		trap '"${root[@]}" rm -f /usr/sbin/policy-rc.d' RETURN
	fi
	"${root[@]}" apt-get update -q </dev/null || true
	# One by one: a package that is not to be had must not cost the others.
	for package in $packages; do
		"${root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "$package" </dev/null || true
	done
	report
}

# What the pages of the browser tests are bundled from.
modules() {
	cd "$(dirname "$0")/browser"
	if command -v npm >/dev/null && [ node_modules/.package-lock.json -ot package-lock.json ]; then
		echo '== installing JsSIP and SIP.js'
		npm ci --ignore-scripts --no-audit --no-fund </dev/null && touch node_modules/.package-lock.json || true
	fi
}

report() {
	local absent
	absent=$(missing)
	[ -n "$absent" ] || return 0
	while read -r command package what; do
		echo "!! SKIPPED: $what: $command is not installed (Debian package $package)" >&2
	done <<<"$absent"
}

case "${1-}" in
install)
	install
	modules
	;;
report) report ;;
race) if command -v gcc >/dev/null; then echo -race; fi ;;
*)
	sed -n '2,5p' "$0" >&2
	exit 2
	;;
esac
