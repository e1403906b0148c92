package quic

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"

	quicgo "github.com/quic-go/quic-go"

	"github.com/edgeswarm/edgeswarm/api"
	"github.com/edgeswarm/edgeswarm/transport"
)

// maxInstance bounds the label of a process, in bytes.
const maxInstance = 64

// Endpoint implements transport.Endpoint.
type Endpoint struct {
	cfg       Config
	log       *slog.Logger
	transport *quicgo.Transport
	quic      *quicgo.Listener
	instance  string // of this process, a DNS label
	book      book

	// ctx ends with Close; it outlives every call, because connections do.
	ctx        context.Context
	cancel     context.CancelFunc
	wg         sync.WaitGroup
	handshakes atomic.Int32
	closeOnce  sync.Once
	closeErr   error

	mu        sync.Mutex
	listeners map[transport.Protocol]*listener
	links     map[link]*session // dialled and shared
	attempts  map[link]*attempt
	sessions  map[*session]struct{}
}

var _ transport.Endpoint = (*Endpoint)(nil)

// New starts an endpoint on a socket. It takes the socket over, also when it errs.
func New(cfg Config) (*Endpoint, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	key, err := resetKey(cfg.Identity)
	if err != nil {
		_ = cfg.PacketConn.Close()
		return nil, fmt.Errorf("open transport: %w", err)
	}
	var label [8]byte
	_, _ = rand.Read(label[:])
	e := &Endpoint{
		cfg: cfg, log: cfg.Logger, instance: "p" + hex.EncodeToString(label[:]),
		listeners: map[transport.Protocol]*listener{}, links: map[link]*session{},
		attempts: map[link]*attempt{}, sessions: map[*session]struct{}{},
	}
	e.ctx, e.cancel = context.WithCancel(context.Background())
	e.transport = &quicgo.Transport{
		Conn: cfg.PacketConn, ConnectionIDLength: 20, StatelessResetKey: key, ConnContext: e.knock,
		DisableVersionNegotiationPackets: true, // there is one version, and no answer is owed to strangers
	}
	e.transport.VerifySourceAddress = e.crowded
	if e.quic, err = e.transport.Listen(e.serverTLS(), cfg.quicConfig(false)); err != nil {
		e.cancel()
		_ = cfg.PacketConn.Close()
		return nil, fmt.Errorf("open transport: %w", err)
	}
	e.wg.Go(e.accept)
	return e, nil
}

// Port implements transport.Endpoint.
func (e *Endpoint) Port() uint16 {
	if ap, err := netip.ParseAddrPort(e.cfg.PacketConn.LocalAddr().String()); err == nil {
		return ap.Port()
	}
	return 0
}

// Learn implements transport.Endpoint. An address that is new may mean that the
// node has left the one it was dialled at: its connections are put to the test.
func (e *Endpoint) Learn(node api.NodeID, addrs ...netip.AddrPort) {
	if !e.book.learn(node, addrs...) {
		return
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.ctx.Err() != nil {
		return
	}
	for l, s := range e.links {
		if l.node == node {
			e.wg.Go(func() { e.test(s) })
		}
	}
}

// test ends a session whose peer does not answer.
func (e *Endpoint) test(s *session) {
	ctx, cancel := context.WithTimeout(e.ctx, probeTimeout)
	defer cancel()
	if !s.probe(ctx) && e.ctx.Err() == nil && s.alive() {
		e.log.Debug("peer has moved", "node", s.peer.ID, "addr", s.peer.Addr)
		s.close(codeClosed, "the peer is not reached there any more")
	}
}

// Addrs implements transport.Endpoint.
func (e *Endpoint) Addrs(node api.NodeID) []netip.AddrPort {
	addrs, _ := e.book.lookup(node)
	return addrs
}

// Forget implements transport.Endpoint.
func (e *Endpoint) Forget(node api.NodeID) {
	e.mu.Lock()
	for l, a := range e.attempts {
		if l.node == node {
			a.cancel()
		}
	}
	e.book.forget(node)
	e.mu.Unlock()
	e.end(codeClosed, "forgotten", func(s *session) bool { return s.shared() && s.peer.ID == node })
}

// Recheck implements transport.Endpoint.
func (e *Endpoint) Recheck() {
	fleet := e.ownFleet()
	e.end(codeRefused, "no longer admitted", func(s *session) bool {
		return s.shared() && s.fleet != fleet || e.cfg.Admit(s.peer, s.protocol) != nil
	})
}

// end closes the sessions that match, and waits until they have ended.
func (e *Endpoint) end(code quicgo.ApplicationErrorCode, reason string, match func(*session) bool) {
	e.mu.Lock()
	all := make([]*session, 0, len(e.sessions))
	for s := range e.sessions {
		all = append(all, s)
	}
	e.mu.Unlock()
	var closing sync.WaitGroup
	for _, s := range all {
		if match(s) {
			closing.Go(func() {
				s.close(code, reason)
				e.drop(s)
			})
		}
	}
	closing.Wait()
}

// add takes a session up unless the endpoint is closed, and ends what is left
// of the peer's earlier processes. Only a proven peer can so end anything.
func (e *Endpoint) add(s *session) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.ctx.Err() != nil {
		return false
	}
	if s.shared() && s.instance != "" {
		for old := range e.sessions {
			if old.shared() && old.peer.ID == s.peer.ID && old.instance != s.instance {
				e.wg.Go(func() { old.close(codeSuccessor, restarted) })
			}
		}
	}
	e.sessions[s] = struct{}{}
	context.AfterFunc(s.conn.Context(), func() { e.drop(s) })
	return true
}

func (e *Endpoint) drop(s *session) {
	e.mu.Lock()
	defer e.mu.Unlock()
	delete(e.sessions, s)
	if l := (link{s.peer.ID, s.protocol}); e.links[l] == s {
		delete(e.links, l)
	}
}

// Close implements transport.Endpoint.
func (e *Endpoint) Close() error {
	e.closeOnce.Do(func() {
		if err := e.shut(); err != nil {
			e.closeErr = fmt.Errorf("close transport: %w", err)
		}
	})
	return e.closeErr
}

func (e *Endpoint) shut() error {
	e.mu.Lock()
	e.cancel()
	var open []*listener
	for _, l := range e.listeners {
		open = append(open, l)
	}
	e.mu.Unlock()
	for _, l := range open {
		_ = l.Close()
	}
	e.end(codeClosed, "", func(*session) bool { return true })
	err := e.quic.Close()
	err = errors.Join(err, e.transport.Close())
	if cerr := e.cfg.PacketConn.Close(); !errors.Is(cerr, net.ErrClosed) {
		err = errors.Join(err, cerr)
	}
	e.wg.Wait()
	return err
}
