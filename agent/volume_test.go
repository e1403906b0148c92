package agent

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/edgeswarm/edgeswarm/api"
)

func TestVolumesAreRemembered(t *testing.T) {
	dir, rings := filepath.Join(t.TempDir(), "volumes"), 0
	open := func() *volumes {
		t.Helper()
		v, err := openVolumes(dir, func() { rings++ })
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	v := open()
	for _, name := range []string{"b", "a", "b"} {
		path, err := v.use(name)
		if err != nil || path != filepath.Join(dir, name) {
			t.Fatalf("%s: %s, %v", name, path, err)
		}
		if err := os.WriteFile(filepath.Join(path, "file"), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"", "../x", ".task-1", "a/b", ".."} {
		if _, err := v.use(name); err == nil {
			t.Errorf("%q became a volume", name)
		}
	}
	for _, left := range []string{".task-1", doomed + "x"} {
		if err := os.MkdirAll(filepath.Join(dir, left, "deep"), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if v = open(); !slices.Equal(v.list(), []string{"a", "b"}) || rings != 2 {
		t.Errorf("%q after %d rings", v.list(), rings)
	}
	used := api.Errorf(api.Conflict, "", "in use")
	if err := v.remove("a", func() error { return used }); err != used {
		t.Errorf("remove: %v", err)
	}
	if err := v.remove("a", func() error { return nil }); err != nil || !slices.Equal(v.list(), []string{"b"}) || rings != 3 {
		t.Errorf("%q after %d rings, %v", v.list(), rings, err)
	}
	if err := v.remove("a", func() error { return nil }); api.KindOf(err) != api.NotFound {
		t.Errorf("removed twice: %v", err)
	}
	if _, err := v.use("a"); err != nil { // a new one
		t.Fatal(err)
	}
	entries, err := os.ReadDir(filepath.Join(dir, "a"))
	if err != nil || len(entries) != 0 {
		t.Errorf("the new volume holds %v, %v", entries, err)
	}
	left, err := os.ReadDir(dir)
	if err != nil || len(left) != 3 { // a, b, and a task's own
		t.Errorf("left are %v, %v", left, err)
	}
}

// What a board reports is bounded, whatever templates make of names.
func TestVolumesThatAreReportedAreBounded(t *testing.T) {
	v, err := openVolumes(t.TempDir(), func() {})
	if err != nil {
		t.Fatal(err)
	}
	for i := range 200 {
		if _, err := v.use(fmt.Sprintf("%s%03d", strings.Repeat("v", 97), i)); err != nil {
			t.Fatal(err)
		}
	}
	if list := v.list(); len(list) != api.MaxVolumes/100 {
		t.Errorf("%d are reported", len(list))
	}
}
