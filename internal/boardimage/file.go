package boardimage

import (
	"errors"
	"fmt"
	iofs "io/fs"
	"os"
	"path"
	"strings"

	diskfile "github.com/diskfs/go-diskfs/backend/file"
	"github.com/diskfs/go-diskfs/filesystem/fat32"
)

// openBoot opens the file system of the boot partition of a disk or image.
func openBoot(disk *os.File, readOnly bool) (*fat32.FileSystem, error) {
	sector := make([]byte, SectorSize)
	if _, err := disk.ReadAt(sector, 0); err != nil {
		return nil, fmt.Errorf("read the partition table: %w", err)
	}
	table, err := Parse(sector)
	if err != nil {
		return nil, err
	}
	p := table.Partition(Boot)
	fs, err := fat32.Read(diskfile.New(disk, readOnly), p.Bytes(), p.Offset(), SectorSize)
	if err != nil {
		return nil, fmt.Errorf("open the boot partition: %w", err)
	}
	return fs, nil
}

// WriteBootFile replaces a file on the boot partition of a disk or image.
func WriteBootFile(disk *os.File, name string, data []byte) error {
	fs, err := openBoot(disk, false)
	if err != nil {
		return err
	}
	if there, err := find(fs, name); err != nil {
		return err
	} else if there != nil {
		if err := fs.Remove(name); err != nil {
			return fmt.Errorf("replace %s on the boot partition: %w", name, err)
		}
	}
	f, err := fs.OpenFile(name, os.O_CREATE|os.O_RDWR)
	if err != nil {
		return fmt.Errorf("make %s on the boot partition: %w", name, err)
	}
	if _, err := f.Write(data); err != nil {
		return fmt.Errorf("write %s to the boot partition: %w", name, err)
	}
	return errors.Join(f.Close(), fs.Close())
}

// ReadBootFile reads a file of the boot partition of a disk or image.
func ReadBootFile(disk *os.File, name string) ([]byte, error) {
	fs, err := openBoot(disk, true)
	if err != nil {
		return nil, err
	}
	entry, err := find(fs, name)
	if err != nil {
		return nil, err
	}
	if entry == nil {
		return nil, fmt.Errorf("open %s of the boot partition: %w", name, os.ErrNotExist)
	}
	info, err := entry.Info()
	if err != nil {
		return nil, err
	}
	f, err := fs.OpenFile(name, os.O_RDONLY)
	if err != nil {
		return nil, fmt.Errorf("open %s of the boot partition: %w", name, err)
	}
	defer f.Close()
	data := make([]byte, info.Size()) // at once: the library reads on past the end of what is read in parts
	if n, err := f.Read(data); n < len(data) {
		return nil, fmt.Errorf("read %s of the boot partition: %d of %d bytes: %w", name, n, len(data), err)
	}
	return data, nil
}

// find is a file's entry in its folder, nil if there is none: the library's own
// errors don't tell.
func find(fs *fat32.FileSystem, name string) (iofs.DirEntry, error) {
	entries, err := fs.ReadDir(path.Dir(name))
	if err != nil {
		return nil, fmt.Errorf("list the boot partition: %w", err)
	}
	for _, e := range entries {
		if strings.EqualFold(e.Name(), path.Base(name)) {
			return e, nil
		}
	}
	return nil, nil
}
