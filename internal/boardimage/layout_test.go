package boardimage

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	diskfile "github.com/diskfs/go-diskfs/backend/file"
	"github.com/diskfs/go-diskfs/filesystem/fat32"
)

func TestATableReadsBackAndLeavesTheBootCodeAlone(t *testing.T) {
	sector := bytes.Repeat([]byte{0xab}, SectorSize)
	want := New()
	want.Partitions[Data-1] = Partition{Type: typeLinux, Start: dataStart, Size: 12345}
	want.Write(sector)
	got, err := Parse(sector)
	if err != nil || got != want {
		t.Fatalf("got %+v, %v; want %+v", got, err, want)
	}
	if !bytes.Equal(sector[:440], bytes.Repeat([]byte{0xab}, 440)) {
		t.Error("the boot code was changed")
	}
}

func TestPartitionsFollowOneAnotherAndEndWithTheImage(t *testing.T) {
	table := New()
	if !table.Partition(Data).Empty() {
		t.Error("an image has a data partition: a board would take it for its own")
	}
	table.Partitions[Data-1], _ = DataFor(MinCard)
	for n := Boot; n <= Data; n++ {
		p := table.Partition(n)
		if p.Offset()%(4<<20) != 0 {
			t.Errorf("partition %d begins inside of an erase block", n)
		}
		if n > Boot {
			if before := table.Partition(n - 1); before.Offset()+before.Bytes() != p.Offset() {
				t.Errorf("partition %d does not begin where %d ends", n, n-1)
			}
		}
	}
	if a := table.Partition(SlotA); a.Offset()+a.Bytes() != ImageSize {
		t.Errorf("an image is %d bytes and slot A ends at %d", ImageSize, a.Offset()+a.Bytes())
	}
	if table.Partition(SlotA).Size != table.Partition(SlotB).Size {
		t.Error("an upgrade of slot A may not fit into slot B")
	}
}

func TestDisksOfOthersAreNotOurs(t *testing.T) {
	foreign := make([]byte, SectorSize)
	New().Write(foreign)
	foreign[440]++
	for name, sector := range map[string][]byte{"blank": make([]byte, SectorSize), "short": make([]byte, 100), "another's": foreign} {
		if _, err := Parse(sector); !errors.Is(err, ErrNotOurs) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestTheDataPartitionFillsTheCard(t *testing.T) {
	for _, card := range []int64{MinCard, 4e9, 32 << 30, 3 << 40} {
		p, err := DataFor(card)
		if err != nil {
			t.Fatal(err)
		}
		if end := p.Offset() + p.Bytes(); end > card || card < 2<<40 && card-end >= 4<<20 {
			t.Errorf("on a card of %d bytes it ends at %d", card, end)
		}
	}
	if _, err := DataFor(MinCard - 1); err == nil || !strings.Contains(err.Error(), "use a larger one") {
		t.Errorf("a card that is too small: %v", err)
	}
}

func TestDeviceNames(t *testing.T) {
	for disk, want := range map[string]string{"/dev/vda": "/dev/vda4", "/dev/mmcblk0": "/dev/mmcblk0p4", "/dev/nvme0n1": "/dev/nvme0n1p4"} {
		if got := Device(disk, Data); got != want {
			t.Errorf("%s: %s", disk, got)
		}
	}
}

func TestFilesOfTheBootPartitionAreReplaced(t *testing.T) {
	disk, err := os.Create(filepath.Join(t.TempDir(), "disk"))
	if err != nil {
		t.Fatal(err)
	}
	defer disk.Close()
	if err := disk.Truncate(ImageSize); err != nil {
		t.Fatal(err)
	}
	sector := make([]byte, SectorSize)
	New().Write(sector)
	if _, err := disk.WriteAt(sector, 0); err != nil {
		t.Fatal(err)
	}
	p := New().Partition(Boot)
	if _, err := fat32.Create(diskfile.New(disk, false), p.Bytes(), p.Offset(), SectorSize, "EDGESWARM", true); err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{strings.Repeat("# long\n", 3000), "name: attic\n", ""} {
		if err := WriteBootFile(disk, "edge.yaml", []byte(text)); err != nil {
			t.Fatal(err)
		}
		if got, err := ReadBootFile(disk, "edge.yaml"); err != nil || string(got) != text {
			t.Errorf("wrote %d bytes, read %d, %v", len(text), len(got), err)
		}
	}
	if _, err := ReadBootFile(disk, "none"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a file that is not there: %v", err)
	}
}
