package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/edgeswarm/edgeswarm/internal/boardimage"
)

func write(t *testing.T, path string, data []byte) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestTheKernelsArgumentsNameTheSlot(t *testing.T) {
	for arguments, want := range map[string]int{"quiet edge.slot=b panic=10\n": boardimage.SlotB, "edge.slot=a": boardimage.SlotA, "quiet": boardimage.SlotA} {
		if got, err := slotOf(arguments); got != want || err != nil {
			t.Errorf("%q: %d, %v", arguments, got, err)
		}
	}
	if _, err := slotOf("edge.slot=c"); err == nil {
		t.Error("a slot that there is not")
	}
}

func TestTheCardIsFoundAmongOtherDisks(t *testing.T) {
	sys, dev := t.TempDir(), t.TempDir()
	ours := make([]byte, boardimage.SectorSize)
	boardimage.New().Write(ours)
	for name, sector := range map[string][]byte{"sda": make([]byte, boardimage.SectorSize), "sdb": ours, "sr0": nil} {
		write(t, filepath.Join(sys, name, "size"), []byte("1"))
		write(t, filepath.Join(dev, name), sector)
	}
	write(t, filepath.Join(sys, "sdb2", "partition"), []byte("2"))
	write(t, filepath.Join(dev, "sdb2"), ours)
	if disk, seen := findCard(sys, dev); disk != filepath.Join(dev, "sdb") || !strings.Contains(strings.Join(seen, " "), "sda") {
		t.Errorf("found %q; told of %v", disk, seen)
	}
	if err := os.Remove(filepath.Join(dev, "sdb2")); err != nil {
		t.Fatal(err)
	}
	if disk, _ := findCard(sys, dev); disk != "" {
		t.Errorf("found %q before the kernel knows its partitions", disk)
	}
}

func TestDriversAreFoundByDeviceWithAllTheyNeed(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "modules.dep"), []byte("kernel/a/disk-driver.ko: kernel/b/bus.ko kernel/c/core.ko\nkernel/b/bus.ko: kernel/c/core.ko\nkernel/c/core.ko:\n"))
	write(t, filepath.Join(dir, "modules.alias"), []byte("# comment\nalias virtio:d00000002v* disk_driver\nalias of:N*T*Cbrcm,sdhost bus\nalias pci:v0000[12]*d* core\n"))
	m, err := openModules(dir)
	if err != nil {
		t.Fatal(err)
	}
	for device, want := range map[string][]string{
		"virtio:d00000002v00001AF4":  {"kernel/a/disk-driver.ko"},
		"virtio:d00000003v00001AF4":  nil,
		"of:NmmcT(null)Cbrcm,sdhost": {"kernel/b/bus.ko"},
		"pci:v00001AF4d00001042":     {"kernel/c/core.ko"},
	} {
		if got := m.match(device); !slices.Equal(got, want) {
			t.Errorf("%s: %v, want %v", device, got, want)
		}
	}
	// The files are not there: loading stops at the first, the deepest need.
	if err := m.load("kernel/a/disk-driver.ko"); err == nil || !strings.Contains(err.Error(), "core.ko") {
		t.Errorf("loaded first: %v", err)
	}
}
