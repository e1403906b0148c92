package admission

import (
	"bytes"
	"cmp"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/edgeswarm/edgeswarm/api"
	"github.com/edgeswarm/edgeswarm/identity"
	"github.com/edgeswarm/edgeswarm/transport"
)

// maxCallers is how many are served at once, and maxFromOne how many of them
// from one address; more must come again.
const (
	maxCallers = 32
	maxFromOne = 6
)

// Fleet is what a Door needs of its node.
type Fleet interface {
	// Standing is where the node stands now.
	Standing() Standing
	// Admit makes a board a member; on a manager, which may have to ask its
	// leader. Proof and key were checked.
	Admit(context.Context, *api.AdmitRequest) (*api.AdmitResponse, error)
}

// DoorConfig is what a Door is made with; all but Seeker and Log are needed.
type DoorConfig struct {
	Identity *identity.Keeper
	Endpoint transport.Endpoint
	Fleet    Fleet
	// Seeker answers the seeker that is at work on this board, nil if none is:
	// other candidates' calls are told to it. Nil: there never is one.
	Seeker func() *Seeker
	// Now is fleet time.
	Now func() time.Time
	Log *slog.Logger
}

// Door answers the join protocol for as long as the node runs, whether it is
// a member, a candidate, or neither.
type Door struct {
	DoorConfig
	limits  *limiter
	waiting waitingRoom
}

// NewDoor returns a Door.
func NewDoor(c DoorConfig) *Door {
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Seeker == nil {
		c.Seeker = func() *Seeker { return nil }
	}
	return &Door{DoorConfig: c, limits: newLimiter()}
}

// Run answers until ctx ends. It errs if the join protocol can't be listened on.
func (d *Door) Run(ctx context.Context) error {
	listener, err := d.Endpoint.Listen(transport.Join)
	if err != nil {
		return fmt.Errorf("open door: %w", err)
	}
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	wg.Go(func() { <-ctx.Done(); _ = listener.Close() })
	var inside crowd
	for {
		conn, err := listener.Accept()
		switch {
		case ctx.Err() != nil:
			if err == nil {
				_ = conn.Close()
			}
			return nil
		case err != nil:
			return fmt.Errorf("answer at the door: %w", err)
		}
		who := conn.Peer().Addr.Addr()
		if !inside.enter(who) {
			_ = conn.Close()
			continue
		}
		wg.Go(func() {
			defer inside.leave(who)
			d.serve(ctx, conn)
		})
	}
}

// serve holds one conversation.
func (d *Door) serve(ctx context.Context, conn transport.Conn) {
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer stop()
	t, err := newTalk(conn, identity.Acceptor, greetTimeout)
	if err != nil {
		return
	}
	c := &caller{door: d, talk: t, standing: d.Fleet.Standing()}
	if err := c.converse(ctx); err != nil && ctx.Err() == nil && !errors.Is(err, io.EOF) && !errors.Is(err, errTurnedAway) {
		d.Log.Debug("conversation at the door ended", "peer", t.peer().Addr, "err", err)
	}
	// Their end of the stream comes after they have read ours.
	_ = conn.CloseWrite()
	_ = conn.SetReadDeadline(time.Now().Add(time.Second))
	_, _ = io.Copy(io.Discard, io.LimitReader(conn, maxUnproven))
}

// caller is who is at the door.
type caller struct {
	door     *Door
	talk     *talk
	standing Standing
	hello    hello
	// role a proven caller is admitted as; "" admits nobody.
	role api.NodeRole
}

func (c *caller) converse(ctx context.Context) error {
	if err := c.talk.receive(&c.hello); err != nil {
		return err
	}
	if err := c.authenticate(ctx); err != nil {
		return err
	}
	c.talk.trust()
	for {
		_ = c.talk.conn.SetDeadline(time.Now().Add(admitTimeout))
		var r request
		if err := c.talk.receive(&r); errors.Is(err, io.EOF) || errors.Is(err, net.ErrClosed) {
			return nil
		} else if err != nil {
			return err
		}
		ctx, cancel := context.WithTimeout(ctx, admitTimeout)
		a := c.grant(ctx, r)
		cancel()
		if err := c.talk.send(a, nil); err != nil || a.Refusal != nil {
			return err
		}
	}
}

