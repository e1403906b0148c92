package store

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"hash/crc32"
	"io"
	"time"

	"github.com/edgeswarm/edgeswarm/api"
)

// A snapshot is a stream of frames, each a uvarint length and that many bytes
// of api's encoding: a header; for each table a section and its objects in
// order of key; the remembered requests as a section of their own, oldest
// first; at the end the CRC-32C of all frames before, in four bytes. Equal
// states are equal bytes.
type (
	snapshotHeader struct {
		Magic             string
		Format, MinReader int
		Index             uint64
		Time              time.Time
	}
	snapshotSection struct {
		Table string
		Count int
	}
	snapshotRequest struct {
		ID api.RequestID
		RequestRecord
	}
)

const (
	snapshotMagic   = "edgeswarm state"
	requestsSection = "request"
	maxFrame        = 64 << 20
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Snapshot returns a function that writes the state of this moment, while the
// store goes on.
func (s *Store) Snapshot() (func(io.Writer) error, error) {
	v := s.View()
	return v.write, nil
}

func (v *View) write(w io.Writer) error {
	f := &framer{w: bufio.NewWriter(w), sum: crc32.New(castagnoli)}
	f.put(snapshotHeader{snapshotMagic, format, format, v.Index, v.Time})
	for _, n := range nouns {
		f.put(snapshotSection{n.name, n.length(v)})
		for obj := range n.all(v) {
			f.put(obj)
		}
	}
	f.put(snapshotSection{requestsSection, v.requests.order.Len()})
	for id, r := range v.requests.all() {
		f.put(snapshotRequest{id, r})
	}
	f.frame(binary.BigEndian.AppendUint32(nil, f.sum.Sum32()))
	if f.err == nil {
		f.err = f.w.Flush()
	}
	if f.err != nil {
		return fmt.Errorf("write state: %w", f.err)
	}
	return nil
}

// framer writes frames until one fails.
type framer struct {
	w   *bufio.Writer
	sum hash.Hash32
	err error
}

func (f *framer) put(v any) {
	if f.err != nil {
		return
	}
	raw, err := api.Encode(v)
	if err != nil {
		f.err = err
		return
	}
	f.frame(raw)
}

func (f *framer) frame(raw []byte) {
	if f.err != nil {
		return
	}
	_, err1 := f.w.Write(binary.AppendUvarint(nil, uint64(len(raw))))
	_, err2 := f.w.Write(raw)
	f.err = errors.Join(err1, err2)
	_, _ = f.sum.Write(raw)
}

// Restore replaces the state by that of a snapshot, or leaves it as it is and
// says why. Watchers learn that their history is gone.
func (s *Store) Restore(r io.Reader) error {
	v, err := read(r, migrations)
	if err != nil {
		return fmt.Errorf("read state: %w", err)
	}
	s.view.Store(v)
	s.history.restart(v.Index, v.Time)
	s.wake()
	return nil
}

// read builds a view from a snapshot.
func read(r io.Reader, steps []migration) (*View, error) {
	u := &unframer{r: bufio.NewReader(r), sum: crc32.New(castagnoli)}
	head, err := u.header()
	if err != nil {
		return nil, err
	}
	v := emptyView()
	v.Index, v.Time = head.Index, head.Time
	for range len(nouns) {
		var section snapshotSection
		if err := u.get(&section); err != nil {
			return nil, err
		}
		if section.Table == requestsSection { // an older format had fewer tables
			return v, u.rest(v, section.Count)
		}
		if err := u.table(v, head.Format, section, steps); err != nil {
			return nil, err
		}
	}
	var section snapshotSection
	if err := u.get(&section); err != nil {
		return nil, err
	}
	if section.Table != requestsSection {
		return nil, fmt.Errorf("table %q: %w", section.Table, ErrUnknownFormat)
	}
	return v, u.rest(v, section.Count)
}

// unframer reads frames.
type unframer struct {
	r   *bufio.Reader
	sum hash.Hash32
	buf bytes.Buffer
}

// next returns the next frame, valid until the one after it.
func (u *unframer) next() ([]byte, error) {
	size, err := binary.ReadUvarint(u.r)
	if err != nil {
		return nil, fmt.Errorf("%w: it ends too soon: %w", ErrMalformed, err)
	}
	if size > maxFrame {
		return nil, fmt.Errorf("%w: a frame of %d bytes", ErrMalformed, size)
	}
	u.buf.Reset()
	// Grown as it comes: a length is only a claim.
	if _, err := io.CopyN(&u.buf, u.r, int64(size)); err != nil {
		return nil, fmt.Errorf("%w: it ends too soon: %w", ErrMalformed, err)
	}
	return u.buf.Bytes(), nil
}

func (u *unframer) get(into any) error {
	raw, err := u.next()
	if err != nil {
		return err
	}
	if err := api.DecodeStrict(raw, into); err != nil {
		return fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	_, _ = u.sum.Write(raw)
	return nil
}

func (u *unframer) header() (*snapshotHeader, error) {
	raw, err := u.next()
	if err != nil {
		return nil, err
	}
	_, _ = u.sum.Write(raw)
	var known struct {
		Magic             string
		Format, MinReader int
	}
	if err := api.Decode(raw, &known); err != nil || known.Magic != snapshotMagic {
		return nil, fmt.Errorf("%w: it is no snapshot of a fleet's state", ErrMalformed)
	}
	if err := readable("snapshot", known.Format, known.MinReader); err != nil {
		return nil, err
	}
	head := new(snapshotHeader)
	if err := api.DecodeStrict(raw, head); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	return head, nil
}

// table reads a section's objects into v, which nobody has seen yet.
func (u *unframer) table(v *View, written int, section snapshotSection, steps []migration) error {
	n, err := nounNamed(section.Table)
	if err != nil {
		return err
	}
	var objects []api.Object
	for range section.Count {
		raw, err := u.next()
		if err != nil {
			return err
		}
		_, _ = u.sum.Write(raw)
		if raw, err = migrate(steps, written, section.Table, raw); err != nil {
			return err
		}
		obj, err := nouns[n].decode(raw)
		if err != nil {
			return fmt.Errorf("%w: %s: %w", ErrMalformed, section.Table, err)
		}
		objects = append(objects, obj)
	}
	nouns[n].edit(v, objects, nil)
	if nouns[n].length(v) != len(objects) {
		return fmt.Errorf("%w: table %s has one key twice", ErrMalformed, section.Table)
	}
	return nil
}

// rest reads the remembered requests and the end.
func (u *unframer) rest(v *View, count int) error {
	for range count {
		var r snapshotRequest
		if err := u.get(&r); err != nil {
			return err
		}
		v.requests = v.requests.with(r.ID, r.RequestRecord)
	}
	want := binary.BigEndian.AppendUint32(nil, u.sum.Sum32())
	end, err := u.next()
	if err != nil {
		return err
	}
	if !bytes.Equal(end, want) {
		return fmt.Errorf("%w: its checksum is wrong", ErrMalformed)
	}
	if _, err := u.r.ReadByte(); err != io.EOF {
		return fmt.Errorf("%w: it goes on after its end", ErrMalformed)
	}
	if c := v.Cluster(); c != nil && c.Level > api.FeatureLevel {
		return fmt.Errorf("fleet of feature level %d (this build knows up to %d): %w", c.Level, api.FeatureLevel, ErrUnknownFormat)
	}
	return nil
}
