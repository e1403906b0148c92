package qemutests

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"testing"

	"github.com/edgeswarm/edgeswarm/internal/boardimage"
	"github.com/edgeswarm/edgeswarm/qemu-tests/board"
	"github.com/edgeswarm/edgeswarm/qemu-tests/disk"
)

// settingsFile is where a card's settings are, on its boot partition.
const settingsFile = "edge.yaml"

// TestDataPartition is the life of one card's data: it takes the room that the
// card has, also after it was copied to a larger card; where it can't be mended
// without a loss it is left alone, and that is told; and it is made anew when the card says so.
func TestDataPartition(t *testing.T) {
	f := newFleet(t)
	b := f.plug(board.Virt, f.card(board.Virt))
	f.power(b)
	f.up(b)
	f.whole(booting, b)
	f.filled(b)
	who := f.id(b)
	f.do(b.ShutDown(f.within(patient)))

	larger := f.copied(b, "larger", 2*cardSize, nil)
	f.power(larger)
	f.up(larger)
	f.boards = []*member{b, larger}
	f.whole(booting, larger)
	f.filled(larger)
	if got := f.id(larger); got != who {
		t.Errorf("on a larger card %s is %s", who, got)
	}
	f.do(larger.ShutDown(f.within(patient)))

	hurt := f.copied(larger, "hurt", 2*cardSize, func(image string) {
		for _, command := range []string{"clri <2>", "set_super_value state 2"} { // 2: the kernel met errors
			run(t, "debugfs", "-w", "-R", command, fmt.Sprintf("%s?offset=%d", image, dataOffset(t, image)))
		}
	})
	f.power(hurt)
	console, err := hurt.Console()
	f.do(err)
	f.awaits(console, `trouble +the data partition /dev/vda4 fails its check .*nothing was changed`)
	f.up(hurt)
	if said := f.edgectl(hurt).Try(nil, "node", "ls"); said.Code == 0 {
		t.Errorf("without its data it is a member:\n%s", said.Out)
	}
	f.do(hurt.ShutDown(f.within(patient)))
	if state := run(t, "dumpe2fs", "-h", fmt.Sprintf("%s?offset=%d", f.exported(hurt), dataOffset(t, f.exported(hurt)))); !regexp.MustCompile(`Filesystem state: +not clean with errors`).MatchString(state) {
		t.Errorf("its data partition was touched:\n%s", state)
	}

	erased := f.copied(hurt, "erased", 2*cardSize, func(image string) { f.tell(image, "on-damage: erase\n") })
	f.power(erased)
	f.up(erased)
	f.whole(booting, erased)
	if got := f.id(erased); got == who {
		t.Error("all its data was to be lost, and it is who it was")
	}
}

// filled checks that a board's data has the room that its card has.
func (f *fleet) filled(b *member) {
	f.t.Helper()
	partition, err := boardimage.DataFor(b.Card().Size())
	f.do(err)
	blocks, err := strconv.ParseInt(f.shell(b, "df -P -k /data | awk 'NR == 2 { print $2 }'"), 10, 64)
	f.do(err)
	if have, want := blocks<<10, partition.Bytes(); have > want || have < want-want/16 { // inodes and journal take some
		f.t.Errorf("%s has %d MiB for its data, its card %d MiB", b.Name(), have>>20, want>>20)
	}
}

// id is who a board is.
func (f *fleet) id(b *member) string {
	f.t.Helper()
	return f.shell(b, "edgectl status --format '{{.NodeID}}'")
}

// awaits waits for words on a board's console.
func (f *fleet) awaits(console *board.Console, words string) {
	f.t.Helper()
	ctx, cancel := context.WithTimeout(f.life, booting)
	defer cancel()
	_, err := console.Await(ctx, regexp.MustCompile(words))
	f.do(err)
}

// exported is a board's card as a file.
func (f *fleet) exported(b *member) string {
	f.t.Helper()
	image := filepath.Join(f.dir, b.Name()+".img")
	f.do(b.Card().Export(image))
	return image
}

// copied is a board that boots a copy of another's card, which may be changed on
// the way.
func (f *fleet) copied(b *member, name string, size int64, change func(image string)) *member {
	f.t.Helper()
	image := f.exported(b)
	if change != nil {
		change(image)
	}
	card, err := disk.New(disk.Config{Image: image, Size: size, Overlay: filepath.Join(f.dir, name+".overlay"), Seed: *seed})
	f.do(err)
	return f.plug(b.kind, card)
}

// tell adds lines to the settings of a card.
func (f *fleet) tell(image, lines string) {
	f.t.Helper()
	card, err := os.OpenFile(image, os.O_RDWR, 0)
	f.do(err)
	defer card.Close()
	settings, err := boardimage.ReadBootFile(card, settingsFile)
	f.do(err)
	f.do(boardimage.WriteBootFile(card, settingsFile, append(settings, []byte("\n"+lines)...)))
}

// dataOffset is where a card's data partition begins.
func dataOffset(t *testing.T, image string) int64 {
	t.Helper()
	table, err := boardimage.Read(image)
	if err != nil {
		t.Fatal(err)
	}
	return table.Partition(boardimage.Data).Offset()
}
