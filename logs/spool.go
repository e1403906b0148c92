package logs

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// fullSpool is how much of one task waits to be written before its writer
	// has to wait too, and fullBoard how much of all tasks together.
	fullSpool = 256 << 10
	fullBoard = 4 << 20
	// urgentSpool is written without waiting for the batch to be over.
	urgentSpool = 64 << 10
	// stallLimit is how long a task waits for a disk that takes nothing. After
	// that its lines are dropped and counted: the task is worth more.
	stallLimit = time.Second
)

// spool collects the records of one task and writes them in batches. What
// comes from a FIFO only ever goes to memory; flush is called by one goroutine
// for all spools, which alone waits for the disk.
type spool struct {
	dir   string
	cfg   Config
	total *atomic.Int64 // bytes pending in all spools
	wake  func(urgent bool)
	grown func() // there is one more file
	users int    // pipes that write here; the server's, under its lock

	mu      sync.Mutex
	pending []byte
	dropped int
	why     error         // the last reason to drop
	stalled bool          // the disk takes nothing: drop at once
	failing bool          // the last write went wrong
	gone    bool          // the task was removed
	freed   chan struct{} // closed when pending was taken

	// Only flush and close use these, under writing.
	writing sync.Mutex
	file    *os.File
	number  uint64
	size    int64
}

func newSpool(dir string, cfg Config, total *atomic.Int64, wake func(urgent bool), grown func()) *spool {
	return &spool{dir: dir, cfg: cfg, total: total, wake: wake, grown: grown, freed: make(chan struct{})}
}

// add stores a record. It waits while too much is pending, but not for ever.
func (s *spool) add(ctx context.Context, r record) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.full() && !s.stalled {
		s.awaitRoom(ctx)
	}
	if s.gone {
		return
	}
	if s.full() {
		s.stalled = true
		s.drop(1, errors.New("the disk is too slow"))
		return
	}
	before := len(s.pending)
	s.pending = appendRecord(s.pending, r)
	s.total.Add(int64(len(s.pending) - before))
	if before == 0 || before < urgentSpool && len(s.pending) >= urgentSpool {
		s.wake(len(s.pending) >= urgentSpool)
	}
}

func (s *spool) full() bool {
	return len(s.pending) >= fullSpool || len(s.pending) > 0 && s.total.Load() >= fullBoard
}

// awaitRoom is called with the lock held and returns so.
func (s *spool) awaitRoom(ctx context.Context) {
	limit := time.NewTimer(stallLimit)
	defer limit.Stop()
	for s.full() {
		freed := s.freed
		s.mu.Unlock()
		select {
		case <-freed:
			s.mu.Lock()
			continue
		case <-limit.C:
		case <-ctx.Done():
		}
		s.mu.Lock()
		return
	}
}

// drop is called with the lock held.
func (s *spool) drop(lines int, why error) {
	s.dropped += lines
	s.why = why
}

// take empties pending. A count of what was dropped before comes first.
func (s *spool) take() (batch []byte, dropped int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	dropped = s.dropped
	if dropped > 0 {
		text := fmt.Sprintf("edgeswarm: %d lines dropped: %v", dropped, s.why)
		batch = appendRecord(nil, record{at: time.Now(), flags: flagStderr | flagNote, data: []byte(text)})
	}
	if batch == nil {
		batch = s.pending
	} else {
		batch = append(batch, s.pending...)
	}
	s.total.Add(-int64(len(s.pending)))
	s.pending, s.dropped, s.stalled = nil, 0, false
	close(s.freed)
	s.freed = make(chan struct{})
	return batch, dropped
}

