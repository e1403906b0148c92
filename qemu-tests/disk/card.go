package disk

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"sync"
)

const (
	sectorSize = 512
	// cacheSize bounds what waits for a flush; with more, the card writes it
	// all out by itself, as a card may at any time. No real card's is larger.
	cacheSize = 32 << 20
	// tornOneIn of the unflushed writes that survive in part are torn.
	tornOneIn = 8
)

// Errors of a Card. The server turns them into the error that a board gets.
var (
	ErrIO    = errors.New("the card fails")
	ErrFull  = errors.New("the card has no more room")
	errRange = errors.New("beyond the card's end")
)

// Fault is what is wrong with a card. The zero Fault is a good card.
type Fault struct {
	Reads, Writes bool // fail with an I/O error; a card that fails to write also fails to flush
	// Full refuses writes to where nothing was written before, as a card does
	// that is smaller than it says. (A full file system needs no fault: fill it.)
	Full bool
}

// Survive says what becomes of writes that were not flushed when the power goes.
type Survive int

const (
	Nothing Survive = iota // of what was not flushed is left
	Some                   // of it is left, by chance and out of order; some of that is torn
)

// Config makes a Card.
type Config struct {
	Image string // raw; read, never written
	// Size is the card's, in bytes; 0 is the image's. Past the image there are
	// zeros.
	Size    int64
	Overlay string // file that holds the changes; made anew
	Seed    uint64 // decides what Some is
}

// Card is a block device with a write cache. It is safe for concurrent use.
type Card struct {
	size int64

	mu       sync.Mutex
	rand     *rand.Rand
	stable   *overlay         // what a power cut leaves
	cache    map[int64][]byte // blocks as they are read, where unflushed writes changed them
	pending  []write          // those writes, in order
	waiting  int              // their bytes
	fault    Fault
	recorder *Recording // nil records nothing
	stats    Stats
}

// Stats counts what a board did to its card since it was made.
type Stats struct {
	Writes, Flushes int64
	Written         int64 // bytes
	Unflushed       int   // writes that a power cut would lose now
}

type write struct {
	off  int64
	data []byte
}

// New makes a card.
func New(cfg Config) (*Card, error) {
	info, err := os.Stat(cfg.Image)
	if err != nil {
		return nil, fmt.Errorf("make a card: %w", err)
	}
	if cfg.Size == 0 {
		cfg.Size = info.Size()
	}
	if cfg.Size < info.Size() || cfg.Size%sectorSize != 0 {
		return nil, fmt.Errorf("make a card of %d bytes: want whole sectors of %d, and no less than the image's %d", cfg.Size, sectorSize, info.Size())
	}
	stable, err := newOverlay(cfg.Image, cfg.Overlay)
	if err != nil {
		return nil, fmt.Errorf("make a card: %w", err)
	}
	return newCard(cfg.Size, stable, cfg.Seed), nil
}

func newCard(size int64, stable *overlay, seed uint64) *Card {
	return &Card{size: size, stable: stable, cache: map[int64][]byte{}, rand: rand.New(rand.NewPCG(seed, 0))}
}

// Close lets go of the card's files. What was not flushed is lost.
func (c *Card) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.stable.Close()
}

// Size is the card's, in bytes.
func (c *Card) Size() int64 { return c.size }

// Stats says what was done so far.
func (c *Card) Stats() Stats {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.stats
	s.Unflushed = len(c.pending)
	return s
}

// Break makes the card fail from now on; the zero Fault mends it.
func (c *Card) Break(f Fault) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.fault = f
}

// ReadAt reads len(p) bytes at off, as the board sees them.
func (c *Card) ReadAt(p []byte, off int64) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.within(off, len(p)); err != nil {
		return 0, err
	}
	if c.fault.Reads {
		return 0, ErrIO
	}
	block := make([]byte, blockSize)
	err := eachBlock(off, len(p), func(i int64, at, from, n int) error {
		b, err := c.block(i, block)
		copy(p[from:from+n], b[at:])
		return err
	})
	return len(p), err
}

// WriteAt writes p at off, into the cache.
func (c *Card) WriteAt(p []byte, off int64) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.within(off, len(p)); err != nil {
		return 0, err
	}
	if c.fault.Writes {
		return 0, ErrIO
	}
	if c.fault.Full && !c.known(off, len(p)) {
		return 0, ErrFull
	}
	w := write{off, append([]byte(nil), p...)}
	if err := c.recorder.add(w); err != nil {
		return 0, err
	}
	block := make([]byte, blockSize)
	err := eachBlock(off, len(p), func(i int64, at, from, n int) error {
		b, cached := c.cache[i]
		if !cached {
			if n < blockSize {
				if _, err := c.block(i, block); err != nil {
					return err
				}
			}
			b = append([]byte(nil), block...)
			c.cache[i] = b
		}
		copy(b[at:], p[from:from+n])
		return nil
	})
	if err != nil {
		return 0, err
	}
	c.pending = append(c.pending, w)
	c.waiting += len(p)
	c.stats.Writes++
	c.stats.Written += int64(len(p))
	if c.waiting > cacheSize {
		return len(p), c.settle()
	}
	return len(p), nil
}

// Flush makes all that was written before it last.
func (c *Card) Flush() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.fault.Writes {
		return ErrIO
	}
	if err := c.recorder.add(write{off: flushed}); err != nil {
		return err
	}
	c.stats.Flushes++
	return c.settle()
}

// PowerCut is what the loss of power does: unflushed writes are lost, all of
// them or some. The board must be off.
func (c *Card) PowerCut(s Survive) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	pending := c.pending
	c.forget()
	if s == Nothing {
		return nil
	}
	for _, w := range survivors(c.rand, pending) {
		if err := c.stable.patch(w.off, w.data); err != nil {
			return fmt.Errorf("cut the power: %w", err)
		}
	}
	return nil
}

// survivors are those of unflushed writes that reach the card all the same.
func survivors(r *rand.Rand, pending []write) []write {
	var left []write
	for _, w := range pending {
		keep, torn, part := r.IntN(2) == 0, r.IntN(tornOneIn) == 0, r.Float64()
		if !keep {
			continue
		}
		if sectors := len(w.data) / sectorSize; torn && sectors > 1 {
			w.data = w.data[:(1+int(part*float64(sectors-1)))*sectorSize]
		}
		left = append(left, w)
	}
	return left
}

// settle writes the cache out.
func (c *Card) settle() error {
	for i, b := range c.cache {
		if err := c.stable.write(i, b); err != nil {
			return err
		}
	}
	c.forget()
	return nil
}

func (c *Card) forget() {
	c.pending, c.waiting = nil, 0
	clear(c.cache)
}

// block is block i as the board sees it, in buf if it is not cached.
func (c *Card) block(i int64, buf []byte) ([]byte, error) {
	if b, cached := c.cache[i]; cached {
		return b, nil
	}
	return buf, c.stable.read(i, buf)
}

// known reports whether all of a range was written before.
func (c *Card) known(off int64, n int) bool {
	err := eachBlock(off, n, func(i int64, _, _, _ int) error {
		if _, cached := c.cache[i]; !cached && !c.stable.has(i) {
			return ErrFull
		}
		return nil
	})
	return err == nil
}

func (c *Card) within(off int64, n int) error {
	if off < 0 || off > c.size || int64(n) > c.size-off {
		return fmt.Errorf("%d bytes at %d of %d: %w", n, off, c.size, errRange)
	}
	return nil
}
