package admission

import (
	"context"
	"errors"
	"net/netip"
	"time"

	"github.com/edgeswarm/edgeswarm/api"
	"github.com/edgeswarm/edgeswarm/identity"
	"github.com/edgeswarm/edgeswarm/transport"
)

// ClientConfig is what a Client is made with.
type ClientConfig struct {
	Identity *identity.Keeper
	Endpoint transport.Endpoint
	// Key and Token are what this board can prove, either may be zero; a token
	// goes first, because somebody chose its fleet.
	Key   identity.FleetKey
	Token identity.Token
	// Veteran and Fleet are what this board says of itself to who shares its key.
	Veteran bool
	Fleet   api.FleetID
	// Describe says what a new member is, and where it listens; nil: nothing.
	Describe func() (api.NodeDescription, []netip.AddrPort)
}

// Client speaks to Doors. Its methods may be called from any goroutine.
type Client struct{ ClientConfig }

// NewClient returns a Client.
func NewClient(c ClientConfig) *Client {
	if c.Describe == nil {
		c.Describe = func() (api.NodeDescription, []netip.AddrPort) { return api.NodeDescription{}, nil }
	}
	return &Client{c}
}

// Errors of a Client beside *api.Error.
var (
	// ErrSelf: the address is this board's own.
	ErrSelf = errors.New("this is the board itself")
	// ErrNoProof: there is neither key, token nor certificate to prove with.
	ErrNoProof = errors.New("this board has neither a fleet key nor a join token")
)

// Redirect is the error of a member that can't let boards in; its managers can.
type Redirect struct {
	Managers []api.ManagerAddr
	Err      error
}

func (r *Redirect) Error() string { return r.Err.Error() }
func (r *Redirect) Unwrap() error { return r.Err }

// Greet proves itself to whoever answers first at some addresses of one board,
// checks its proof, and learns how it stands. With yield it asks the other to
// let this board found their fleet.
func (c *Client) Greet(ctx context.Context, addrs []netip.AddrPort, yield bool) (Status, error) {
	by := ByKey
	if !c.Token.IsZero() {
		by = ByToken
	}
	ctx, cancel := context.WithTimeout(ctx, greetTimeout)
	defer cancel()
	s, err := c.open(ctx, addrs, by, yield)
	if err != nil {
		return Status{}, err
	}
	defer s.close()
	return s.status, nil
}

// Join asks a board to let this one in, and the managers that it names if it
// can't. Errors are *api.Error with one line for the user: Denied will not
// mend by itself, Unavailable may.
func (c *Client) Join(ctx context.Context, addrs []netip.AddrPort) (*api.AdmitResponse, error) {
	by := ByKey
	if !c.Token.IsZero() {
		by = ByToken
	}
	return follow(ctx, addrs, func(addrs []netip.AddrPort) (*api.AdmitResponse, error) { return c.join(ctx, addrs, by) })
}

// Renew asks for a new certificate with the present one, which may have
// expired. It is not adopted yet. Disowned: see there.
func (c *Client) Renew(ctx context.Context, addrs []netip.AddrPort) (*api.Credentials, error) {
	return follow(ctx, addrs, func(addrs []netip.AddrPort) (*api.Credentials, error) { return c.renew(ctx, addrs) })
}

// Disowned is the error of Renew when a board says that this one is no member
// of the fleet any more. By has proven who it is by a certificate of the fleet
// of any age; whether it has a say there is the caller's to know.
type Disowned struct {
	By  api.NodeID
	Err error
}

func (d *Disowned) Error() string { return d.Err.Error() }
func (d *Disowned) Unwrap() error { return d.Err }

// follow tries an address, and one hop further the managers that it names.
func follow[T any](ctx context.Context, addrs []netip.AddrPort, try func([]netip.AddrPort) (*T, error)) (*T, error) {
	out, err := try(addrs)
	var elsewhere *Redirect
	if !errors.As(err, &elsewhere) {
		return out, err
	}
	for _, m := range elsewhere.Managers {
		var again *Redirect
		if out, err = try(m.Addrs); err == nil || ctx.Err() != nil || api.KindOf(err) == api.Denied && !errors.As(err, &again) {
			return out, err
		}
	}
	return nil, api.Errorf(api.Unavailable, "join", "no manager of the fleet answers: power one on, or give the address of one (last: %w)", err)
}

// petition speaks to a board that can let others in, and hands ask the
// conversation and this board's request for a certificate.
func (c *Client) petition(ctx context.Context, addrs []netip.AddrPort, by By, ask func(s *session, csr []byte) error) error {
	ctx, cancel := context.WithTimeout(ctx, admitTimeout)
	defer cancel()
	s, err := c.open(ctx, addrs, by, false)
	if err != nil {
		return err
	}
	defer s.close()
	if err := s.canAdmit(); err != nil {
		return err
	}
	csr, err := c.Identity.CSR()
	if err != nil {
		return err
	}
	return ask(s, csr)
}

func (c *Client) join(ctx context.Context, addrs []netip.AddrPort, by By) (out *api.AdmitResponse, err error) {
	err = c.petition(ctx, addrs, by, func(s *session, csr []byte) error {
		description, at := c.Describe()
		a, err := s.ask(request{Admit: &api.AdmitRequest{Node: c.Identity.Node(), CSR: csr, Description: description, Addrs: at}})
		switch {
		case err != nil:
			return err
		case a.Admit == nil:
			return s.nonsense("join")
		case !c.Token.IsZero() && by == ByToken && !c.Token.PinsCA(a.Admit.Credentials.RootCAPEM):
			return api.Errorf(api.Denied, "join", "the fleet's CA is not the one that the token is for")
		}
		out = a.Admit
		return nil
	})
	return out, err
}

func (c *Client) renew(ctx context.Context, addrs []netip.AddrPort) (out *api.Credentials, err error) {
	err = c.petition(ctx, addrs, ByMember, func(s *session, csr []byte) error {
		a, err := s.ask(request{Renew: csr})
		switch {
		case api.KindOf(err) == api.NotFound:
			return &Disowned{By: s.status.Node, Err: err}
		case err != nil:
			return err
		case a.Renew == nil:
			return s.nonsense("renew certificate")
		}
		out = a.Renew
		return nil
	})
	return out, err
}

// dial opens a stream to the first address that answers, the next one being
// tried when one is slow (RFC 8305).
func (c *Client) dial(ctx context.Context, addrs []netip.AddrPort) (transport.Conn, error) {
	if len(addrs) == 0 {
		return nil, transport.ErrUnknownNode
	}
	ctx, cancel := context.WithCancel(ctx)
	type result struct {
		conn transport.Conn
		err  error
	}
	addrs = addrs[:min(len(addrs), maxAddrs)]
	results := make(chan result)
	pending, next := 0, 0
	start := func() {
		addr := addrs[next]
		next++
		pending++
		go func() {
			conn, err := c.Endpoint.DialAddr(ctx, addr)
			results <- result{conn, err}
		}()
	}
	defer func() {
		cancel()
		for range pending { // every dialler ends with ctx; one may have won late
			if r := <-results; r.err == nil {
				_ = r.conn.Close()
			}
		}
	}()
	var errs []error
	for start(); pending > 0; {
		var slow <-chan time.Time
		if next < len(addrs) {
			slow = time.After(250 * time.Millisecond)
		}
		select {
		case <-slow:
			start()
		case r := <-results:
			pending--
			if r.err == nil {
				return r.conn, nil
			}
			errs = append(errs, r.err)
			if next < len(addrs) && ctx.Err() == nil {
				start()
			}
		}
	}
	return nil, errors.Join(errs...)
}
