package consensus

import (
	"fmt"
	"io"
	"sync"

	"github.com/hashicorp/raft"
)

// machine lets raft drive a Machine, and stops for good at the first entry or
// snapshot that the Machine can't take.
type machine struct {
	Machine
	stop func(error) // called once

	mu  sync.Mutex
	err error
}

var (
	_ raft.FSM                = (*machine)(nil)
	_ raft.ConfigurationStore = (*machine)(nil)
)

// applied is what Apply hands back through raft.
type applied struct {
	value any
	err   error
}

func (m *machine) failed() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.err
}

func (m *machine) fail(err error) error {
	m.mu.Lock()
	first := m.err == nil
	if first {
		m.err = err
	}
	m.mu.Unlock()
	if first && m.stop != nil {
		m.stop(err)
	}
	return err
}

// Apply implements raft.FSM.
func (m *machine) Apply(entry *raft.Log) any {
	if err := m.failed(); err != nil {
		return applied{err: err}
	}
	value, err := m.Machine.Apply(entry.Index, entry.Data)
	if err != nil {
		return applied{err: m.fail(fmt.Errorf("%w: entry %d: %w", ErrMachine, entry.Index, err))}
	}
	return applied{value: value}
}

// StoreConfiguration implements raft.ConfigurationStore. Without it raft does
// not count a change of members as applied, and refuses to take a snapshot
// until the next entry.
func (m *machine) StoreConfiguration(uint64, raft.Configuration) {}

// Snapshot implements raft.FSM.
func (m *machine) Snapshot() (raft.FSMSnapshot, error) {
	if err := m.failed(); err != nil {
		return nil, err // it would lack an entry
	}
	write, err := m.Machine.Snapshot()
	if err != nil {
		return nil, fmt.Errorf("take snapshot: %w", err)
	}
	return snapshot{write}, nil
}

// Restore implements raft.FSM.
func (m *machine) Restore(r io.ReadCloser) error {
	if err := m.failed(); err != nil {
		return err
	}
	if err := m.Machine.Restore(r); err != nil {
		return m.fail(fmt.Errorf("%w: snapshot: %w", ErrMachine, err))
	}
	return nil
}

type snapshot struct{ write func(io.Writer) error }

// Persist implements raft.FSMSnapshot; raft cancels the sink on an error.
func (s snapshot) Persist(sink raft.SnapshotSink) error {
	if err := s.write(sink); err != nil {
		return fmt.Errorf("write snapshot: %w", err)
	}
	return sink.Close()
}

func (s snapshot) Release() {}
