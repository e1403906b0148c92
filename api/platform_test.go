package api

import "testing"

func TestPlatformRuns(t *testing.T) {
	for _, c := range []struct {
		board, image Platform
		want         bool
	}{
		{Platform{Architecture: "amd64", OS: "linux"}, Platform{Architecture: "x86_64", OS: "linux"}, true},
		{Platform{Architecture: "aarch64", OS: "linux"}, Platform{Architecture: "arm64", OS: "linux", Variant: "v8"}, true},
		{Platform{Architecture: "arm64", OS: "linux"}, Platform{Architecture: "amd64", OS: "linux"}, false},
		{Platform{Architecture: "arm64", OS: "linux"}, Platform{Architecture: "arm", OS: "linux", Variant: "v7"}, false},
		{Platform{Architecture: "arm", OS: "linux", Variant: "v7"}, Platform{Architecture: "arm", OS: "linux", Variant: "v6"}, true},
		{Platform{Architecture: "arm", OS: "linux", Variant: "v6"}, Platform{Architecture: "arm", OS: "linux", Variant: "v7"}, false},
		{Platform{Architecture: "arm", OS: "linux", Variant: "v6"}, Platform{Architecture: "arm", OS: "linux", Variant: "6"}, true},
		{Platform{Architecture: "arm", OS: "linux", Variant: "v6"}, Platform{Architecture: "arm", OS: "linux"}, true},
		{Platform{Architecture: "arm", OS: "linux"}, Platform{Architecture: "arm", OS: "linux", Variant: "v7"}, true},
		{Platform{Architecture: "armv7l", OS: "linux"}, Platform{Architecture: "arm", OS: "linux", Variant: "v7"}, true},
		{Platform{Architecture: "armv6l", OS: "linux"}, Platform{Architecture: "arm", OS: "linux", Variant: "v7"}, false},
		{Platform{Architecture: "amd64", OS: "linux"}, Platform{Architecture: "amd64", OS: "linux", Variant: "v1"}, true},
		{Platform{Architecture: "amd64", OS: "linux"}, Platform{Architecture: "amd64", OS: "linux", Variant: "v3"}, false},
		{Platform{Architecture: "amd64", OS: "linux"}, Platform{Architecture: "amd64", OS: "windows"}, false},
		{Platform{Architecture: "amd64"}, Platform{Architecture: "AMD64", OS: "Linux"}, true},
		{Platform{Architecture: "riscv64", OS: "linux"}, Platform{Architecture: "riscv64", OS: "linux", Variant: "odd"}, false},
	} {
		if got := c.board.Runs(c.image); got != c.want {
			t.Errorf("a board %v runs an image for %v: %v, want %v", c.board, c.image, got, c.want)
		}
	}
}
