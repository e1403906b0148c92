package quic

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"time"

	quicgo "github.com/quic-go/quic-go"

	"github.com/edgeswarm/edgeswarm/api"
	"github.com/edgeswarm/edgeswarm/transport"
)

// link is where a connection to one peer for one protocol is found.
type link struct {
	node     api.NodeID
	protocol transport.Protocol
}

// attempt is one making of a connection, shared by all who wait for it. It is
// not ended by one of them giving up.
type attempt struct {
	cancel  context.CancelFunc
	done    chan struct{}
	session *session
	err     error
}

// Dial implements transport.Endpoint.
func (e *Endpoint) Dial(ctx context.Context, node api.NodeID, p transport.Protocol) (transport.Conn, error) {
	if p == transport.Join {
		return nil, errors.New("dial: streams of the join protocol are opened with DialAddr")
	}
	for last := false; ; last = true {
		s, err := e.connect(ctx, link{node, p})
		if err != nil {
			return nil, fmt.Errorf("dial %s for %s: %w", api.ShortID(node), p, err)
		}
		st, err := s.open(ctx)
		if err == nil {
			return st, nil
		}
		// The connection may have broken just now: the next one is new.
		if last || ctx.Err() != nil || s.alive() {
			return nil, fmt.Errorf("dial %s for %s: %w", api.ShortID(node), p, e.why(ctx, err))
		}
		e.drop(s)
	}
}

// why prefers what the caller did over what came of it.
func (e *Endpoint) why(ctx context.Context, err error) error {
	switch {
	case e.ctx.Err() != nil:
		return transport.ErrClosed
	case ctx.Err() != nil:
		return ctx.Err()
	default:
		return explain(err)
	}
}

