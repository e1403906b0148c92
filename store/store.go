package store

import (
	"context"

	"github.com/edgeswarm/edgeswarm/api"
)

// Proposer appends an entry to the log and returns once it is applied here,
// with the value that Apply gave. Implemented by consensus.Node.
type Proposer interface {
	Propose(ctx context.Context, entry []byte) (index uint64, value any, err error)
}

// requestLog remembers what became of the latest requests (see View.Request).
type requestLog struct{}

// RequestRecord is what became of a request: which object its user meant.
type RequestRecord struct {
	Index uint64 // of the entry that did it
	Table string // "service", "node", …; "" if it named none
	Key   string
}

// Request finds what became of a request, if it is among the latest ones.
func (v *View) Request(id api.RequestID) (RequestRecord, bool) { return RequestRecord{}, false }
