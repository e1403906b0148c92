package consensus

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/hashicorp/raft"
)

// ErrUnwritable: what raft wants kept can't be stored, because the disk is full
// or broken. A node like that follows as well as it can, and does not lead.
var ErrUnwritable = errors.New("the log can't be written")

const (
	// roomEnough is what must fit on the disk before a log that could not be
	// written is trusted again. A vote often still fits into pages that the file
	// has where an entry no longer does: such a node would win elections, and
	// drop each at its first entry.
	roomEnough = 256 << 10
	// lookFirst is how long after a write was refused the disk is tried; the
	// pauses grow to lookLast, for a disk that is full for days.
	lookFirst = time.Second
	lookLast  = 30 * time.Second
)

// refusal is how it is with a disk that could not be written.
type refusal struct {
	why   error         // nil: it can
	tries int           // since an entry was last stored
	ended chan struct{} // closed when why becomes nil
}

// refuse notes that a write failed. Called with the lock held.
func (d *disk) refuse(err error) {
	if d.refusal.why == nil {
		d.refusal.ended = make(chan struct{})
		poke(d.refused)
	}
	d.refusal.why = err
	poke(d.stalls)
}

// unwritable is why the log can't be written; nil if it can.
func (d *disk) unwritable() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.refusal.why == nil {
		return nil
	}
	return fmt.Errorf("%w: %w", ErrUnwritable, d.refusal.why)
}

// awaitRoom waits until the log can be written, or the node closes.
func (d *disk) awaitRoom() {
	d.mu.Lock()
	why, ended := d.refusal.why, d.refusal.ended
	d.mu.Unlock()
	if why == nil {
		return
	}
	select {
	case <-ended:
	case <-d.done:
	}
}

// look tries a disk that refused a write until it takes one, for as long as the
// node lives. Where nothing was refused it writes nothing.
func (d *disk) look() {
	for {
		select {
		case <-d.refused:
		case <-d.done:
			return
		}
		for {
			d.mu.Lock()
			wait := lookFirst << min(d.refusal.tries, 8)
			d.refusal.tries++
			d.mu.Unlock()
			select {
			case <-time.After(min(wait, lookLast)):
			case <-d.done:
				return
			}
			if d.hasRoom() {
				break
			}
		}
		d.mu.Lock()
		d.refusal.why = nil
		close(d.refusal.ended)
		poke(d.stalls)
		d.mu.Unlock()
	}
}

// hasRoom writes as much as is enough beside the log, and takes it away again.
func (d *disk) hasRoom() bool {
	if d.faults != nil && d.faults("room") != nil {
		return false
	}
	path := filepath.Join(filepath.Dir(d.db.Path()), "room")
	f, err := os.OpenFile(path, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return false
	}
	_, err = f.Write(make([]byte, roomEnough))
	return errors.Join(err, f.Sync(), f.Close(), os.Remove(path)) == nil
}

// unfit is why this node must not ask for votes; nil if it may.
func (t *transport) unfit() error {
	if t.disk.stalled() {
		return errStalled
	}
	return t.disk.unwritable()
}

// RequestPreVote implements raft.WithPreVote. A node that could not lead does
// not ask: the next one that can will.
func (t *transport) RequestPreVote(id raft.ServerID, target raft.ServerAddress, args *raft.RequestPreVoteRequest, resp *raft.RequestPreVoteResponse) error {
	if err := t.unfit(); err != nil {
		return err
	}
	return t.NetworkTransport.RequestPreVote(id, target, args, resp)
}

// RequestVote implements raft.Transport, for a node that was handed leadership.
func (t *transport) RequestVote(id raft.ServerID, target raft.ServerAddress, args *raft.RequestVoteRequest, resp *raft.RequestVoteResponse) error {
	if err := t.unfit(); err != nil {
		return err
	}
	return t.NetworkTransport.RequestVote(id, target, args, resp)
}

// Trouble is why this node can't lead: its disk is full, broken or slow. Nil if
// it can. LeaderChanged receives when it may have changed.
func (n *Node) Trouble() error {
	if err := n.disk.unwritable(); err != nil {
		return err
	}
	if n.disk.stalled() {
		return fmt.Errorf("%w: a write has taken longer than %v", ErrUnwritable, n.cfg.DiskDeadline)
	}
	return nil
}

// alone reports whether this node is the one voter. It asks nobody for votes,
// and is kept from an election by the wait for room before a new term.
func (n *Node) alone() bool {
	r := n.transport.raft.Load()
	return r != nil && slices.Equal(voters(r), []string{n.cfg.ID})
}
