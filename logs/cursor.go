package logs

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/edgeswarm/edgeswarm/api"
)

// cursor reads the records of a task in order, across its files, while they
// are written, rotated and deleted.
type cursor struct {
	task   api.TaskID
	dir    string
	number uint64 // of the current file; 0 before the first
	file   *os.File
	at     int64  // in the current file, of buf
	buf    []byte // what was read of it and not yet used
	last   bool   // nothing more is written to the current file
	torn   bool   // the file to go on with is gone
	since  time.Time
	until  *api.LogPlace // where to end; nil is nowhere
}

func newCursor(root string, task api.TaskID) *cursor {
	return &cursor{task: task, dir: filepath.Join(root, string(task))}
}

func (c *cursor) close() {
	if c.file != nil {
		_ = c.file.Close()
	}
	c.file = nil
}

// next answers the next line, or false if there is none yet.
func (c *cursor) next() (api.LogLine, bool, error) {
	for !c.past() {
		r, err := c.record()
		switch {
		case errors.Is(err, errIncomplete):
			more, lost, err := c.advance()
			if err != nil || !more {
				return api.LogLine{}, false, err
			}
			if lost {
				return c.gap(), true, nil
			}
		case err != nil:
			return api.LogLine{}, false, err
		case !r.at.Before(c.since):
			line := r.line(c.task)
			line.Data, line.Place = bytes.Clone(line.Data), c.place()
			return line, true, nil
		}
	}
	return api.LogLine{}, false, nil
}

// endHere makes the cursor end with what is there now, unless its end is known.
func (c *cursor) endHere() error {
	if c.until != nil {
		return nil
	}
	c.until = &api.LogPlace{}
	numbers, err := logFiles(c.dir)
	if err != nil || len(numbers) == 0 {
		return err
	}
	c.until.File = numbers[len(numbers)-1]
	info, err := os.Stat(logFile(c.dir, c.until.File))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	} else if err != nil {
		return err
	}
	c.until.At = info.Size()
	return nil
}

func (c *cursor) past() bool {
	return c.until != nil && (c.number > c.until.File || c.number == c.until.File && c.at >= c.until.At)
}

func (c *cursor) gap() api.LogLine {
	return api.LogLine{
		Time: time.Now(), Stream: "stderr", TaskID: c.task,
		Data: []byte("edgeswarm: lines are missing here: they were deleted before they could be read"), Place: c.place(),
	}
}

// place is where the next record begins.
func (c *cursor) place() *api.LogPlace { return &api.LogPlace{File: c.number, At: c.at} }

// resume goes to a place that an earlier cursor was at.
func (c *cursor) resume(p api.LogPlace) error {
	if p.File == 0 {
		return nil // before the first
	}
	if err := c.seek(p.File, p.At); err != nil {
		return err
	}
	c.number, c.torn = p.File, c.file == nil
	return nil
}

// record answers the next record of the current file, passing over what is
// none, or errIncomplete at its end. Its data is valid until the next call.
func (c *cursor) record() (record, error) {
	for {
		r, size, err := decodeRecord(c.buf)
		if err == nil {
			c.use(size)
			return r, nil
		}
		if errors.Is(err, errCorrupt) {
			c.skip()
			continue
		}
		grew, err := c.fill()
		if err != nil {
			return record{}, err
		}
		if grew {
			continue
		}
		if !c.last || len(c.buf) == 0 {
			return record{}, errIncomplete
		}
		c.skip()
	}
}

// skip passes over a byte that begins no record, and what can't begin one either.
func (c *cursor) skip() {
	n := bytes.IndexByte(c.buf[1:], marker) + 1
	if n == 0 {
		n = len(c.buf)
	}
	c.use(n)
}

func (c *cursor) use(n int) {
	c.at += int64(n)
	c.buf = c.buf[n:]
}

// fill reads on, and reports whether there was more.
func (c *cursor) fill() (bool, error) {
	if c.file == nil {
		return false, nil
	}
	had := len(c.buf)
	if cap(c.buf) < maxRecord {
		c.buf = append(make([]byte, 0, 2*maxRecord), c.buf...)
	}
	n, err := c.file.ReadAt(c.buf[had:cap(c.buf)], c.at+int64(had))
	c.buf = c.buf[:had+n]
	if err != nil && !errors.Is(err, io.EOF) {
		return false, err
	}
	return n > 0, nil
}

// advance goes to the next file, once the current one is read to its end.
// lost says that files between the two are gone.
func (c *cursor) advance() (more, lost bool, err error) {
	numbers, err := logFiles(c.dir)
	if err != nil {
		return false, false, err
	}
	i, _ := slices.BinarySearch(numbers, c.number+1)
	if i == len(numbers) {
		return false, false, nil
	}
	if c.file != nil && !c.last {
		c.last = true // there is a newer one: read what came to this one last
		return true, false, nil
	}
	next := numbers[i]
	f, err := os.Open(logFile(c.dir, next))
	if errors.Is(err, fs.ErrNotExist) {
		return c.advance() // just deleted
	} else if err != nil {
		return false, false, err
	}
	lost = c.torn || c.number != 0 && next != c.number+1
	c.close()
	c.file, c.number, c.at, c.buf, c.last, c.torn = f, next, 0, c.buf[:0], false, false
	return true, lost, nil
}

// seekTail goes to where the last n lines begin; negative is all there are.
func (c *cursor) seekTail(n int) error {
	if n < 0 {
		return nil
	}
	numbers, err := logFiles(c.dir)
	if err != nil {
		return err
	}
	for i, number := range slices.Backward(numbers) {
		starts, end, err := lineStarts(logFile(c.dir, number), c.since, n)
		if errors.Is(err, fs.ErrNotExist) {
			return nil // the oldest are being deleted: begin with what is left
		} else if err != nil {
			return err
		}
		if c.until == nil {
			c.until = &api.LogPlace{File: number, At: end} // what follows is not of the last n
		}
		n -= len(starts)
		if n > 0 && i > 0 {
			continue
		}
		at := end
		if len(starts) > 0 {
			at = starts[0]
		}
		return c.seek(number, at)
	}
	return nil
}

func (c *cursor) seek(number uint64, at int64) error {
	f, err := os.Open(logFile(c.dir, number))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	} else if err != nil {
		return err
	}
	c.file, c.number, c.at = f, number, at
	return nil
}

// lineStarts answers where the last n lines of a file begin, of those that are
// not before since, and where its records end.
func lineStarts(path string, since time.Time, n int) (starts []int64, end int64, err error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, 0, err
	}
	c := &cursor{file: f}
	defer c.close()
	begun := int64(-1)
	for {
		r, err := c.record()
		if errors.Is(err, errIncomplete) {
			if begun >= 0 { // the line that is being written
				starts = append(starts, begun)
			}
			return starts[max(0, len(starts)-n):], c.at, nil
		} else if err != nil {
			return nil, 0, err
		}
		if r.at.Before(since) {
			continue
		}
		if begun < 0 {
			begun = c.at - int64(headerSize+len(r.data))
		}
		if r.partial() {
			continue
		}
		starts, begun = append(starts, begun), -1
		if len(starts) > 2*n+1024 {
			starts = append(starts[:0], starts[len(starts)-n:]...)
		}
	}
}
