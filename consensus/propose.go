package consensus

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/hashicorp/raft"
)

// Propose appends an entry and returns once it is committed and applied here,
// with what the machine gave for it. Errors wrap ErrNotLeader, ErrBusy and
// ErrTooLarge (nothing was committed), or ErrLeadershipLost, ErrClosed or ctx's
// error (it may have been, or may yet be). Calls from several goroutines share
// writes.
func (n *Node) Propose(ctx context.Context, entry []byte) (index uint64, value any, err error) {
	if len(entry) > MaxEntry {
		return 0, nil, fmt.Errorf("propose: %w: %d of %d bytes", ErrTooLarge, len(entry), MaxEntry)
	}
	var future raft.ApplyFuture
	err = n.await(ctx, func() raft.Future {
		future = n.raft.Apply(entry, n.enqueueTime(ctx))
		return future
	})
	if err != nil {
		return 0, nil, fmt.Errorf("propose: %w", n.unsure(err))
	}
	result, ok := future.Response().(applied)
	if !ok {
		return 0, nil, fmt.Errorf("propose: %w", ErrClosed)
	}
	if result.err != nil {
		return 0, nil, fmt.Errorf("propose: %w", result.err)
	}
	return future.Index(), result.value, nil
}

// Barrier returns once every entry committed before it is applied here. It
// writes an entry of its own.
func (n *Node) Barrier(ctx context.Context) error {
	err := n.await(ctx, func() raft.Future { return n.raft.Barrier(n.enqueueTime(ctx)) })
	if err == nil {
		err = n.machine.failed()
	}
	if err != nil {
		return fmt.Errorf("barrier: %w", err)
	}
	return nil
}

// VerifyLeader returns nil if this node still led after the call began: a view
// of the machine taken after that is no older than the call. It writes nothing.
func (n *Node) VerifyLeader(ctx context.Context) error {
	err := n.await(ctx, func() raft.Future { return n.raft.VerifyLeader() })
	if err != nil {
		return fmt.Errorf("verify leader: %w", err)
	}
	return nil
}

// enqueueTime is how long a call may wait for its turn.
func (n *Node) enqueueTime(ctx context.Context) time.Duration {
	limit := n.cfg.RequestTimeout
	if deadline, ok := ctx.Deadline(); ok {
		limit = max(time.Millisecond, min(limit, time.Until(deadline)))
	}
	return limit
}

// await asks raft for something that only a leader does and waits for it, for
// ctx, or for the end of this tenure.
func (n *Node) await(ctx context.Context, ask func() raft.Future) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	t, err := n.enter()
	if err != nil {
		return err
	}
	answer := make(chan error, 1)
	go func() {
		defer n.leave()
		answer <- ask().Error()
	}()
	select {
	case err = <-answer:
		return translate(err)
	case <-ctx.Done():
		return ctx.Err()
	case <-t.done:
	}
	select {
	case err = <-answer: // it was quicker
		return translate(err)
	default:
		return n.ended()
	}
}

// enter counts a call that waits for raft, if this node leads.
func (n *Node) enter() (*tenure, error) {
	stalled := n.disk.stalled() && n.raft.State() == raft.Leader
	n.mu.Lock()
	defer n.mu.Unlock()
	switch {
	case n.fatal != nil:
		return nil, n.fatal
	case n.closing:
		return nil, ErrClosed
	case stalled:
		return nil, fmt.Errorf("%w: the disk is stalled", ErrBusy)
	case n.tenure == nil:
		return nil, ErrNotLeader
	}
	n.inflight++
	return n.tenure, nil
}

func (n *Node) leave() {
	n.mu.Lock()
	n.inflight--
	n.mu.Unlock()
	n.turned.give()
}

// ended says why a tenure was over.
func (n *Node) ended() error {
	n.mu.Lock()
	defer n.mu.Unlock()
	switch {
	case n.fatal != nil:
		return n.fatal
	case n.closing:
		return ErrClosed
	default:
		return ErrLeadershipLost
	}
}

// translate gives raft's errors in this package's words.
func translate(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, raft.ErrNotLeader), errors.Is(err, raft.ErrLeadershipTransferInProgress):
		return ErrNotLeader
	case errors.Is(err, raft.ErrEnqueueTimeout):
		return ErrBusy
	case errors.Is(err, raft.ErrLeadershipLost):
		return ErrLeadershipLost
	case errors.Is(err, raft.ErrRaftShutdown), errors.Is(err, raft.ErrAbortedByRestore):
		return ErrClosed
	default:
		return err
	}
}

// unsure marks an error of the log store: a flush that failed may still have
// reached the file, and the leader has stepped down.
func (n *Node) unsure(err error) error {
	for _, known := range []error{ErrNotLeader, ErrBusy, ErrLeadershipLost, ErrClosed, ErrMachine, context.Canceled, context.DeadlineExceeded} {
		if errors.Is(err, known) {
			return err
		}
	}
	return fmt.Errorf("%w: %w", ErrLeadershipLost, err)
}
