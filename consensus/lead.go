package consensus

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// errReturned is what a lead that just returns is taken for.
var errReturned = errors.New("it returned while this node still leads")

// Run calls lead for each term that this node leads, once everything committed
// before is applied here, with a context that ends when leadership does; and
// it waits for lead to return before anything else. A lead that returns while
// the node still leads ends the term: leadership is handed to the best other
// voter, or where there is none, lead is called again a little later.
//
// It returns nil when ctx ends, ErrClosed if the node is closed first, and
// ErrMachine if the machine had to be stopped.
func (n *Node) Run(ctx context.Context, lead func(ctx context.Context) error) error {
	pause := time.Duration(0)
	for {
		if !sleep(ctx, pause) {
			return nil
		}
		t, err := n.awaitTenure(ctx)
		if err != nil || t == nil {
			return err
		}
		started := time.Now()
		n.term(ctx, t, lead)
		// A lead that fails over and over must not spin.
		if pause = min(max(2*pause, n.cfg.Heartbeat), 30*time.Second); time.Since(started) > time.Minute || t.over() {
			pause = 0
		}
	}
}

// term leads until this tenure ends, and ends it if lead did not do its work.
func (n *Node) term(ctx context.Context, t *tenure, lead func(ctx context.Context) error) {
	termCtx, cancel := context.WithCancel(ctx)
	defer cancel()
	watched := make(chan struct{})
	go func() {
		defer close(watched)
		select {
		case <-t.done:
			cancel()
		case <-termCtx.Done():
		}
	}()
	defer func() {
		cancel()
		<-watched
	}()
	if err := n.Barrier(termCtx); err != nil {
		n.cfg.Logger.Debug("leadership ended before it began", "err", err)
		return
	}
	n.cfg.Logger.Debug("leading", "term", n.raft.CurrentTerm())
	err := lead(termCtx)
	if ctx.Err() != nil || t.over() {
		n.cfg.Logger.Debug("leadership ended", "err", err)
		return
	}
	if err == nil {
		err = errReturned
	}
	n.cfg.Logger.Error("leading failed", "err", err)
	if err := n.Transfer(ctx, ""); err != nil {
		n.cfg.Logger.Error("leadership was not handed over: leading again", "err", err)
	}
}

// awaitTenure waits until this node leads; nil without error when ctx ends.
func (n *Node) awaitTenure(ctx context.Context) (*tenure, error) {
	for {
		turned := n.turned.next()
		n.mu.Lock()
		t, fatal, closing := n.tenure, n.fatal, n.closing
		n.mu.Unlock()
		switch {
		case ctx.Err() != nil:
			return nil, nil
		case fatal != nil:
			return nil, fmt.Errorf("lead: %w", fatal)
		case closing:
			return nil, ErrClosed
		case t != nil:
			return t, nil
		}
		select {
		case <-turned:
		case <-ctx.Done():
			return nil, nil
		}
	}
}

func (t *tenure) over() bool {
	select {
	case <-t.done:
		return true
	default:
		return false
	}
}

func sleep(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return ctx.Err() == nil
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
