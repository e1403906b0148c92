package quic

import (
	"context"
	"sync"
	"time"

	quicgo "github.com/quic-go/quic-go"

	"github.com/edgeswarm/edgeswarm/api"
	"github.com/edgeswarm/edgeswarm/transport"
)

// session is one QUIC connection that was checked and admitted at both ends.
type session struct {
	ep       *Endpoint
	conn     *quicgo.Conn
	protocol transport.Protocol
	peer     transport.Peer
	fleet    api.FleetID // ours when it was made
	instance string      // the peer's process
	dialled  bool

	mu      sync.Mutex
	streams int
	ending  bool        // no more streams
	linger  *time.Timer // of a dialled one
}

// shared reports whether streams share the connection: not on Join.
func (s *session) shared() bool { return s.protocol != transport.Join }

func (s *session) alive() bool { return s.conn.Context().Err() == nil }

// begin counts a stream. It returns false if the session is about to end.
func (s *session) begin() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ending || !s.alive() {
		return false
	}
	s.streams++
	if s.linger != nil {
		s.linger.Stop()
	}
	return true
}

// release counts a stream's end.
func (s *session) release() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.streams--
	switch {
	case !s.shared():
		if !s.ending {
			s.ending = true
			s.linger = time.AfterFunc(farewell, func() { s.close(codeClosed, "") })
		}
	case s.dialled && s.streams == 0:
		s.wait()
	}
}

// wait ends the session unless a stream begins meanwhile. The caller holds mu.
func (s *session) wait() {
	if s.linger != nil {
		s.linger.Reset(s.ep.cfg.Linger)
		return
	}
	s.linger = time.AfterFunc(s.ep.cfg.Linger, func() {
		s.mu.Lock()
		idle := s.streams == 0 && !s.ending
		s.ending = s.ending || idle
		s.mu.Unlock()
		if idle {
			s.close(codeClosed, "")
		}
	})
}

// close ends the connection, telling the peer, and waits until it has ended.
func (s *session) close(code quicgo.ApplicationErrorCode, reason string) {
	_ = s.conn.CloseWithError(code, reason)
}

// probe asks the peer whether it can hear us, by a unidirectional stream that
// it refuses. That the peer is heard proves less: after a change of its address
// it may go on sending what is left, and hear nothing.
func (s *session) probe(ctx context.Context) bool {
	out, err := s.conn.OpenUniStreamSync(ctx)
	if err != nil {
		return false
	}
	if _, err := out.Write([]byte{streamVersion}); err != nil {
		return false
	}
	select {
	case <-out.Context().Done():
		return true
	case <-ctx.Done():
		out.CancelWrite(codeAbandoned)
		return false
	}
}

// answer replies to probes until the connection ends.
func (s *session) answer() {
	for {
		in, err := s.conn.AcceptUniStream(s.conn.Context())
		if err != nil {
			return
		}
		in.CancelRead(codeAbandoned)
	}
}

// open opens a stream to the peer.
func (s *session) open(ctx context.Context) (*stream, error) {
	if !s.begin() {
		return nil, context.Cause(s.conn.Context())
	}
	raw, err := s.conn.OpenStreamSync(ctx)
	if err != nil {
		s.release()
		return nil, err
	}
	st := &stream{session: s, raw: raw, headed: true}
	if _, err := raw.Write([]byte{streamVersion}); err != nil {
		_ = st.Close()
		return nil, err
	}
	return st, nil
}
