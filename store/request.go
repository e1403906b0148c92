package store

import (
	"encoding/binary"
	"iter"

	iradix "github.com/hashicorp/go-immutable-radix/v2"

	"github.com/edgeswarm/edgeswarm/api"
)

// RequestMemory is how many of the latest requests are remembered. It is part
// of the state's definition: every manager forgets the same ones.
const RequestMemory = 1024

// RequestRecord is what became of a request: which object its user meant.
type RequestRecord struct {
	Index uint64 // of the entry that did it
	Table string // "service", "node", …; "" if it named none
	Key   string
}

// requestLog remembers what became of the latest requests. It is immutable.
type requestLog struct {
	byID  *iradix.Tree[RequestRecord]
	order *iradix.Tree[api.RequestID] // by index
}

func newRequestLog() requestLog {
	return requestLog{iradix.New[RequestRecord](), iradix.New[api.RequestID]()}
}

// Request finds what became of a request, if it is among the latest ones.
func (v *View) Request(id api.RequestID) (RequestRecord, bool) {
	return v.requests.byID.Get([]byte(id))
}

// with remembers one more request and forgets the oldest ones beyond the limit.
func (l requestLog) with(id api.RequestID, r RequestRecord) requestLog {
	l.byID, _, _ = l.byID.Insert([]byte(id), r)
	l.order, _, _ = l.order.Insert(binary.BigEndian.AppendUint64(nil, r.Index), id)
	for l.order.Len() > RequestMemory {
		at, oldest, _ := l.order.Root().Minimum()
		l.order, _, _ = l.order.Delete(at)
		l.byID, _, _ = l.byID.Delete([]byte(oldest))
	}
	return l
}

// all yields the remembered requests, oldest first.
func (l requestLog) all() iter.Seq2[api.RequestID, RequestRecord] {
	return func(yield func(api.RequestID, RequestRecord) bool) {
		for id := range walk(l.order, nil) {
			r, _ := l.byID.Get([]byte(id))
			if !yield(id, r) {
				return
			}
		}
	}
}
