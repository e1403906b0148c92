package consensus

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"io/fs"
	"os"
)

// The parts of bbolt's file format (its package docs and internal/common) that
// tell a sound file from a damaged one. bbolt itself maps the file and follows
// whatever it finds, and a wild pointer there ends the process without a word;
// so the file is read through once before bbolt is let near it. Integers are in
// the machine's order, which is little on every board this runs on.
const (
	pageHeader   = 16
	elementSize  = 16
	metaSize     = 64
	metaMagic    = 0xED0CDAED
	metaVersion  = 2
	flagBranch   = 0x01
	flagLeaf     = 0x02
	flagBucket   = 0x01
	bucketHeader = 16
	maxDepth     = 64
)

var order = binary.LittleEndian

// checkFile reads a log file's whole tree and says what is wrong with it. A
// file that is absent or empty is a new one.
func checkFile(path string) error {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	} else if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil || info.Size() == 0 {
		return err
	}
	c := checker{file: f, size: info.Size(), seen: map[uint64]bool{}}
	root, err := c.meta()
	if err != nil {
		return err
	}
	return c.page(root, 0)
}

type checker struct {
	file io.ReaderAt
	size int64
	end  uint64 // first page that was never used
	seen map[uint64]bool
}

func damaged(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrCorrupt, fmt.Sprintf(format, args...))
}

// meta picks the newer of the two sound meta pages, as bbolt does.
func (c *checker) meta() (root uint64, err error) {
	var newest []byte
	for slot := range int64(2) {
		raw := make([]byte, pageHeader+metaSize)
		if _, err := c.file.ReadAt(raw, slot*pageSize); err != nil {
			continue
		}
		m := raw[pageHeader:]
		sum := fnv.New64a()
		_, _ = sum.Write(m[:56])
		if order.Uint32(m) != metaMagic || order.Uint32(m[4:]) != metaVersion ||
			order.Uint32(m[8:]) != pageSize || order.Uint64(m[56:]) != sum.Sum64() {
			continue
		}
		if newest == nil || order.Uint64(m[48:]) > order.Uint64(newest[48:]) {
			newest = m
		}
	}
	if newest == nil {
		return 0, damaged("no valid header")
	}
	c.end = order.Uint64(newest[40:])
	if c.end > uint64(c.size/pageSize) {
		return 0, damaged("cut short: %d of %d pages", c.size/pageSize, c.end)
	}
	return order.Uint64(newest[16:]), nil
}

// page checks a page and all below it.
func (c *checker) page(id uint64, depth int) error {
	if id < 2 || id >= c.end || depth > maxDepth {
		return damaged("page %d out of range", id)
	}
	head := make([]byte, pageHeader)
	if _, err := c.file.ReadAt(head, int64(id)*pageSize); err != nil {
		return fmt.Errorf("read page %d: %w", id, err)
	}
	overflow := uint64(order.Uint32(head[12:]))
	if order.Uint64(head) != id || id+overflow >= c.end {
		return damaged("page %d is not where it belongs", id)
	}
	for p := id; p <= id+overflow; p++ {
		if c.seen[p] {
			return damaged("page %d is used twice", p)
		}
		c.seen[p] = true
	}
	raw := make([]byte, (overflow+1)*pageSize)
	if _, err := c.file.ReadAt(raw, int64(id)*pageSize); err != nil {
		return fmt.Errorf("read page %d: %w", id, err)
	}
	return c.elements(id, raw, depth)
}

// elements checks what a page, or a bucket small enough to be inlined in its
// parent's page, holds.
func (c *checker) elements(id uint64, raw []byte, depth int) error {
	if len(raw) < pageHeader {
		return damaged("page %d is too short", id)
	}
	flags, count := order.Uint16(raw[8:]), int(order.Uint16(raw[10:]))
	if pageHeader+count*elementSize > len(raw) {
		return damaged("page %d holds too much", id)
	}
	for i := range count {
		at := pageHeader + i*elementSize
		e := raw[at : at+elementSize]
		switch flags {
		case flagBranch:
			if uint64(at)+uint64(order.Uint32(e))+uint64(order.Uint32(e[4:])) > uint64(len(raw)) {
				return damaged("page %d: key %d out of bounds", id, i)
			}
			if err := c.page(order.Uint64(e[8:]), depth+1); err != nil {
				return err
			}
		case flagLeaf:
			key := uint64(at) + uint64(order.Uint32(e[4:]))
			value := key + uint64(order.Uint32(e[8:]))
			end := value + uint64(order.Uint32(e[12:]))
			if end > uint64(len(raw)) {
				return damaged("page %d: entry %d out of bounds", id, i)
			}
			if order.Uint32(e)&flagBucket != 0 {
				if err := c.bucket(id, raw[value:end], depth+1); err != nil {
					return err
				}
			}
		default:
			return damaged("page %d is of no known kind", id)
		}
	}
	return nil
}

func (c *checker) bucket(id uint64, raw []byte, depth int) error {
	if len(raw) < bucketHeader || depth > maxDepth {
		return damaged("page %d: broken bucket", id)
	}
	if root := order.Uint64(raw); root != 0 {
		return c.page(root, depth)
	}
	return c.elements(id, raw[bucketHeader:], depth)
}
