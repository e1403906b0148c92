package store

import (
	"context"
	"fmt"
	"time"

	"github.com/edgeswarm/edgeswarm/api"
)

// Proposer appends an entry to the log and returns once it is applied here,
// with the value that Apply gave. Implemented by consensus.Node.
type Proposer interface {
	Propose(ctx context.Context, entry []byte) (index uint64, value any, err error)
}

// Op says on whose behalf an update is made.
type Op struct {
	// Request makes a retry safe: what it did is remembered, and not done
	// again. "" for what the leader does of itself.
	Request api.RequestID
	// User marks the write of a person or their program. The first one makes
	// the fleet a touched one; a fleet that has folded takes none.
	User bool
}

// Result is what became of an update. Its Index is that of the entry that did
// it, or for an empty update that of the View it was decided on.
type Result struct {
	RequestRecord
	// Repeated: an earlier try of the same request did it.
	Repeated bool
}

// Writer makes updates while this node leads. One is made for each term. Its
// methods may be called from any goroutine; updates from several are under way
// at once.
type Writer struct {
	store    *Store
	proposer Proposer
	clock    func() time.Time
}

// NewWriter returns a writer. The clock is this board's, and may be wrong:
// fleet time follows it but never goes back.
func NewWriter(s *Store, p Proposer, clock func() time.Time) *Writer {
	return &Writer{store: s, proposer: p, clock: clock}
}

// Update lets fn decide on the present View, and commits what it put and
// deleted as one entry; it returns once that is applied here, so that View
// then shows it. fn is called at most once, its error is returned as it is,
// and nothing changes then. If it changed nothing, nothing is proposed.
//
// An *api.Error of Conflict means that the entry was refused as a whole:
// something decided upon has changed meanwhile, or a name is taken. Update does
// not decide again by itself. An error of the proposer is passed on wrapped;
// whether the entry was committed is then for the proposer's error to say, and
// a retry with the same Request is safe.
func (w *Writer) Update(ctx context.Context, op Op, fn func(*Tx) error) (Result, error) {
	v := w.store.View()
	if op.Request != "" {
		if record, ok := v.Request(op.Request); ok {
			return Result{RequestRecord: record, Repeated: true}, nil
		}
	}
	tx := newTx(v)
	if err := fn(tx); err != nil {
		return Result{}, err
	}
	if tx.unknown != nil {
		return Result{}, api.Errorf(api.Internal, "", "there is no table for %T", tx.unknown)
	}
	if tx.Empty() {
		record := tx.record()
		record.Index = v.Index
		return Result{RequestRecord: record}, nil
	}
	entry, err := tx.encode(op, w.clock())
	if err != nil {
		return Result{}, fmt.Errorf("encode change: %w", err)
	}
	_, value, err := w.proposer.Propose(ctx, entry)
	if err != nil {
		return Result{}, fmt.Errorf("commit change: %w", err)
	}
	out, ok := value.(outcome)
	switch {
	case !ok:
		return Result{}, api.Errorf(api.Internal, "", "commit change: the log drives another machine (%T)", value)
	case out.refused != nil:
		return Result{}, out.refused
	default:
		return Result{RequestRecord: out.record, Repeated: out.repeated}, nil
	}
}
