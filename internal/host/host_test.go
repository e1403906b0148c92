package host

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

func TestTheBoardIsDescribed(t *testing.T) {
	if p := Platform(); p.OS != "linux" || p.Architecture == "" || (p.Architecture == "arm") != (p.Variant != "") {
		t.Errorf("platform %+v", p)
	}
	if n, err := Memory(); err != nil || n < 64<<20 {
		t.Errorf("memory %d, %v", n, err)
	}
	first, err := BootID()
	if err != nil || len(first) < 32 {
		t.Errorf("boot ID %q, %v", first, err)
	}
	if second, _ := BootID(); second != first {
		t.Error("the boot ID changed within a boot")
	}
}

func TestWriteFileReplacesAsAWhole(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	for _, content := range []string{"first, and longer", "second"} {
		if err := WriteFile(path, []byte(content), 0o640); err != nil {
			t.Fatal(err)
		}
		if got, err := os.ReadFile(path); err != nil || string(got) != content {
			t.Errorf("%q, %v", got, err)
		}
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o640 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	// A file that can't be replaced keeps its content, and no scrap is left.
	dir := filepath.Join(t.TempDir(), "dir")
	if err := os.MkdirAll(filepath.Join(dir, "taken", "x"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := WriteFile(filepath.Join(dir, "taken"), nil, 0o600); err == nil {
		t.Error("a folder was replaced by a file")
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 1 {
		t.Errorf("%d entries, %v", len(entries), err)
	}
}

func TestNetNSLastsUntilItIsRemoved(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ns", "one")
	if IsNetNS(path) {
		t.Fatal("there before it was made")
	}
	for range 2 { // the second finds the first
		if err := NewNetNS(path); err != nil {
			t.Fatal(err)
		}
	}
	var own, made unix.Stat_t
	if err := errors.Join(unix.Stat("/proc/thread-self/ns/net", &own), unix.Stat(path, &made)); err != nil {
		t.Fatal(err)
	}
	if own.Ino == made.Ino || !IsNetNS(path) {
		t.Error("it is this thread's own namespace")
	}
	for range 2 {
		if err := RemoveNetNS(path); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("still there: %v", err)
	}
}

func TestTmpfsIsMountedOnce(t *testing.T) {
	path := filepath.Join(t.TempDir(), "memory")
	for range 2 {
		if err := Tmpfs(path, 1<<20); err != nil {
			t.Fatal(err)
		}
	}
	var fs unix.Statfs_t
	if err := unix.Statfs(path, &fs); err != nil || fs.Type != unix.TMPFS_MAGIC {
		t.Errorf("file system %#x, %v", fs.Type, err)
	}
	if err := unix.Unmount(path, 0); err != nil {
		t.Fatal(err)
	}
	if isMountPoint(path) {
		t.Error("it was mounted twice")
	}
}
