package consensus

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// version of the directory's layout: raft.db as in log.go and vote.go, and
// snapshots/ as hashicorp/raft's FileSnapshotStore keeps it. A later program
// that can't keep to it raises it, and this one then refuses.
const version = 1

// openDir makes the directory, or checks that this program can read it.
func openDir(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("make state directory: %w", err)
	}
	path := filepath.Join(dir, "VERSION")
	raw, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return writeVersion(dir, path)
	} else if err != nil {
		return fmt.Errorf("read state version: %w", err)
	}
	found, err := strconv.Atoi(strings.TrimSpace(string(raw)))
	switch {
	case err != nil || found < 1:
		return fmt.Errorf("read state version: %s: %w: not a version number", path, ErrCorrupt)
	case found > version:
		return fmt.Errorf("open %s: %w: it is of version %d and this program reads up to %d: install the newer one again", dir, ErrVersion, found, version)
	}
	return nil
}

func writeVersion(dir, path string) error {
	f, err := os.CreateTemp(dir, ".version-*")
	if err != nil {
		return fmt.Errorf("write state version: %w", err)
	}
	_, err = fmt.Fprintln(f, version)
	err = errors.Join(err, f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err == nil {
		err = errors.Join(syncDir(dir), syncDir(filepath.Dir(dir)))
	}
	if err != nil {
		_ = os.Remove(f.Name())
		return fmt.Errorf("write state version: %w", err)
	}
	return nil
}

func syncDir(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}
