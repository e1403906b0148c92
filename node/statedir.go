package node

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/edgeswarm/edgeswarm/internal/host"
)

// stateVersion is the format of the state directory that this build writes.
// It reads that one and, by migration, older ones; of a newer one it reads
// nothing: a downgrade keeps the state untouched and says so.
const stateVersion = 1

// stateDir is everything of a board that must last: a folder for each room,
// and a VERSION.
type stateDir struct {
	path string
	lock *os.File
}

// openStateDir makes or opens the directory and locks it against another edged.
func openStateDir(path string) (*stateDir, error) {
	if err := os.MkdirAll(path, 0o700); err != nil {
		return nil, fmt.Errorf("open state directory: %w", err)
	}
	lock, err := lockDir(path)
	if errors.Is(err, errInUse) {
		return nil, fmt.Errorf("state directory %s is in use: another edged runs on it; stop that one, or give this one its own --state-dir", path)
	}
	if err != nil {
		return nil, fmt.Errorf("open state directory: %w", err)
	}
	if err := checkVersion(path); err != nil {
		lock.Close()
		return nil, err
	}
	return &stateDir{path: path, lock: lock}, nil
}

var errInUse = errors.New("another edged runs on it")

// lockDir keeps a directory for this process until the file is closed.
func lockDir(path string) (*os.File, error) {
	lock, err := os.OpenFile(filepath.Join(path, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		lock.Close()
		return nil, errInUse
	}
	return lock, nil
}

func checkVersion(path string) error {
	file := filepath.Join(path, "VERSION")
	raw, err := os.ReadFile(file)
	if errors.Is(err, os.ErrNotExist) {
		return host.WriteFile(file, []byte(strconv.Itoa(stateVersion)+"\n"), 0o600)
	}
	if err != nil {
		return fmt.Errorf("read state version: %w", err)
	}
	version, err := strconv.Atoi(strings.TrimSpace(string(raw)))
	switch {
	case err != nil || version < 1:
		return fmt.Errorf("%s says %q, which is no version: restore the directory, or move it away to begin anew", file, strings.TrimSpace(string(raw)))
	case version > stateVersion:
		return fmt.Errorf("state directory %s has version %d and this edged reads up to %d: install the newer edged again, or move the directory away to begin anew", path, version, stateVersion)
	default:
		return nil
	}
}

// room is a room's own folder.
func (d *stateDir) room(name string) string { return filepath.Join(d.path, name) }

// has reports whether a room has a folder with anything in it.
func (d *stateDir) has(name string) bool {
	entries, err := os.ReadDir(d.room(name))
	return err == nil && len(entries) > 0
}

// forget removes rooms' folders: what belongs to a membership that has ended.
func (d *stateDir) forget(rooms ...string) error {
	for _, name := range rooms {
		if err := os.RemoveAll(d.room(name)); err != nil {
			return fmt.Errorf("forget %s: %w", name, err)
		}
	}
	return host.SyncDir(d.path)
}

// Close lets another edged in.
func (d *stateDir) Close() error { return d.lock.Close() }
