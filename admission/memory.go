package admission

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"sync"

	"github.com/edgeswarm/edgeswarm/api"
)

const (
	memoryFile    = "membership"
	memoryVersion = 1
)

// Remembered is what a board keeps of its memberships, so that it finds its
// fleet again without multicast, and never founds another one.
type Remembered struct {
	Version int
	// Veteran: has been a member once. Never cleared but by Memory.Clear.
	Veteran bool
	// Fleet is the last one that it was a member of.
	Fleet api.FleetID `json:",omitempty"`
	// Managers of that fleet and where they were last reached.
	Managers []api.ManagerAddr `json:",omitempty"`
	// Folded are fleets that gave way while it was their member, newest last.
	Folded []api.FleetID `json:",omitempty"`
}

// Memory keeps a Remembered in a file. Its methods may be called from any
// goroutine. It writes only what changed: an idle fleet writes nothing.
type Memory struct {
	path string

	mu  sync.Mutex
	now Remembered
}

// OpenMemory reads the memory in a directory, which it makes if need be.
func OpenMemory(dir string) (*Memory, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("open membership memory: %w", err)
	}
	m := &Memory{path: filepath.Join(dir, memoryFile), now: Remembered{Version: memoryVersion}}
	raw, err := os.ReadFile(m.path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return m, nil
	case err != nil:
		return nil, fmt.Errorf("open membership memory: %w", err)
	}
	if m.now, err = decodeMemory(raw); err != nil {
		return nil, fmt.Errorf("read %s: %w", m.path, err)
	}
	return m, nil
}

func decodeMemory(raw []byte) (Remembered, error) {
	var r Remembered
	if err := api.Decode(raw, &r); err != nil {
		return Remembered{}, fmt.Errorf("it is damaged: remove it if this board is still a member, or was never one: %w", err)
	}
	if r.Version < 1 || r.Version > memoryVersion {
		return Remembered{}, fmt.Errorf("it is of version %d and this edged knows %d: use the newer edged", r.Version, memoryVersion)
	}
	return r, nil
}

// Read answers what is remembered.
func (m *Memory) Read() Remembered {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.now
}

// Joined remembers that this board is a member of a fleet with such managers.
// An empty list leaves the managers of the same fleet as they were.
func (m *Memory) Joined(fleet api.FleetID, managers []api.ManagerAddr) error {
	return m.change(func(r *Remembered) {
		if fleet != r.Fleet || len(managers) > 0 {
			r.Managers = clipManagers(managers)
		}
		r.Veteran, r.Fleet = true, fleet
	})
}

// Folded remembers that a fleet of which this board was a member gave way.
func (m *Memory) Folded(fleet api.FleetID) error {
	return m.change(func(r *Remembered) {
		r.Veteran = true
		r.Folded = newest(append(slices.DeleteFunc(slices.Clone(r.Folded), func(f api.FleetID) bool { return f == fleet }), fleet), maxFolded)
	})
}

// Clear makes this a board that never was a member: by a person's wish only.
func (m *Memory) Clear() error {
	return m.change(func(r *Remembered) { *r = Remembered{Version: memoryVersion} })
}

func (m *Memory) change(edit func(*Remembered)) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	next := m.now
	edit(&next)
	if reflect.DeepEqual(next, m.now) {
		return nil
	}
	raw, err := api.Encode(next)
	if err == nil {
		err = replaceFile(m.path, raw)
	}
	if err != nil {
		return fmt.Errorf("write membership memory: %w", err)
	}
	m.now = next
	return nil
}

// replaceFile leaves either the old or the new content after a power cut.
func replaceFile(path string, data []byte) error {
	temp := path + ".new"
	f, err := os.OpenFile(temp, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(temp, path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(temp))
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}
