package disk

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
)

// flushed is the place of a flush in a recording.
const flushed = -1

// Recording is all that a board wrote to its card since Record, in order and
// with its flushes. It is safe for concurrent use.
type Recording struct {
	size   int64
	ground *overlay // the card when it began

	mu    sync.Mutex
	file  *os.File
	w     *bufio.Writer
	count int
}

// Record begins to keep what the card is told, in the files journal and
// journal.ground. What was not flushed by now comes first.
func (c *Card) Record(journal string) (*Recording, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.recorder != nil {
		return nil, errors.New("record a card: it is being recorded")
	}
	ground, err := c.stable.copyTo(journal + ".ground")
	if err != nil {
		return nil, fmt.Errorf("record a card: %w", err)
	}
	file, err := os.Create(journal)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("record a card: %w", err), ground.Close())
	}
	r := &Recording{size: c.size, ground: ground, file: file, w: bufio.NewWriterSize(file, 1<<20)}
	for _, w := range c.pending {
		if err := r.add(w); err != nil {
			return nil, errors.Join(err, r.Close())
		}
	}
	c.recorder = r
	return r, nil
}

// Close lets go of the recording's files. The card must be off, or closed.
func (r *Recording) Close() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return errors.Join(r.w.Flush(), r.file.Close(), r.ground.Close())
}

// Len is how many writes and flushes were recorded so far.
func (r *Recording) Len() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.count
}

// add appends; on nil it does nothing.
func (r *Recording) add(w write) error {
	if r == nil {
		return nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	head := binary.LittleEndian.AppendUint64(make([]byte, 0, 12), uint64(w.off))
	head = binary.LittleEndian.AppendUint32(head, uint32(len(w.data)))
	if _, err := r.w.Write(head); err != nil {
		return fmt.Errorf("record: %w", err)
	}
	if _, err := r.w.Write(w.data); err != nil {
		return fmt.Errorf("record: %w", err)
	}
	r.count++
	return nil
}

// Card makes the card as it would be had the power been cut right after the
// first n writes and flushes. seed decides what Some is.
func (r *Recording) Card(n int, overlay string, s Survive, seed uint64) (*Card, error) {
	stable, err := r.ground.copyTo(overlay)
	if err != nil {
		return nil, fmt.Errorf("make the card of write %d: %w", n, err)
	}
	c := newCard(r.size, stable, seed+uint64(n))
	if err := r.replay(n, c); err != nil {
		return nil, errors.Join(fmt.Errorf("make the card of write %d: %w", n, err), c.Close())
	}
	return c, c.PowerCut(s)
}

// replay does the first n writes and flushes again.
func (r *Recording) replay(n int, c *Card) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if n < 0 || n > r.count {
		return fmt.Errorf("%d were recorded", r.count)
	}
	if err := r.w.Flush(); err != nil {
		return err
	}
	in, err := os.Open(r.file.Name())
	if err != nil {
		return err
	}
	defer in.Close()
	from := bufio.NewReaderSize(in, 1<<20)
	for range n {
		var head [12]byte
		if _, err := io.ReadFull(from, head[:]); err != nil {
			return err
		}
		off, data := int64(binary.LittleEndian.Uint64(head[:])), make([]byte, binary.LittleEndian.Uint32(head[8:]))
		if _, err := io.ReadFull(from, data); err != nil {
			return err
		}
		if off == flushed {
			err = c.Flush()
		} else {
			_, err = c.WriteAt(data, off)
		}
		if err != nil {
			return err
		}
	}
	return nil
}
