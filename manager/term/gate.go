// Package term is what the calls to a leader have in common. They are bound to
// its term: one that comes before it or after it is answered NotLeader, one
// that is under way when it ends is cancelled, and the term does not end before
// that has returned. And what they write is decided anew when the state changes
// under the decision.
//
// It does not know what is called, nor who leads instead.
package term

import (
	"context"
	"errors"
	"sync"

	"github.com/edgeswarm/edgeswarm/api"
)

// ErrOver is the cause with which a term's calls are cancelled.
var ErrOver = errors.New("this node's term as leader is over")

// Gate lets calls in while its term lasts. The zero Gate is closed.
type Gate struct {
	mu    sync.Mutex
	term  context.Context // nil while closed
	calls sync.WaitGroup
}

// Run opens the gate until ctx ends, then cancels the calls that are inside
// and waits for them. It is called once.
func (g *Gate) Run(ctx context.Context) error {
	term, cancel := context.WithCancelCause(ctx)
	g.mu.Lock()
	g.term = term
	g.mu.Unlock()

	<-ctx.Done()

	g.mu.Lock()
	g.term = nil
	g.mu.Unlock()
	cancel(ErrOver)
	g.calls.Wait()
	return nil
}

// Enter lets a call in. The context it returns ends with the caller's, or with
// the term and then by cause ErrOver; leave must be called when the call is done.
func (g *Gate) Enter(ctx context.Context) (_ context.Context, leave func(), _ error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.term == nil || g.term.Err() != nil {
		return nil, nil, NotLeader()
	}
	g.calls.Add(1)
	inner, cancel := context.WithCancelCause(ctx)
	stop := context.AfterFunc(g.term, func() { cancel(ErrOver) })
	return inner, func() {
		stop()
		cancel(nil)
		g.calls.Done()
	}, nil
}

// NotLeader is what a call is told that comes outside of the term.
func NotLeader() error { return api.Errorf(api.NotLeader, "", "%w; ask again", ErrOver) }

// Over replaces err by NotLeader if it came about because the term ended under
// the call whose context is ctx.
func Over(ctx context.Context, err error) error {
	if err != nil && errors.Is(context.Cause(ctx), ErrOver) {
		return NotLeader()
	}
	return err
}
