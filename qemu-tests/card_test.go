package qemutests

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/crypto/ssh"

	"github.com/edgeswarm/edgeswarm/identity"
	"github.com/edgeswarm/edgeswarm/qemu-tests/board"
	"github.com/edgeswarm/edgeswarm/qemu-tests/disk"
)

// cardSize is that of the boards' cards: a power of two, as QEMU's SD cards are.
const cardSize = 2 << 30

// bootPartition is where the image has its FAT partition, for mtools.
const bootPartition = 4 << 20

// flash writes an image and its settings into a file, as a user writes a card,
// once for each architecture of a fleet: all its cards are written alike.
func (f *fleet) flash(arch string) string {
	f.t.Helper()
	written := filepath.Join(f.dir, arch+".img")
	if _, err := os.Stat(written); err == nil {
		return written
	}
	image := filepath.Join(dist, "edgeswarm-"+arch+".img.xz")
	if _, err := os.Stat(image); err != nil {
		f.t.Fatalf("%v: run `make image`", err)
	}
	run(f.t, filepath.Join(bin(), "edgectl"), "flash", "--image", image, "--device", written, "--size", fmt.Sprint(cardSize), "--fleet-key", f.fleetKey,
		"--ssh-key", strings.TrimSpace(string(ssh.MarshalAuthorizedKey(f.key.PublicKey()))))
	return written
}

// card is a new card of a kind of board, as all others of it.
func (f *fleet) card(kind board.Kind) *disk.Card {
	f.t.Helper()
	f.cards++
	c, err := disk.New(disk.Config{
		Image: f.flash(kind.Architecture()), Size: cardSize, Seed: *seed + uint64(f.cards),
		Overlay: filepath.Join(f.dir, fmt.Sprint("card", f.cards, ".overlay")),
	})
	f.do(err)
	return c
}

// kernel takes from the card what a kind's firmware would, where QEMU has not
// that firmware.
func (f *fleet) kernel(kind board.Kind) board.Kernel {
	f.t.Helper()
	if kind != board.RaspberryPi3 {
		return board.Kernel{}
	}
	partition := fmt.Sprintf("%s@@%d", f.flash(kind.Architecture()), bootPartition)
	names := []string{"vmlinuz", "initrd.img", "bcm2837-rpi-3-b.dtb", "cmdline.txt"}
	for i, name := range names {
		names[i] = filepath.Join(f.dir, name)
		run(f.t, "mcopy", "-n", "-i", partition, "::a/"+name, names[i])
	}
	arguments, err := os.ReadFile(names[3])
	f.do(err)
	return board.Kernel{Image: names[0], Initrd: names[1], DeviceTree: names[2], Args: strings.TrimSpace(string(arguments))}
}

// newKey is a fleet's key, as `edgectl fleet-key` makes it.
func newKey() string { return identity.GenerateFleetKey().Reveal() }
