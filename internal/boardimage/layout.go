// Package boardimage knows how a card is laid out: which partition is what, how
// the partition table is read and written, and how files of the boot partition
// are exchanged. The image's builder, the board at its first boot, `edgectl
// flash` and the emulated fleets share it.
//
// It does not know what is in a system, nor how a board is configured.
package boardimage

import (
	"encoding/binary"
	"errors"
	"fmt"
)

const (
	// SectorSize of everything here; cards with larger ones say 512 too.
	SectorSize = 512
	mib        = 1 << 20 / SectorSize // in sectors
)

// Partitions of a card, as they are numbered. A system is read-only; a board
// runs one of the two, an upgrade is written into the other.
const (
	Boot  = 1 // FAT32: firmware, kernels, edge.yaml
	SlotA = 2
	SlotB = 3
	Data  = 4 // ext4; made and grown by the board itself
)

// Signature marks our cards among all disks: the disk signature of the MBR.
const Signature uint32 = 0xed6e5a01

// Fixed places and sizes, in sectors. Partitions begin at a multiple of 4 MiB,
// the size of what a card erases at once.
const (
	bootStart = 4 * mib
	bootSize  = 288 * mib // the least with clusters of 4 KiB is 260 MB
	slotSize  = 384 * mib
	dataStart = bootStart + bootSize + 2*slotSize
	// minData is the least data partition that a board is of use with.
	minData = 512 * mib
)

// MinCard is the smallest card that the image fits on, in bytes.
const MinCard = int64(dataStart+minData) * SectorSize

// ImageSize is how much of a card an image fills, in bytes: slot B and the data
// partition are not in it.
const ImageSize = int64(bootStart+bootSize+slotSize) * SectorSize

// Types of partitions (MBR).
const (
	typeEmpty = 0x00
	typeFAT32 = 0x0c
	typeLinux = 0x83
)

// Partition is an entry of the table, in sectors. The zero value is an empty one.
type Partition struct {
	Type        byte
	Active      bool
	Start, Size uint32
}

// Offset is where it begins, Bytes how much it holds.
func (p Partition) Offset() int64 { return int64(p.Start) * SectorSize }
func (p Partition) Bytes() int64  { return int64(p.Size) * SectorSize }
func (p Partition) Empty() bool   { return p.Type == typeEmpty }

// Table is an MBR's partition table; partition n is at n-1.
type Table struct {
	Signature  uint32
	Partitions [4]Partition
}

// Partition n, counted from 1 as the kernel does.
func (t Table) Partition(n int) Partition { return t.Partitions[n-1] }

// New is the table of an image: the data partition is the board's to make.
func New() Table {
	return Table{Signature: Signature, Partitions: [4]Partition{
		{Type: typeFAT32, Active: true, Start: bootStart, Size: bootSize},
		{Type: typeLinux, Start: bootStart + bootSize, Size: slotSize},
		{Type: typeLinux, Start: bootStart + bootSize + slotSize, Size: slotSize},
	}}
}

// ErrNotOurs is what a disk is that holds no card of ours.
var ErrNotOurs = errors.New("no card of Edgeswarm")

// Parse reads the first sector of a disk.
func Parse(sector []byte) (Table, error) {
	var t Table
	if len(sector) < SectorSize || sector[510] != 0x55 || sector[511] != 0xaa {
		return t, fmt.Errorf("%w: it has no partition table", ErrNotOurs)
	}
	t.Signature = binary.LittleEndian.Uint32(sector[440:])
	if t.Signature != Signature {
		return t, fmt.Errorf("%w: its signature is %08x, not %08x", ErrNotOurs, t.Signature, Signature)
	}
	for i := range t.Partitions {
		e := sector[446+16*i:]
		t.Partitions[i] = Partition{Active: e[0]&0x80 != 0, Type: e[4], Start: binary.LittleEndian.Uint32(e[8:]), Size: binary.LittleEndian.Uint32(e[12:])}
	}
	return t, nil
}

// Write puts the table into a disk's first sector, and leaves what else is in it.
func (t Table) Write(sector []byte) {
	binary.LittleEndian.PutUint32(sector[440:], t.Signature)
	for i, p := range t.Partitions {
		e := sector[446+16*i : 446+16*(i+1)]
		clear(e)
		if p.Empty() {
			continue
		}
		if p.Active {
			e[0] = 0x80
		}
		e[4] = p.Type
		copy(e[1:4], beyondCHS)
		copy(e[5:8], beyondCHS)
		binary.LittleEndian.PutUint32(e[8:], p.Start)
		binary.LittleEndian.PutUint32(e[12:], p.Size)
	}
	sector[510], sector[511] = 0x55, 0xaa
}

// beyondCHS is the address of a sector that cylinders and heads can't tell.
var beyondCHS = []byte{0xfe, 0xff, 0xff}

// DataFor is the data partition that a card of that many bytes has room for.
func DataFor(card int64) (Partition, error) {
	if card < MinCard {
		return Partition{}, fmt.Errorf("the card holds %d MB and needs %d MB: use a larger one", card/1e6, (MinCard+1e6-1)/1e6)
	}
	end := min(card/SectorSize, 1<<32-1) // what an MBR can tell: 2 TiB
	end -= end % (4 * mib)
	return Partition{Type: typeLinux, Start: dataStart, Size: uint32(end - dataStart)}, nil
}
