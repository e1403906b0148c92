// Package consensus keeps one ordered log of opaque entries on the fleet's
// managers, by raft, and says who leads. It does not know what an entry means,
// who should be a manager, or how peers are reached beyond dialling an ID.
package consensus

import (
	"context"
	"errors"
	"io"
	"net"
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
	// ErrClosed: the node was closed.
	ErrClosed = errors.New("consensus closed")
)

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
