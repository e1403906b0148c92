package flash

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/edgeswarm/edgeswarm/internal/boardimage"
)

// target is an open card, or a file in its place.
type target struct {
	*os.File
	blank bool // all of it reads as zeros
	disk  bool
}

// openTarget judges the target and opens it. Nothing of it is changed.
func openTarget(cfg Config) (*target, error) {
	info, err := os.Stat(cfg.Target)
	switch {
	case errors.Is(err, os.ErrNotExist) && strings.HasPrefix(cfg.Target, "/dev/"):
		return nil, fmt.Errorf("%s is not there: plug the card in, and see its name with lsblk", cfg.Target)
	case errors.Is(err, os.ErrNotExist):
		return newFile(cfg)
	case err != nil:
		return nil, fmt.Errorf("look at the target: %w", err)
	case info.Mode().IsRegular():
		return nil, fmt.Errorf("%s is there already: remove it, or name another file", cfg.Target)
	case info.Mode()&os.ModeDevice == 0 || info.Mode()&os.ModeCharDevice != 0:
		return nil, fmt.Errorf("%s is neither a disk nor a file to be made: name a disk such as /dev/sdb", cfg.Target)
	}
	if err := refuse(cfg.Target, cfg.Force); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(cfg.Target, os.O_RDWR|exclusive, 0)
	if err != nil {
		return nil, fmt.Errorf("open the disk: %w%s", err, permissionHint(err))
	}
	size, err := f.Seek(0, io.SeekEnd)
	if err == nil {
		_, err = boardimage.DataFor(size)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w", cfg.Target, err), f.Close())
	}
	return &target{File: f, disk: true}, nil
}

func newFile(cfg Config) (*target, error) {
	size := cfg.FileSize
	if size == 0 {
		size = DefaultFileSize
	}
	if _, err := boardimage.DataFor(size); err != nil {
		return nil, fmt.Errorf("%s: %w", cfg.Target, err)
	}
	f, err := os.OpenFile(cfg.Target, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600) // it will hold the fleet's key
	if err != nil {
		return nil, fmt.Errorf("make the file: %w", err)
	}
	if err := f.Truncate(size); err != nil {
		return nil, errors.Join(fmt.Errorf("make the file: %w", err), f.Close())
	}
	return &target{File: f, blank: true}, nil
}

func permissionHint(err error) string {
	if errors.Is(err, os.ErrPermission) {
		return "; run edgectl flash as root"
	}
	return ""
}

// forgetData takes away the beginning of what may be a data partition of the
// card's former life, so that its board starts anew.
func (t *target) forgetData(table boardimage.Table) error {
	system := table.Partition(boardimage.SlotB)
	if _, err := t.WriteAt(make([]byte, chunk), system.Offset()+system.Bytes()); err != nil {
		return fmt.Errorf("take the old data partition away: %w", err)
	}
	return nil
}

// settle makes what was written be on the disk, and this machine forget it, so
// that what is read next is what the disk holds.
func (t *target) settle() error {
	if err := t.Sync(); err != nil {
		return err
	}
	forget(t.File)
	return nil
}

// finish makes the settings last too, and the system look at the disk anew.
func (t *target) finish() error {
	if err := t.Sync(); err != nil {
		return fmt.Errorf("write the settings: %w", err)
	}
	if t.disk {
		reread(t.File)
	}
	return nil
}
