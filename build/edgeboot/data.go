package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/edgeswarm/edgeswarm/internal/boardimage"
	"github.com/edgeswarm/edgeswarm/internal/settings"
)

// dataLabel marks the file system of a data partition of ours.
const dataLabel = "edge-data"

// mountData makes the data partition be there, as large as the card allows,
// sound and mounted. It is made only where the table has none: then what the
// card holds there was given up by whoever flashed it, unless it is a data
// partition of ours, which is kept. It is never made anew for another reason.
func mountData(disk, target, onDamage string) error {
	table, err := boardimage.Read(disk)
	if err != nil {
		return err
	}
	card, err := cardSize(disk)
	if err != nil {
		return err
	}
	want, err := boardimage.DataFor(card)
	if err != nil {
		return err
	}
	have := table.Partition(boardimage.Data)
	device := boardimage.Device(disk, boardimage.Data)
	grown := false
	switch {
	case have.Empty():
		if err := partition(disk, unix.BLKPG_ADD_PARTITION, want); err != nil {
			return err
		}
		if err := makeFileSystem(device); err != nil {
			return err
		}
		grown = true
	case have.Start == want.Start && have.Size < want.Size:
		if err := partition(disk, unix.BLKPG_RESIZE_PARTITION, want); err != nil {
			return err
		}
		grown = true
	}
	if err := sound(device, grown, onDamage); err != nil {
		return err
	}
	if grown {
		if out, err := exec.Command("resize2fs", device).CombinedOutput(); err != nil {
			return fmt.Errorf("grow the data partition %s: %w: %s", device, err, lastLine(out))
		}
		// The table last: a plug pulled before it finds all as it was.
		table.Partitions[boardimage.Data-1] = want
		if err := writeTable(disk, table); err != nil {
			return err
		}
	}
	mount := func() error {
		return unix.Mount(device, target, "ext4", unix.MS_NOATIME|unix.MS_NODEV|unix.MS_NOSUID, "errors=remount-ro")
	}
	if err := mount(); err != nil { // it looked sound
		if err := mend(device, onDamage, err.Error()); err != nil {
			return err
		}
		if err := mount(); err != nil {
			return fmt.Errorf("mount the data partition %s: %w", device, err)
		}
	}
	return nil
}

func cardSize(disk string) (int64, error) {
	raw, err := os.ReadFile(filepath.Join("/sys/class/block", filepath.Base(disk), "size"))
	if err != nil {
		return 0, err
	}
	sectors, err := strconv.ParseInt(strings.TrimSpace(string(raw)), 10, 64)
	return sectors * boardimage.SectorSize, err
}

// partition tells the kernel of the data partition. The card is not written.
func partition(disk string, op int32, p boardimage.Partition) error {
	f, err := os.OpenFile(disk, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	arg := unix.BlkpgPartition{Start: p.Offset(), Length: p.Bytes(), Pno: boardimage.Data}
	call := unix.BlkpgIoctlArg{Op: op, Datalen: int32(unsafe.Sizeof(arg)), Data: (*byte)(unsafe.Pointer(&arg))}
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, f.Fd(), unix.BLKPG, uintptr(unsafe.Pointer(&call))); errno != 0 {
		return fmt.Errorf("tell the kernel of the data partition on %s: %w", disk, errno)
	}
	return nil
}

func writeTable(disk string, t boardimage.Table) error {
	f, err := os.OpenFile(disk, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	sector := make([]byte, boardimage.SectorSize)
	if _, err := f.ReadAt(sector, 0); err != nil {
		return err
	}
	t.Write(sector)
	if _, err := f.WriteAt(sector, 0); err != nil {
		return fmt.Errorf("write the partition table of %s: %w", disk, err)
	}
	return f.Sync()
}

// makeFileSystem formats a partition that the table does not have yet.
func makeFileSystem(device string) error {
	if label, err := labelOf(device); err == nil && label == dataLabel {
		return nil // of the card's former life
	}
	return format(device)
}

func format(device string) error {
	cmd := exec.Command("mkfs.ext4", "-q", "-F", "-L", dataLabel, "-m", "1", "-E", "nodiscard,lazy_itable_init=1,lazy_journal_init=1", device)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("make the data partition %s: %w: %s", device, err, lastLine(out))
	}
	return nil
}

// labelOf reads the name of an ext4 file system (its superblock, at 1024).
func labelOf(device string) (string, error) {
	f, err := os.Open(device)
	if err != nil {
		return "", err
	}
	defer f.Close()
	return labelIn(f)
}

func labelIn(r io.ReaderAt) (string, error) {
	block := make([]byte, 1024)
	if _, err := r.ReadAt(block, 1024); err != nil {
		return "", err
	}
	if block[56] != 0x53 || block[57] != 0xef {
		return "", errors.New("no ext4 file system")
	}
	label, _, _ := bytes.Cut(block[120:136], []byte{0})
	return string(label), nil
}

// sound checks a data partition, in full before it is grown, and mends what a
// pulled plug may leave of it.
func sound(device string, full bool, onDamage string) error {
	args := []string{"-p", device}
	if full {
		args = []string{"-f", "-p", device}
	}
	out, err := exec.Command("e2fsck", args...).CombinedOutput()
	if mended(err) {
		return nil
	}
	return mend(device, onDamage, lastLine(out))
}

// mend does what the card says with a data partition that can't be mended
// without a loss: nothing, unless it says so.
func mend(device, onDamage, why string) error {
	switch onDamage {
	case settings.DamageRepair:
		if out, err := exec.Command("e2fsck", "-f", "-y", device).CombinedOutput(); !mended(err) {
			return fmt.Errorf("repair the data partition %s: %w: %s; put `on-damage: erase` into %s to lose all on it", device, err, lastLine(out), cardFile)
		}
		return nil
	case settings.DamageErase:
		return format(device)
	}
	return fmt.Errorf("the data partition %s fails its check (%s): nothing was changed; copy from it what you need, then put `on-damage: repair` or, to lose all on it, `on-damage: erase` into %s", device, why, cardFile)
}

// mended reads how e2fsck ended: 1 is mended, 2 as well, and wants a restart
// if the partition is in use, which it is not.
func mended(err error) bool {
	var exit *exec.ExitError
	return err == nil || errors.As(err, &exit) && exit.ExitCode() >= 0 && exit.ExitCode() <= 3
}

func lastLine(out []byte) string {
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	return lines[len(lines)-1]
}