// authenticate lets the caller prove itself and offers what it then may know.
// It errs for every caller that did not.
func (c *caller) authenticate(ctx context.Context) error {
	peer, now := c.talk.peer(), c.door.Now()
	if c.hello.Version < 1 || c.hello.Node != peer.ID || !api.IsID(string(c.hello.Node)) {
		return c.turnAway(nil, api.Invalid, "this greeting can't be understood: update edged")
	}
	// Not the wall clock's business, but this process's: durations only.
	if wait := c.door.limits.blocked(peer.Addr.Addr(), time.Now()); wait > 0 {
		return c.turnAway(nil, api.Unavailable, "too many failed proofs from %s: wait %s", peer.Addr.Addr(), wait.Round(time.Second))
	}
	switch c.hello.By {
	case ByKey:
		return c.byKey()
	case ByToken:
		return c.byToken(now)
	case ByMember:
		return c.byMember()
	case ByAccept:
		return c.byAccept(ctx)
	default:
		return c.turnAway(nil, api.Invalid, "unknown kind of proof: update edged")
	}
}

// errTurnedAway ends the conversation with a caller that was refused.
var errTurnedAway = errors.New("turned away")

// turnAway refuses. Nothing is said but why; it always errs, so that nobody
// who was refused is listened to any further.
func (c *caller) turnAway(managers []api.ManagerAddr, kind api.Kind, format string, args ...any) error {
	return c.refuse(offer{Managers: clipManagers(managers)}, kind, format, args...)
}

func (c *caller) refuse(o offer, kind api.Kind, format string, args ...any) error {
	o.Version, o.Refusal = version, &refusal{kind, fmt.Sprintf(format, args...)}
	return cmp.Or(c.talk.send(o, nil), errTurnedAway)
}

// fail refuses a proof that does not hold.
func (c *caller) fail(format string, args ...any) error {
	if addr := c.talk.peer().Addr.Addr(); c.door.limits.fail(addr, time.Now()) {
		c.door.Log.Warn("a board failed to prove itself", "peer", addr, "node", api.ShortID(c.hello.Node), "by", c.hello.By)
	}
	return c.turnAway(nil, api.Denied, format, args...)
}

func (c *caller) byKey() error {
	var key identity.FleetKey
	for _, k := range c.standing.Keys {
		if k.Tag() == c.hello.Tag {
			key = k
		}
	}
	switch {
	case key.IsZero() && len(c.standing.Keys) == 0 && c.standing.Member && !c.standing.Manager:
		// Only managers surely know the key; where they are is no secret.
		return c.turnAway(c.standing.Managers, api.Unavailable, "this member can't check a fleet key: ask a manager")
	case key.IsZero() && len(c.standing.Keys) == 0:
		return c.turnAway(nil, api.Denied, "no fleet key is in use here")
	case key.IsZero() || !c.talk.proves(key):
		return c.fail("the fleet key is not the one in use here: put the same key on this card as on the others")
	}
	c.door.limits.pass(c.talk.peer().Addr.Addr())
	status := c.standing.status(c.door.Identity.Node())
	if s := c.door.Seeker(); s != nil && !c.standing.Member {
		s.called(Status{Node: c.hello.Node, Veteran: c.hello.Veteran, Member: c.hello.Fleet != "", Fleet: c.hello.Fleet}, c.talk.peer().Addr)
		status.Knows = s.known(c.hello.Node)
		status.Yields = c.hello.Yield && s.yields(c.hello.Node)
	}
	c.role = api.RoleAuto
	return c.talk.send(offer{Version: version, Status: status}, key)
}

