package consensus

import (
	"bufio"
	"bytes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/hashicorp/raft"
)

// vault keeps snapshots sealed on disk. Who reads one, raft to send it to
// another manager among them, has it in the clear, and of the size that it has so.
// Snapshots of before there was a key are read as they are.
//
// A sealed one is: mark; random prefix; chunks, each chunkSize bytes sealed but
// for the last. A chunk's nonce is the prefix, its number and whether it is the
// last, so none can be left out, moved, or taken for the end.
type vault struct {
	raft.SnapshotStore
	seal cipher.AEAD
}

const (
	vaultMark  = "edge-sealed-1\n"
	prefixSize = 7
	nonceSize  = prefixSize + 4 + 1
	chunkSize  = 64 << 10
)

// Create implements raft.SnapshotStore.
func (v vault) Create(version raft.SnapshotVersion, index, term uint64, members raft.Configuration, at uint64, t raft.Transport) (raft.SnapshotSink, error) {
	sink, err := v.SnapshotStore.Create(version, index, term, members, at, t)
	if err != nil {
		return nil, err
	}
	s := &sealingSink{SnapshotSink: sink, chunks: chunks{seal: v.seal, nonce: make([]byte, nonceSize)}}
	_, _ = rand.Read(s.nonce[:prefixSize]) // never fails: see crypto/rand
	if _, err := sink.Write(append([]byte(vaultMark), s.nonce[:prefixSize]...)); err != nil {
		return nil, errors.Join(fmt.Errorf("write snapshot: %w", err), sink.Cancel())
	}
	return s, nil
}

// Open implements raft.SnapshotStore.
func (v vault) Open(id string) (*raft.SnapshotMeta, io.ReadCloser, error) {
	meta, stored, err := v.SnapshotStore.Open(id)
	if err != nil {
		return nil, nil, err
	}
	r := &unsealingReader{Closer: stored, from: bufio.NewReaderSize(stored, chunkSize), chunks: chunks{seal: v.seal, nonce: make([]byte, nonceSize)}}
	head, err := r.from.Peek(len(vaultMark) + prefixSize)
	if err != nil && err != io.EOF {
		return nil, nil, errors.Join(fmt.Errorf("read snapshot: %w", err), stored.Close())
	}
	prefix, marked := bytes.CutPrefix(head, []byte(vaultMark))
	if !marked {
		return meta, struct {
			io.Reader
			io.Closer
		}{r.from, stored}, nil
	}
	copy(r.nonce, prefix)
	if _, err := r.from.Discard(len(head)); err != nil {
		return nil, nil, errors.Join(fmt.Errorf("read snapshot: %w", err), stored.Close())
	}
	clear := *meta
	sealed, full := meta.Size-int64(len(head)), int64(chunkSize+v.seal.Overhead())
	clear.Size = sealed - (sealed+full-1)/full*int64(v.seal.Overhead())
	return &clear, r, nil
}

// chunks are sealed one after the other.
type chunks struct {
	seal  cipher.AEAD
	nonce []byte
	count uint32
}

// next is the nonce of the next chunk. The number does not come round: that many
// would be 256 TiB.
func (c *chunks) next(last bool) []byte {
	binary.BigEndian.PutUint32(c.nonce[prefixSize:], c.count)
	c.nonce[nonceSize-1] = 0
	if last {
		c.nonce[nonceSize-1] = 1
	}
	c.count++
	return c.nonce
}

type sealingSink struct {
	raft.SnapshotSink
	chunks
	held []byte // not yet written; at most a chunk
}

// Write implements io.Writer. A full chunk is held until more follows: it may be
// the last.
func (s *sealingSink) Write(p []byte) (n int, err error) {
	for len(p) > 0 {
		if len(s.held) == chunkSize {
			if err := s.flush(false); err != nil {
				return n, err
			}
		}
		part := p[:min(len(p), chunkSize-len(s.held))]
		s.held = append(s.held, part...)
		n, p = n+len(part), p[len(part):]
	}
	return n, nil
}

func (s *sealingSink) flush(last bool) error {
	_, err := s.SnapshotSink.Write(s.seal.Seal(nil, s.next(last), s.held, nil))
	s.held = s.held[:0]
	return err
}

// Close implements io.Closer: the snapshot counts.
func (s *sealingSink) Close() error {
	if err := s.flush(true); err != nil {
		return errors.Join(err, s.SnapshotSink.Cancel())
	}
	return s.SnapshotSink.Close()
}

type unsealingReader struct {
	io.Closer
	chunks
	from *bufio.Reader
	left []byte // of the chunk at hand
	done bool   // that is the last one
}

// Read implements io.Reader.
func (r *unsealingReader) Read(p []byte) (int, error) {
	for len(r.left) == 0 {
		if r.done {
			return 0, io.EOF
		}
		if err := r.open(); err != nil {
			return 0, err
		}
	}
	n := copy(p, r.left)
	r.left = r.left[n:]
	return n, nil
}

func (r *unsealingReader) open() error {
	raw := make([]byte, chunkSize+r.seal.Overhead())
	n, err := io.ReadFull(r.from, raw)
	if err != nil && err != io.EOF && err != io.ErrUnexpectedEOF {
		return fmt.Errorf("read snapshot: %w", err)
	}
	_, err = r.from.Peek(1)
	if err != nil && err != io.EOF {
		return fmt.Errorf("read snapshot: %w", err)
	}
	r.done = err == io.EOF
	r.left, err = r.seal.Open(raw[:0], r.next(r.done), raw[:n], nil)
	if err != nil {
		return fmt.Errorf("snapshot is cut short, or sealed with another key: %w", ErrCorrupt)
	}
	return nil
}
