package host

import (
	"os"
	"reflect"
	"strconv"
	"strings"
	"testing"
)

func TestCleanMappings(t *testing.T) {
	const smaps = `00400000-00c32000 r-xp 00000000 08:01 42 /usr/bin/edged
Rss:                8000 kB
Anonymous:             0 kB
VmFlags: rd ex mr mw me
00c32000-016f6000 r--p 00832000 08:01 42 /usr/bin/edged
Anonymous:             4 kB
016f6000-01760000 rw-p 012f6000 08:01 42 /usr/bin/edged
Anonymous:             0 kB
01760000-01770000 r--p 00000000 08:01 43 /usr/bin/other
Anonymous:             0 kB
c000000000-c000800000 rw-p 00000000 00:00 0
Anonymous:          4096 kB
`
	want := []mapping{{0x400000, 0xc32000}}
	if got := cleanMappings(smaps, "/usr/bin/edged"); !reflect.DeepEqual(got, want) {
		t.Errorf("clean are %x, not %x", got, want)
	}
}

func TestTrimUnmapsTheProgram(t *testing.T) {
	before := mappedFile(t)
	if err := Trim(); err != nil {
		t.Fatal(err)
	}
	if after := mappedFile(t); after >= before {
		t.Errorf("%d kB of files are mapped, before it were %d", after, before)
	}
}

// mappedFile is RssFile in kB.
func mappedFile(t *testing.T) int {
	t.Helper()
	raw, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(raw), "RssFile:")
	kb, err := strconv.Atoi(strings.Fields(rest)[0])
	if err != nil {
		t.Fatal(err)
	}
	return kb
}
