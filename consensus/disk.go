package consensus

import (
	"crypto/cipher"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"go.etcd.io/bbolt"
)

// disk is the file that holds a node's log, term and vote. It implements
// raft.LogStore (log.go) and raft.StableStore (vote.go).
//
// Every change is one bbolt transaction: its pages are flushed before the meta
// page that makes them count, so a power cut leaves the state before or after
// it. Pages are 4 KiB on every board: kernels with 16 KiB pages would else
// write four times as much.
type disk struct {
	db       *bbolt.DB
	seal     cipher.AEAD // nil keeps entries in the clear
	deadline time.Duration
	faults   func(op string) error
	// stalls receives, coalesced, after stalled has changed.
	stalls chan struct{}
	// grown receives, coalesced, when much was appended since the last snapshot.
	grown     chan struct{}
	growLimit int64

	writes    atomic.Uint64 // transactions committed or tried
	appended  atomic.Uint64 // index of the last entry stored
	sinceSnap atomic.Int64  // bytes stored since the log was last cut
	appends   *signal       // after each append

	// refused receives when a write failed and none had before.
	refused chan struct{}
	// alone reports whether this node is the one voter; nil is no.
	alone func() bool

	mu      sync.Mutex
	late    int               // writes that passed the deadline and are not done
	refusal refusal           // see room.go
	kept    map[string][]byte // the stable store, all of it
	vote    []byte            // a vote's term that waits for its candidate
	done    chan struct{}     // closed when the node is closing
}

// Buckets of the file.
var (
	entriesBucket = []byte("entries")
	stableBucket  = []byte("stable")
)

// pageSize is the file's, whatever the kernel's is.
const pageSize = 4096

func openDisk(path string, cfg Config) (*disk, error) {
	if err := createFile(path); err != nil {
		return nil, fmt.Errorf("make log %s: %w", path, err)
	}
	if err := checkFile(path); err != nil {
		return nil, fmt.Errorf("open log %s: %w: move the state directory away and let this board join its fleet again", path, err)
	}
	db, err := openFile(path)
	if errors.Is(err, bbolt.ErrTimeout) {
		return nil, fmt.Errorf("open log %s: it is in use by another process: stop that first", path)
	} else if err != nil {
		return nil, fmt.Errorf("open log %s: %w", path, err)
	}
	db.AllocSize = 1 << 20 // grow by little: cards are small
	d := &disk{
		db: db, seal: cfg.Seal, deadline: cfg.DiskDeadline, faults: cfg.faults, stalls: make(chan struct{}, 1), refused: make(chan struct{}, 1),
		grown: make(chan struct{}, 1), growLimit: cfg.SnapshotBytes, appends: newSignal(), kept: map[string][]byte{}, done: make(chan struct{}),
	}
	if err := d.load(); err != nil {
		return nil, errors.Join(fmt.Errorf("open log %s: %w", path, err), db.Close())
	}
	return d, nil
}

// createFile makes a new file under another name first, so that a power cut
// meanwhile does not leave one that looks damaged.
func createFile(path string) error {
	if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	fresh := path + ".new"
	if err := os.Remove(fresh); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	db, err := openFile(fresh)
	if err != nil {
		return err
	}
	err = db.Update(func(tx *bbolt.Tx) error {
		_, err1 := tx.CreateBucket(entriesBucket)
		_, err2 := tx.CreateBucket(stableBucket)
		return errors.Join(err1, err2)
	})
	if err := errors.Join(err, db.Close()); err != nil {
		return err
	}
	if err := os.Rename(fresh, path); err != nil {
		return err
	}
	return syncDir(filepath.Dir(path))
}

// openFile is the last net for what checkFile let through.
func openFile(path string) (db *bbolt.DB, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = damaged("%v", r)
		}
	}()
	return bbolt.Open(path, 0o600, &bbolt.Options{
		Timeout: time.Second, PageSize: pageSize, NoFreelistSync: true, FreelistType: bbolt.FreelistMapType,
	})
}

// load reads what is kept in memory.
func (d *disk) load() error {
	return d.db.View(func(tx *bbolt.Tx) error {
		entries, stable := tx.Bucket(entriesBucket), tx.Bucket(stableBucket)
		if entries == nil || stable == nil {
			return damaged("it lacks a part")
		}
		if k, _ := entries.Cursor().Last(); k != nil {
			d.appended.Store(indexOf(k))
		}
		return stable.ForEach(func(k, v []byte) error {
			d.kept[string(k)] = append([]byte(nil), v...)
			return nil
		})
	})
}

// update runs one transaction under the deadline. Passing it fails nothing: a
// write that comes late has still happened, and saying otherwise would let the
// file and raft disagree. It only makes the disk count as stalled meanwhile.
func (d *disk) update(op string, f func(*bbolt.Tx) error) (err error) {
	finished, late := false, false
	timer := time.AfterFunc(d.deadline, func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		if !finished {
			late = true
			d.late++
			poke(d.stalls)
		}
	})
	defer func() {
		timer.Stop()
		d.mu.Lock()
		defer d.mu.Unlock()
		if finished = true; late {
			d.late--
			poke(d.stalls)
		}
		if err != nil {
			d.refuse(err)
		}
	}()
	d.writes.Add(1)
	if d.faults != nil {
		if err := d.faults(op); err != nil {
			return err
		}
	}
	return d.db.Update(f)
}

// stalled reports whether a write has been under way for longer than the deadline.
func (d *disk) stalled() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.late > 0
}

// closing lets waits for a better disk end.
func (d *disk) closing() { close(d.done) }

func (d *disk) close() error { return d.db.Close() }

func (d *disk) size() int64 {
	info, err := os.Stat(d.db.Path())
	if err != nil {
		return 0
	}
	return info.Size()
}

// poke sends to a 1-slot channel if nobody has yet.
func poke(ch chan struct{}) {
	select {
	case ch <- struct{}{}:
	default:
	}
}

// signal wakes everybody who waits at the moment it is given.
type signal struct {
	mu sync.Mutex
	ch chan struct{}
}

func newSignal() *signal { return &signal{ch: make(chan struct{})} }

// next is closed when the signal is next given.
func (s *signal) next() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.ch
}

func (s *signal) give() {
	s.mu.Lock()
	defer s.mu.Unlock()
	close(s.ch)
	s.ch = make(chan struct{})
}
