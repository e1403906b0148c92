package boardimage

import (
	"fmt"
	"os"
)

// Read reads the table of a disk or an image.
func Read(disk string) (Table, error) {
	f, err := os.Open(disk)
	if err != nil {
		return Table{}, err
	}
	defer f.Close()
	sector := make([]byte, SectorSize)
	if _, err := f.ReadAt(sector, 0); err != nil {
		return Table{}, fmt.Errorf("read the partition table of %s: %w", disk, err)
	}
	return Parse(sector)
}

// Device is how Linux names a disk's partition: vda2, mmcblk0p2.
func Device(disk string, n int) string {
	if last := disk[len(disk)-1]; last >= '0' && last <= '9' {
		return fmt.Sprintf("%sp%d", disk, n)
	}
	return fmt.Sprintf("%s%d", disk, n)
}