// connect returns the connection of a link, made if need be.
func (e *Endpoint) connect(ctx context.Context, l link) (*session, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	e.mu.Lock()
	if e.ctx.Err() != nil {
		e.mu.Unlock()
		return nil, transport.ErrClosed
	}
	if s := e.links[l]; s != nil && s.alive() {
		e.mu.Unlock()
		return s, nil
	}
	a := e.attempts[l]
	if a == nil {
		making, cancel := context.WithCancel(e.ctx)
		a = &attempt{cancel: cancel, done: make(chan struct{})}
		e.attempts[l] = a
		e.wg.Go(func() { e.attempt(making, l, a) })
	}
	e.mu.Unlock()
	select {
	case <-a.done:
		return a.session, a.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (e *Endpoint) attempt(ctx context.Context, l link, a *attempt) {
	defer a.cancel()
	s, err := e.race(ctx, l)
	e.mu.Lock()
	forgotten := ctx.Err() != nil
	delete(e.attempts, l)
	if err == nil && !forgotten {
		e.book.answered(l.node, s.peer.Addr)
		e.links[l] = s
	}
	e.mu.Unlock()
	if forgotten {
		if err == nil {
			s.close(codeClosed, "")
		}
		s, err = nil, transport.ErrUnknownNode
		if e.ctx.Err() != nil {
			err = transport.ErrClosed
		}
	}
	a.session, a.err = s, err
	close(a.done)
}

// outcome of dialling one address.
type outcome struct {
	addr    netip.AddrPort
	session *session
	err     error
}

// race dials the node's addresses, best first and each a little after the one
// before, until one answers or all have failed. Addresses that are learned
// meanwhile take part.
func (e *Endpoint) race(ctx context.Context, l link) (*session, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	tried := map[netip.AddrPort]bool{}
	results := make(chan outcome)
	pending := 0
	var failed error
	// The losers may answer after all: whatever they have made is closed.
	defer func() {
		if pending > 0 {
			e.wg.Go(func() {
				for range pending {
					if o := <-results; o.session != nil {
						o.session.close(codeClosed, "")
					}
				}
			})
		}
	}()
	for {
		addrs, changed := e.book.lookup(l.node)
		next, more := untried(addrs, tried)
		if !more && pending == 0 {
			if failed == nil {
				failed = transport.ErrUnknownNode
			}
			return nil, failed
		}
		var alarm <-chan time.Time
		if more {
			tried[next] = true
			pending++
			e.wg.Go(func() {
				s, err := e.dialOne(ctx, next, l)
				results <- outcome{next, s, err}
			})
			timer := time.NewTimer(stagger)
			defer timer.Stop()
			alarm = timer.C
		}
		select {
		case o := <-results:
			pending--
			if o.err == nil {
				return o.session, nil
			}
			e.book.silent(l.node, o.addr)
			if errors.Is(o.err, transport.ErrRefused) || errors.Is(o.err, transport.ErrClosed) {
				return nil, o.err
			}
			failed = fmt.Errorf("%s: %w", o.addr, o.err)
		case <-alarm:
		case <-changed:
		}
	}
}

func untried(addrs []netip.AddrPort, tried map[netip.AddrPort]bool) (netip.AddrPort, bool) {
	for _, a := range addrs {
		if !tried[a] {
			return a, true
		}
	}
	return netip.AddrPort{}, false
}

// DialAddr implements transport.Endpoint.
func (e *Endpoint) DialAddr(ctx context.Context, addr netip.AddrPort) (transport.Conn, error) {
	if e.ctx.Err() != nil {
		return nil, fmt.Errorf("dial %s to join: %w", addr, transport.ErrClosed)
	}
	both, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(e.ctx, cancel)()
	s, err := e.dialOne(both, addr, link{protocol: transport.Join})
	if err != nil {
		return nil, fmt.Errorf("dial %s to join: %w", addr, e.own(ctx, err))
	}
	st, err := s.open(both)
	if err != nil {
		s.close(codeClosed, "")
		return nil, fmt.Errorf("dial %s to join: %w", addr, e.why(ctx, err))
	}
	return st, nil
}

// own is why for an error that is explained already.
func (e *Endpoint) own(ctx context.Context, err error) error {
	if e.ctx.Err() != nil || ctx.Err() != nil {
		return e.why(ctx, err)
	}
	return err
}

// dialOne makes a connection to an address and waits to be welcomed.
func (e *Endpoint) dialOne(ctx context.Context, addr netip.AddrPort, l link) (*session, error) {
	var refusal error
	fleet := e.ownFleet()
	conn, err := e.transport.Dial(ctx, net.UDPAddrFromAddrPort(addr), e.clientTLS(l.protocol, l.node, &refusal), e.cfg.quicConfig(true))
	if err != nil {
		if refusal != nil {
			return nil, refusal
		}
		var idle *quicgo.IdleTimeoutError
		if errors.As(err, &idle) {
			err = errNoAnswer // it can't have fallen silent
		}
		return nil, e.why(ctx, err)
	}
	s := &session{ep: e, conn: conn, protocol: l.protocol, fleet: fleet, dialled: true}
	refuse := func(code string, err error) (*session, error) {
		s.close(codeRefused, code)
		return nil, err
	}
	if s.peer, err = e.identify(conn.ConnectionState().TLS, l.protocol); err != nil {
		return refuse("", err)
	}
	s.peer.Addr = addr
	if err := e.cfg.Admit(s.peer, l.protocol); err != nil {
		return refuse("not admitted", fmt.Errorf("%w here: %w", transport.ErrRefused, err))
	}
	if s.instance, err = welcomed(ctx, s); err != nil {
		s.close(codeClosed, "")
		return nil, e.why(ctx, err)
	}
	if !e.add(s) {
		s.close(codeClosed, "")
		return nil, transport.ErrClosed
	}
	s.mu.Lock()
	if s.shared() {
		s.wait()
	}
	s.mu.Unlock()
	return s, nil
}

// welcomed waits for the acceptor's word that we are let in.
func welcomed(ctx context.Context, s *session) (instance string, err error) {
	in, err := s.conn.AcceptUniStream(ctx)
	if err != nil {
		return "", err
	}
	if deadline, ok := ctx.Deadline(); ok {
		_ = in.SetReadDeadline(deadline)
	}
	defer context.AfterFunc(ctx, func() { in.CancelRead(codeAbandoned) })()
	raw, err := io.ReadAll(io.LimitReader(in, maxInstance))
	return string(raw), err
}
