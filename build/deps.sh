#!/bin/sh
# Installs what boards and tests need from the distribution. Does nothing
# where all is there.
set -eu
need=""
want() { # program package
	command -v "$1" >/dev/null 2>&1 || need="$need $2"
}
has() { # file package
	[ -e "$1" ] || need="$need $2"
}
case ${1:-} in
qemu) # what fleets of emulated boards take, beside what all tests do
	want qemu-arm-static qemu-user-static
	want mcopy mtools
	want qemu-system-x86_64 qemu-system-x86
	has /usr/share/OVMF/OVMF_CODE_4M.fd ovmf
	;;
image) # what making an image takes
	want sqfstar squashfs-tools
	want depmod kmod
	want xz xz-utils
	want zstd zstd
	has /usr/share/keyrings/debian-archive-keyring.gpg debian-archive-keyring
	;;
*)
	want containerd containerd
	want runc runc
	want ip iproute2
	want nft nftables
	want nsenter util-linux
	want busybox busybox-static
	want curl curl
	want ping iputils-ping
	want sqfstar squashfs-tools
	want debugfs e2fsprogs
	want qemu-system-aarch64 qemu-system-arm
	want qemu-io qemu-utils
	has /usr/share/AAVMF/AAVMF_CODE.fd qemu-efi-aarch64
	;;
esac
[ -n "$need" ] || exit 0
if [ "$(id -u)" -ne 0 ]; then
	echo "missing:$need — run this as root, or: apt-get install$need" >&2
	exit 1
fi
if ! command -v apt-get >/dev/null 2>&1; then
	echo "missing:$need — this is no Debian: install them by your system's own means" >&2
	exit 1
fi
echo "installing:$need"
log=$(mktemp)
trap 'rm -f "$log"' EXIT
if ! { apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends $need; } >"$log" 2>&1; then
	cat "$log" >&2
	exit 1
fi
