#!/bin/sh
# Makes Debian packages in $OUT of the programs in $PROGRAMS (both dist/ unless
# set), for the architectures that are named, with dpkg-deb alone. The same commit
# gives the same bytes: VERSION and STAMP come from it, and date every file.
# COMPRESS=none is quick, for tests.
set -eu
cd "$(dirname "$0")/.."
: "${VERSION:?the version of the packages}" "${STAMP:?the time of the commit, in seconds}"
archs=${*:-amd64 arm64 armhf}
programs=${PROGRAMS:-dist}
out=${OUT:-dist}
if ! command -v dpkg-deb >/dev/null; then
	echo "make deb: dpkg-deb is missing: it comes with Debian's dpkg (apt-get install dpkg)" >&2
	exit 1
fi
export SOURCE_DATE_EPOCH=$STAMP
umask 022

# v1.2.3-4-gabc is 1.2.3+4.gabc; a commit without a tag is before all versions,
# in the order of time.
case $VERSION in
v[0-9]*) version=$(echo "${VERSION#v}" | sed 's/-/+/; s/-/./g') ;;
*) version=0~$(date -u -d "@$STAMP" +%Y%m%d.%H%M%S).$(echo "$VERSION" | tr - .) ;;
esac

if [ "$archs" = version ]; then
	echo "$version"
	exit
fi

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
tags=grpcnotrace,nethttpomithttp2 # as the programs are built with
flags="-s -w -X github.com/edgeswarm/edgeswarm/internal/build.Version=$VERSION"
go run -tags "manual,$tags" -ldflags "$flags" ./cmd/edgectl "$work/manual"
go run -tags "manual,$tags" -ldflags "$flags" ./cmd/edged >"$work/manual/edged.8"

# licences PACKAGE PROGRAM...: those of all that is linked into its programs, which
# ask for that.
licences() {
	package=$1
	shift
	go list -deps -tags "$tags" -f '{{with .Module}}{{if not .Main}}{{.Path}} {{.Version}} {{.Dir}}{{end}}{{end}}' "$@" >"$work/modules"
	echo "go $(go env GOVERSION) $(go env GOROOT)" >>"$work/modules"
	LC_ALL=C sort -u "$work/modules" | while read -r module release dir; do
		texts=$(find "$dir/" -maxdepth 1 -type f \( -iname 'licen[cs]e*' -o -iname 'copying*' -o -iname 'notice*' \) | LC_ALL=C sort)
		if [ -z "$texts" ]; then
			echo "make deb: $module says no licence in $dir: see what it is under" >&2
			exit 1
		fi
		echo "$texts" | while read -r text; do
			printf '==== %s %s: %s ====\n\n' "$module" "$release" "${text##*/}"
			cat "$text"
			printf '\n\n'
		done
	done >"$work/$package.licences"
}
licences edged ./cmd/edged ./cmd/edge-wireguard
licences edgectl ./cmd/edgectl

# put MODE FROM TO: a file of the package.
put() { install -D -m "$1" "$2" "$root$3"; }

# page FROM TO: a text of the package, compressed.
page() {
	mkdir -p "$root${2%/*}"
	gzip -9nc "$1" >"$root$2"
}

# pack NAME ARCH: makes the package of what is in $root.
pack() {
	put 644 build/deb/copyright "/usr/share/doc/$1/copyright"
	printf '%s (%s) stable; urgency=medium\n\n  * Built from %s.\n\n -- Edgeswarm <edgeswarm@users.noreply.github.com>  %s\n' \
		"$1" "$version" "$VERSION" "$(LC_ALL=C date -u -d "@$STAMP" '+%a, %d %b %Y %H:%M:%S +0000')" >"$work/changelog"
	page "$work/changelog" "/usr/share/doc/$1/changelog.gz"
	page "$work/$1.licences" "/usr/share/doc/$1/licences.gz"
	put 644 "build/deb/$1/overrides" "/usr/share/lintian/overrides/$1"
	size=$(du -k --apparent-size -s "$root" | cut -f1)
	mkdir "$root/DEBIAN"
	sed "s/@VERSION@/$version/; s/@ARCH@/$2/; s/@SIZE@/$size/" "build/deb/$1/control" >"$root/DEBIAN/control"
	(cd "$root" && find . -path ./DEBIAN -prune -o -type f -printf '%P\n' | LC_ALL=C sort | xargs -d '\n' md5sum) >"$root/DEBIAN/md5sums"
	for file in conffiles postinst prerm postrm; do
		[ ! -e "build/deb/$1/$file" ] || install -m "$(stat -c %a "build/deb/$1/$file")" "build/deb/$1/$file" "$root/DEBIAN/$file"
	done
	find "$root" -exec touch -h -d "@$STAMP" {} +
	dpkg-deb --root-owner-group "-Z${COMPRESS:-xz}" --build "$root" "$out/$1_${version}_$2.deb" >/dev/null
	echo "$out/$1_${version}_$2.deb"
}

for arch in $archs; do
	go=$arch
	[ "$arch" != armhf ] || go=arm
	root=$work/edged-$arch
	put 755 "$programs/edged-linux-$go" /usr/bin/edged
	put 755 "$programs/edge-wireguard-linux-$go" /usr/bin/edge-wireguard # looked for beside edged
	put 644 build/deb/edged/edged.service /usr/lib/systemd/system/edged.service
	put 600 build/deb/edged/edge.yaml /etc/edgeswarm/edge.yaml
	page "$work/manual/edged.8" /usr/share/man/man8/edged.8.gz
	pack edged "$arch"

	root=$work/edgectl-$arch
	put 755 "$programs/edgectl-linux-$go" /usr/bin/edgectl
	for man in "$work"/manual/man/*.1; do
		page "$man" "/usr/share/man/man1/${man##*/}.gz"
	done
	put 644 "$work/manual/bash/edgectl" /usr/share/bash-completion/completions/edgectl
	put 644 "$work/manual/zsh/_edgectl" /usr/share/zsh/vendor-completions/_edgectl
	put 644 "$work/manual/fish/edgectl.fish" /usr/share/fish/vendor_completions.d/edgectl.fish
	pack edgectl "$arch"
done
