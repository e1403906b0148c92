#!/bin/sh
# dist/dockerd-linux-arm64: Debian's, to be compared with. Fetched with lists of
# its own, so that this machine's packages stay as they are.
set -eu
cd "$(dirname "$0")/.."
[ ! -x dist/dockerd-linux-arm64 ] || exit 0
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$work/lists/partial" "$work/root"
touch "$work/status"
echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] http://deb.debian.org/debian trixie main" >"$work/sources"
apt() {
	apt-get -qq -o APT::Architecture=arm64 -o APT::Architectures=arm64 -o Dir::State::lists="$work/lists" -o Dir::State::status="$work/status" \
		-o Dir::Etc::sourcelist="$work/sources" -o Dir::Etc::sourceparts=- -o Dir::Cache::pkgcache= -o Dir::Cache::srcpkgcache= -o APT::Sandbox::User=root "$@"
}
apt update
(cd "$work" && apt download docker.io)
dpkg -x "$work"/docker.io_*.deb "$work/root"
mkdir -p dist
cp "$work/root/usr/sbin/dockerd" dist/dockerd-linux-arm64