// flush writes what is pending. What the disk does not take is dropped and
// counted; flush answers true if there is such a count to be written later.
func (s *spool) flush() (wrote, again bool, err error) {
	s.writing.Lock()
	defer s.writing.Unlock()
	batch, dropped := s.take()
	if len(batch) == 0 {
		return false, false, nil
	}
	written, err := s.write(batch)
	if err == nil {
		return true, false, nil
	}
	lost, _ := wholeRecords(batch[written:], len(batch)-written)
	if dropped > 0 && written == 0 {
		lost += dropped - 1 // the note itself is no line
	}
	if pathErr := (*os.PathError)(nil); errors.As(err, &pathErr) {
		err = pathErr.Err // the path is of no use to who reads the task's log
	}
	s.mu.Lock()
	s.drop(lost, err)
	s.mu.Unlock()
	return written > 0, true, err
}

// news reports whether a failure to write is the first since a write went
// well: a card that stays full is not complained of every second.
func (s *spool) news(err error) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	first := err != nil && !s.failing
	s.failing = err != nil
	return first
}

// write appends the batch, to as many files as it takes, and answers how much
// of it, in whole records, is there now.
func (s *spool) write(batch []byte) (written int, err error) {
	for written < len(batch) {
		rest := batch[written:]
		first := recordSize(rest)
		if err := s.open(int64(first)); err != nil {
			return written, err
		}
		_, end := wholeRecords(rest, int(min(int64(len(rest)), s.cfg.MaxFile-s.size)))
		part := rest[:max(first, end)]
		n, err := s.file.Write(part)
		_, whole := wholeRecords(part, n)
		written += whole
		s.size += int64(whole)
		if err != nil {
			if n > 0 {
				// Nothing is written behind a torn record: a new file comes next. Nor
				// is it cut off, which a reader could take for what came in its place.
				s.closeFile()
			}
			return written, err
		}
	}
	return written, nil
}

// open makes the file that the next bytes go to the current one.
func (s *spool) open(next int64) error {
	if s.file == nil {
		if err := s.resume(); err != nil {
			return err
		}
	}
	if s.size == 0 || s.size+next <= s.cfg.MaxFile {
		return nil
	}
	f, err := os.OpenFile(logFile(s.dir, s.number+1), os.O_CREATE|os.O_EXCL|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	s.closeFile()
	s.file, s.size = f, 0
	s.number++
	_ = prune(s.dir, s.cfg.MaxTask-s.cfg.MaxFile) // tried again with the next file
	s.grown()
	return nil
}

// resume goes on with the newest file, if it ends with a whole record, or
// begins a new one.
func (s *spool) resume() error {
	if err := os.MkdirAll(s.dir, 0o700); err != nil {
		return err
	}
	numbers, err := logFiles(s.dir)
	if err != nil {
		return err
	}
	s.number = 1
	if len(numbers) > 0 {
		s.number = numbers[len(numbers)-1]
		size, whole, err := checkFile(logFile(s.dir, s.number))
		if err == nil && whole {
			s.size = size
			s.file, err = os.OpenFile(logFile(s.dir, s.number), os.O_WRONLY|os.O_APPEND, 0)
			return err
		}
		s.number++
	}
	s.file, err = os.OpenFile(logFile(s.dir, s.number), os.O_CREATE|os.O_EXCL|os.O_WRONLY|os.O_APPEND, 0o600)
	if s.size = 0; err == nil {
		_ = prune(s.dir, s.cfg.MaxTask-s.cfg.MaxFile) // tried again with the next file
		s.grown()
	}
	return err
}

func (s *spool) closeFile() {
	if s.file != nil {
		_ = s.file.Close() // it was written to without buffer
	}
	s.file = nil
}

// close writes what is pending and lets go of the file.
func (s *spool) close() {
	_, _, _ = s.flush()
	s.writing.Lock()
	defer s.writing.Unlock()
	s.closeFile()
}

// discard drops what is pending and all that comes.
func (s *spool) discard() {
	s.writing.Lock()
	defer s.writing.Unlock()
	_, _ = s.take()
	s.closeFile()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.gone = true
}

func logFile(dir string, number uint64) string {
	return filepath.Join(dir, fmt.Sprintf("%010d.log", number))
}
