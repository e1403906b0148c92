package consensus

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/hashicorp/raft"
	"go.etcd.io/bbolt"
)

var _ raft.StableStore = (*disk)(nil)

// The keys that raft uses, and the words by which it knows an absent one.
var (
	termKey     = []byte("CurrentTerm")
	voteTermKey = []byte("LastVoteTerm")
	voteForKey  = []byte("LastVoteCand")
	errAbsent   = errors.New("not found")
)

// Get implements raft.StableStore, from memory.
func (d *disk) Get(key []byte) ([]byte, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if v, ok := d.kept[string(key)]; ok {
		return append([]byte(nil), v...), nil
	}
	return nil, errAbsent
}

// GetUint64 implements raft.StableStore.
func (d *disk) GetUint64(key []byte) (uint64, error) {
	v, err := d.Get(key)
	if err != nil || len(v) != 8 {
		return 0, errAbsent
	}
	return binary.BigEndian.Uint64(v), nil
}

// SetUint64 implements raft.StableStore. Raft writes a vote as its term and
// then its candidate; the term waits for the candidate, so that both are one
// write, and none is half a vote. Raft panics if its term can't be stored, and
// a full card must not crash a board: so that waits until it can. The one voter
// of a fleet begins a term only to lead it, and waits until its log can be
// written as well.
func (d *disk) SetUint64(key []byte, value uint64) error {
	raw := binary.BigEndian.AppendUint64(nil, value)
	switch {
	case bytes.Equal(key, voteTermKey):
		d.mu.Lock()
		d.vote = raw
		d.mu.Unlock()
		return nil
	case bytes.Equal(key, termKey):
		if d.alone != nil && d.alone() {
			d.awaitRoom()
		}
		return d.persist(map[string][]byte{string(key): raw})
	default:
		return d.put(map[string][]byte{string(key): raw})
	}
}

// Set implements raft.StableStore.
func (d *disk) Set(key, value []byte) error {
	pairs := map[string][]byte{string(key): append([]byte(nil), value...)}
	if bytes.Equal(key, voteForKey) {
		d.mu.Lock()
		if d.vote != nil {
			pairs[string(voteTermKey)] = d.vote
		}
		d.mu.Unlock()
	}
	return d.put(pairs)
}

// put stores pairs that differ from what is stored.
func (d *disk) put(pairs map[string][]byte) error {
	d.mu.Lock()
	same := true
	for k, v := range pairs {
		old, ok := d.kept[k]
		same = same && ok && bytes.Equal(old, v)
	}
	d.mu.Unlock()
	if same {
		return nil
	}
	err := d.update("vote", func(tx *bbolt.Tx) error {
		for k, v := range pairs {
			if err := tx.Bucket(stableBucket).Put([]byte(k), v); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("store vote: %w", err)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	for k, v := range pairs {
		d.kept[k] = v
	}
	return nil
}

// persist tries until it is stored or the node closes. A term that was never
// stored by a node that is closing does no harm: no vote is given in it.
func (d *disk) persist(pairs map[string][]byte) error {
	for wait := 50 * time.Millisecond; ; wait = min(2*wait, 5*time.Second) {
		err := d.put(pairs)
		if err == nil {
			return nil
		}
		d.mu.Lock()
		d.late++ // it can't write: as good as stalled
		poke(d.stalls)
		d.mu.Unlock()
		select {
		case <-time.After(wait):
		case <-d.done:
		}
		d.mu.Lock()
		d.late--
		poke(d.stalls)
		d.mu.Unlock()
		select {
		case <-d.done:
			return nil
		default:
		}
	}
}
