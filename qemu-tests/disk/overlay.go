package disk

import (
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
)

// blockSize is the grain of an overlay.
const blockSize = 4096

// overlay is the blocks that differ from an image, in a sparse file, each at
// its own place.
type overlay struct {
	image *os.File // only read; may be shorter than the card
	file  *os.File

	mu      sync.Mutex
	present map[int64]bool
}

func newOverlay(image, path string) (*overlay, error) {
	from, err := os.Open(image)
	if err != nil {
		return nil, err
	}
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return nil, errors.Join(err, from.Close())
	}
	return &overlay{image: from, file: file, present: map[int64]bool{}}, nil
}

func (o *overlay) Close() error { return errors.Join(o.image.Close(), o.file.Close()) }

// has reports whether a block was ever written.
func (o *overlay) has(i int64) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.present[i]
}

// read fills block with block i. Past the end of the image there are zeros.
func (o *overlay) read(i int64, block []byte) error {
	from := o.image
	if o.has(i) {
		from = o.file
	}
	n, err := from.ReadAt(block, i*blockSize)
	clear(block[n:])
	if err != nil && !errors.Is(err, io.EOF) {
		return fmt.Errorf("read block %d: %w", i, err)
	}
	return nil
}

func (o *overlay) write(i int64, block []byte) error {
	if _, err := o.file.WriteAt(block, i*blockSize); err != nil {
		return fmt.Errorf("write block %d: %w", i, err)
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.present[i] = true
	return nil
}

// patch writes bytes at any place.
func (o *overlay) patch(off int64, data []byte) error {
	block := make([]byte, blockSize)
	return eachBlock(off, len(data), func(i int64, at, from, n int) error {
		if n < blockSize {
			if err := o.read(i, block); err != nil {
				return err
			}
		}
		copy(block[at:], data[from:from+n])
		return o.write(i, block)
	})
}

// copyTo makes another overlay over the same image.
func (o *overlay) copyTo(path string) (*overlay, error) {
	c, err := newOverlay(o.image.Name(), path)
	if err != nil {
		return nil, err
	}
	block := make([]byte, blockSize)
	for i := range o.present {
		if err := errors.Join(o.read(i, block), c.write(i, block)); err != nil {
			return nil, errors.Join(err, c.Close())
		}
	}
	return c, nil
}

// eachBlock cuts a range at block borders: of block i, the n bytes from at on
// are the range's bytes from from on.
func eachBlock(off int64, length int, do func(i int64, at, from, n int) error) error {
	for done := 0; done < length; {
		i, at := (off+int64(done))/blockSize, int((off+int64(done))%blockSize)
		n := min(blockSize-at, length-done)
		if err := do(i, at, done, n); err != nil {
			return err
		}
		done += n
	}
	return nil
}
