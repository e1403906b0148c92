package consensus

import (
	"context"
	"crypto/cipher"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"time"
)

// Errors, for errors.Is.
var (
	// ErrNotLeader: only the leader does this; Node.Leader may name it.
	ErrNotLeader = errors.New("not the leader")
	// ErrLeadershipLost: leadership ended while the entry was under way. It may
	// have been committed: retry with the same request ID to find out.
	ErrLeadershipLost = errors.New("leadership lost before the entry was confirmed")
	// ErrBusy: the log store or a quorum is too slow; nothing was committed.
	ErrBusy = errors.New("the log can't take more now")
	// ErrTooLarge: the entry is larger than MaxEntry; nothing was committed.
	ErrTooLarge = errors.New("entry too large")
	// ErrClosed: the node was closed.
	ErrClosed = errors.New("consensus closed")
	// ErrHasState: the directory already holds a log; its fleet can't be founded again.
	ErrHasState = errors.New("there is a log already")
	// ErrVersion: the directory was written by a newer program.
	ErrVersion = errors.New("written by a newer version")
	// ErrCorrupt: the log's file is damaged.
	ErrCorrupt = errors.New("damaged")
	// ErrMachine: the machine could not take an entry or a snapshot, and the
	// node has stopped rather than skip it.
	ErrMachine = errors.New("stopped at an entry that can't be applied")
)

// MaxEntry is the largest entry in bytes: it must pass to a follower over a
// slow network within a request's time-out.
const MaxEntry = 16 << 20

// Machine is what the log drives. Its methods are never called at once.
type Machine interface {
	// Apply takes a committed entry. Its value goes to whoever proposed it on
	// this node. An entry that it can't read is an error that stops the node:
	// it must not skip.
	Apply(index uint64, entry []byte) (value any, err error)
	// Snapshot returns a function that writes the state of this moment; it is
	// called later, while Apply goes on.
	Snapshot() (func(io.Writer) error, error)
	// Restore replaces the state.
	Restore(io.Reader) error
}

// Network is how managers reach each other: streams by node ID.
type Network interface {
	Dial(ctx context.Context, id string) (net.Conn, error)
	// Accept returns net.ErrClosed once the network is closed.
	Accept() (net.Conn, error)
	Close() error
}

// Server is a member of the log's configuration.
type Server struct {
	ID    string
	Voter bool
	// Reachable is the leader's view: contacted within the last few heartbeats.
	// On other nodes it is false.
	Reachable bool
	// Lag is the number of entries the server is behind the leader's commit,
	// as far as the leader knows; 0 elsewhere.
	Lag uint64
}

// Config says who a node is and what it works with. Zero timings and sizes
// take the defaults named with them.
type Config struct {
	// ID is this node's, as Network dials it.
	ID string
	// Dir holds the log and snapshots; it is made if absent.
	Dir     string
	Network Network
	Machine Machine
	// Seal, with nonces of 12 bytes, keeps entries and snapshots on disk for this
	// node alone; nil leaves them in the clear. What was written before there was
	// one is still read.
	Seal   cipher.AEAD
	Logger *slog.Logger

	// Heartbeat is how often a leader makes itself heard (default 500 ms; a board's
	// idle load is mostly heartbeats). A lost packet is sent again by the network
	// long before that. A follower that hears nothing all the same, by a radio that
	// naps or a card that pauses, asks before it asks for votes, and is told no by
	// those who do hear the leader.
	Heartbeat time.Duration
	// Election is how long a follower bears silence before it asks for votes,
	// and a leader goes without a quorum before it gives up (default 1 s).
	// Followers ask one after the other, a tenth of this apart.
	Election time.Duration
	// DiskDeadline is how long one write may take before this node is too slow
	// to lead (default 3 s: cards pause for a second or two by themselves).
	DiskDeadline time.Duration
	// RequestTimeout bounds one exchange between managers (default 5 s).
	RequestTimeout time.Duration
	// SnapshotEntries and SnapshotBytes are after how much log a snapshot is
	// taken (defaults 2048 and 8 MiB), whichever comes first. TrailingEntries
	// are kept behind it for followers that were away (default 512).
	SnapshotEntries uint64
	SnapshotBytes   int64
	TrailingEntries uint64

	// faults, set by tests, is called before each disk operation by name and
	// may delay or fail it.
	faults func(op string) error
}

func (c Config) withDefaults() Config {
	set(&c.Heartbeat, 500*time.Millisecond)
	set(&c.Election, time.Second)
	set(&c.DiskDeadline, 3*time.Second)
	set(&c.RequestTimeout, 5*time.Second)
	set(&c.SnapshotEntries, 2048)
	set(&c.SnapshotBytes, 8<<20)
	set(&c.TrailingEntries, 512)
	set(&c.Logger, slog.New(slog.DiscardHandler))
	return c
}

func set[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

func (c Config) validate() error {
	switch {
	case c.ID == "":
		return errors.New("no ID")
	case c.Dir == "":
		return errors.New("no directory")
	case c.Network == nil || c.Machine == nil:
		return errors.New("no network or no machine")
	case c.Seal != nil && c.Seal.NonceSize() != nonceSize:
		return fmt.Errorf("a seal with nonces of %d bytes, not %d", c.Seal.NonceSize(), nonceSize)
	case c.Election < 2*c.Heartbeat:
		return errors.New("the election time-out must span two heartbeats")
	}
	return nil
}