func (c *caller) byToken(now time.Time) error {
	id := c.door.Identity
	if !c.standing.Member {
		return c.turnAway(nil, api.Unavailable, "this board belongs to no fleet yet")
	}
	shown := offer{Version: version, Cert: id.Certificate().Certificate[0], Root: id.RootPEM()}
	if !c.standing.Manager {
		shown.Managers = clipManagers(c.standing.Managers)
		return c.refuse(shown, api.Unavailable, "this member can't check a join token: ask a manager")
	}
	if err := c.talk.send(shown, nil); err != nil {
		return err
	}
	if err := c.talk.receive(&claim{}); err != nil {
		return err
	}
	i := slices.IndexFunc(c.standing.Tokens, func(t RoleToken) bool { return c.talk.proves(t.Token) })
	if i < 0 {
		return c.fail("the join token is not valid here, or no longer: `edgectl join-token worker` on a member prints the present one")
	}
	token := c.standing.Tokens[i]
	if !token.Expires.IsZero() && now.After(token.Expires) {
		return c.turnAway(nil, api.Denied, "the join token expired at %s: `edgectl join-token --rotate worker` on a member makes a new one", token.Expires.UTC().Format(time.RFC3339))
	}
	c.door.limits.pass(c.talk.peer().Addr.Addr())
	c.role = token.Role
	return c.talk.send(offer{Version: version, Status: c.standing.status(id.Node())}, token.Token)
}

// byMember lets in a member whose certificate the transport would refuse for
// its age. TLS has proven that the caller holds the key of the one it shows.
func (c *caller) byMember() error {
	id := c.door.Identity
	node, _, err := id.VerifyExpired([][]byte{c.hello.Cert})
	if err != nil || node != c.hello.Node || !sameKey(c.hello.Cert, c.talk.peer().Key) {
		return c.fail("the certificate is not one of this fleet")
	}
	status := c.standing.status(id.Node())
	return c.talk.send(offer{Version: version, Cert: id.Certificate().Certificate[0], Root: id.RootPEM(), Status: status}, nil)
}

// sameKey reports whether a certificate is for a public key (PKIX, DER).
func sameKey(cert, key []byte) bool {
	parsed, err := x509.ParseCertificate(cert)
	return err == nil && len(key) > 0 && bytes.Equal(parsed.RawSubjectPublicKeyInfo, key)
}

// grant does what a proven caller asks for.
func (c *caller) grant(ctx context.Context, r request) answer {
	if !c.standing.Manager {
		return answer{Refusal: &refusal{api.Unavailable, "only a manager can let a board in"}}
	}
	switch {
	case r.Admit != nil && c.role != "":
		return c.admit(ctx, r.Admit)
	case len(r.Renew) > 0 && c.hello.By == ByMember:
		resp, err := c.vouch(ctx, &api.AdmitRequest{Node: c.hello.Node, CSR: r.Renew, Renewal: true})
		if err != nil {
			return answer{Refusal: refuse(err)}
		}
		return answer{Renew: &resp.Credentials}
	default:
		return answer{Refusal: &refusal{api.Denied, "this was not proven to be allowed"}}
	}
}

func (c *caller) admit(ctx context.Context, asked *api.AdmitRequest) answer {
	addrs := make([]netip.AddrPort, 0, maxAddrs)
	for _, a := range append([]netip.AddrPort{c.talk.peer().Addr}, asked.Addrs...) {
		// A zone means something only on the board that it is of.
		if a = netip.AddrPortFrom(a.Addr().Unmap(), a.Port()); a.IsValid() && a.Addr().Zone() == "" && !slices.Contains(addrs, a) && len(addrs) < maxAddrs {
			addrs = append(addrs, a)
		}
	}
	resp, err := c.vouch(ctx, &api.AdmitRequest{
		Node: c.hello.Node, CSR: asked.CSR, Role: c.role, Description: asked.Description, Addrs: addrs,
	})
	if err != nil {
		return answer{Refusal: refuse(err)}
	}
	return answer{Admit: resp}
}

// vouch passes a request on if it is for the key and node on this channel.
func (c *caller) vouch(ctx context.Context, r *api.AdmitRequest) (*api.AdmitResponse, error) {
	csr, err := x509.ParseCertificateRequest(r.CSR)
	if err != nil || csr.CheckSignature() != nil || csr.Subject.CommonName != string(c.hello.Node) ||
		!bytes.Equal(csr.RawSubjectPublicKeyInfo, c.talk.peer().Key) {
		return nil, api.Errorf(api.Invalid, "", "the certificate request is not for the board that makes it")
	}
	return c.door.Fleet.Admit(ctx, r)
}
