package consensus

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/fnv"
	"io"
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

// checkFile reads a log file's whole tree and says what is wrong with it.
func checkFile(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	c := checker{file: f, size: info.Size(), seen: map[uint64]bool{}}
	root, err := c.meta()
	if err != nil {
		return err
	}
	return c.page(root, bounds{})
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

// bounds are what a subtree's keys lie between, from first up to but without
// end; nil is no bound.
type bounds struct {
	first, end []byte
	depth      int
}

// page checks a page and all below it.
func (c *checker) page(id uint64, within bounds) error {
	if id < 2 || id >= c.end || within.depth > maxDepth {
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
	return c.elements(id, raw, within)
}

// element is one key of a page, with the child page or the value it leads to.
type element struct {
	key, value []byte
	child      uint64
	bucket     bool
}

// elements checks what a page holds, or a bucket small enough to be inlined in
// its parent's page.
func (c *checker) elements(id uint64, raw []byte, within bounds) error {
	list, branch, err := parse(id, raw)
	if err != nil {
		return err
	}
	for i, e := range list {
		switch {
		case i > 0 && bytes.Compare(list[i-1].key, e.key) >= 0,
			within.first != nil && bytes.Compare(e.key, within.first) < 0,
			within.end != nil && bytes.Compare(e.key, within.end) >= 0:
			return damaged("page %d: key %d is out of order", id, i)
		case branch:
			below := bounds{first: e.key, end: within.end, depth: within.depth + 1}
			if i+1 < len(list) {
				below.end = list[i+1].key
			}
			err = c.page(e.child, below)
		case e.bucket:
			err = c.bucket(id, e.value, within.depth+1)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// parse reads a page's elements; they point into it.
func parse(id uint64, raw []byte) (list []element, branch bool, err error) {
	if len(raw) < pageHeader {
		return nil, false, damaged("page %d is too short", id)
	}
	flags, count := order.Uint16(raw[8:]), int(order.Uint16(raw[10:]))
	if flags != flagBranch && flags != flagLeaf {
		return nil, false, damaged("page %d is of no known kind", id)
	}
	branch = flags == flagBranch
	if pageHeader+count*elementSize > len(raw) || branch && count == 0 {
		return nil, false, damaged("page %d: bad number of keys", id)
	}
	for i := range count {
		at := uint64(pageHeader + i*elementSize)
		e := raw[at : at+elementSize]
		var key, value, end uint64
		if branch {
			key = at + uint64(order.Uint32(e))
			value = key + uint64(order.Uint32(e[4:]))
			end = value
		} else {
			key = at + uint64(order.Uint32(e[4:]))
			value = key + uint64(order.Uint32(e[8:]))
			end = value + uint64(order.Uint32(e[12:]))
		}
		if end > uint64(len(raw)) {
			return nil, false, damaged("page %d: key %d out of bounds", id, i)
		}
		next := element{key: raw[key:value], value: raw[value:end]}
		if branch {
			next.child = order.Uint64(e[8:])
		} else {
			next.bucket = order.Uint32(e)&flagBucket != 0
		}
		list = append(list, next)
	}
	return list, branch, nil
}

func (c *checker) bucket(id uint64, raw []byte, depth int) error {
	if len(raw) < bucketHeader || depth > maxDepth {
		return damaged("page %d: broken bucket", id)
	}
	if root := order.Uint64(raw); root != 0 {
		return c.page(root, bounds{depth: depth})
	}
	return c.elements(id, raw[bucketHeader:], bounds{depth: depth})
}
