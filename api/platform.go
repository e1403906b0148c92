package api

import (
	"strconv"
	"strings"
)

// architectures maps what kernels and archives say to OCI's words.
var architectures = map[string]string{
	"x86_64": "amd64", "x86-64": "amd64",
	"aarch64": "arm64", "arm64v8": "arm64",
	"i386": "386", "i686": "386",
	"armhf": "arm", "armv7l": "arm", "armv6l": "arm", "armel": "arm",
}

// Normal returns the platform in OCI's words, lower case: "x86_64" is amd64,
// "armv7l" is arm with variant v7. An empty OS is linux.
func (p Platform) Normal() Platform {
	p.OS, p.Architecture, p.Variant = strings.ToLower(p.OS), strings.ToLower(p.Architecture), strings.ToLower(p.Variant)
	if p.OS == "" {
		p.OS = "linux"
	}
	if p.Variant == "" {
		switch p.Architecture {
		case "armv7l", "armhf":
			p.Variant = "v7"
		case "armv6l":
			p.Variant = "v6"
		case "armel":
			p.Variant = "v5"
		}
	}
	if known, ok := architectures[p.Architecture]; ok {
		p.Architecture = known
	}
	if p.Variant != "" && p.Variant[0] >= '0' && p.Variant[0] <= '9' {
		p.Variant = "v" + p.Variant
	}
	return p
}

// Runs reports whether a board of platform p runs an image made for the other.
// Variants build on each other: a v7 board runs a v6 image, not the other way
// round. An image without a variant is taken to run on all of them; a board
// without one is taken for the commonest (arm v7, arm64 v8, amd64 v1).
func (p Platform) Runs(image Platform) bool {
	p, image = p.Normal(), image.Normal()
	if p.OS != image.OS || p.Architecture != image.Architecture {
		return false
	}
	if image.Variant == "" || image.Variant == p.Variant {
		return true
	}
	have, ok := variantNumber(p)
	want, known := variantNumber(image)
	return ok && known && want <= have
}

func variantNumber(p Platform) (int, bool) {
	if p.Variant == "" {
		n, ok := map[string]int{"arm": 7, "arm64": 8, "amd64": 1}[p.Architecture]
		return n, ok
	}
	n, err := strconv.Atoi(strings.TrimPrefix(p.Variant, "v"))
	return n, err == nil
}
