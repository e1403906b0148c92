package quic

import (
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"

	quicgo "github.com/quic-go/quic-go"

	"github.com/edgeswarm/edgeswarm/transport"
)

// streamVersion is the first byte on every stream.
const streamVersion = 1

// stream implements transport.Conn.
type stream struct {
	*session
	raw    *quicgo.Stream
	closed atomic.Bool

	rmu    sync.Mutex
	headed bool // the version byte was read, or is ours to send

	wmu    sync.Mutex
	broken bool // something given to Write was not taken: the end must not look orderly
}

var _ transport.Conn = (*stream)(nil)

func (s *stream) Read(p []byte) (int, error) {
	s.rmu.Lock()
	defer s.rmu.Unlock()
	if !s.headed {
		if err := s.readHead(); err != nil {
			return 0, err
		}
	}
	n, err := s.raw.Read(p)
	return n, s.fault(err)
}

func (s *stream) readHead() error {
	var head [1]byte
	if _, err := io.ReadFull(s.raw, head[:]); err != nil {
		return s.fault(err)
	}
	if head[0] != streamVersion {
		s.raw.CancelRead(codeAbandoned)
		return fmt.Errorf("the peer opened a stream of version %d, which this build does not know", head[0])
	}
	s.headed = true
	return nil
}

func (s *stream) Write(p []byte) (int, error) {
	s.wmu.Lock()
	defer s.wmu.Unlock()
	if s.closed.Load() {
		return 0, net.ErrClosed
	}
	n, err := s.raw.Write(p)
	if n < len(p) {
		s.broken = true
	}
	return n, s.fault(err)
}

func (s *stream) fault(err error) error {
	if err != nil && err != io.EOF && s.closed.Load() {
		return net.ErrClosed
	}
	return streamError(s.peer.ID, err)
}

// CloseWrite ends what this side sends, behind all that was written.
func (s *stream) CloseWrite() error {
	s.wmu.Lock()
	defer s.wmu.Unlock()
	if s.closed.Load() {
		return net.ErrClosed
	}
	if s.broken {
		return errors.New("close for writing: an earlier write was cut off")
	}
	return s.fault(s.raw.Close())
}

// Close ends both directions. What was written still arrives; what is unread
// is refused, which gives the stream's credit back to the peer.
func (s *stream) Close() error {
	if s.closed.Swap(true) {
		return nil
	}
	s.raw.CancelRead(codeAbandoned)
	_ = s.raw.SetWriteDeadline(time.Unix(1, 0)) // frees a Write that waits for credit
	s.wmu.Lock()
	if s.broken {
		s.raw.CancelWrite(codeAbandoned)
	} else {
		_ = s.raw.Close() // errs only if the peer was first
	}
	s.wmu.Unlock()
	s.release()
	return nil
}

func (s *stream) Peer() transport.Peer {
	p := s.peer
	p.Addr = addrPort(s.conn.RemoteAddr())
	return p
}

func (s *stream) Channel(label string) ([]byte, error) {
	state := s.conn.ConnectionState().TLS
	key, err := state.ExportKeyingMaterial("EXPORTER-edgeswarm "+label, nil, 32)
	if err != nil {
		return nil, fmt.Errorf("derive channel binding: %w", err)
	}
	return key, nil
}

func (s *stream) LocalAddr() net.Addr                { return s.conn.LocalAddr() }
func (s *stream) RemoteAddr() net.Addr               { return s.conn.RemoteAddr() }
func (s *stream) SetDeadline(t time.Time) error      { return s.raw.SetDeadline(t) }
func (s *stream) SetReadDeadline(t time.Time) error  { return s.raw.SetReadDeadline(t) }
func (s *stream) SetWriteDeadline(t time.Time) error { return s.raw.SetWriteDeadline(t) }
