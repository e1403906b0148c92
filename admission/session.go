package admission

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/edgeswarm/edgeswarm/api"
	"github.com/edgeswarm/edgeswarm/identity"
	"github.com/edgeswarm/edgeswarm/transport"
)

// session is a conversation in which both sides have proven themselves, from
// the dialer's side.
type session struct {
	client *Client
	talk   *talk
	status Status
	stop   func() bool
}

// open dials and proves. What comes back wrong is an *api.Error with a line
// for the user; a board that can't be reached is Unavailable.
func (c *Client) open(ctx context.Context, addrs []netip.AddrPort, by By, yield bool) (*session, error) {
	const op = "prove"
	if by == ByKey && c.Key.IsZero() {
		return nil, api.Errorf(api.Invalid, op, "%w", ErrNoProof)
	}
	if len(addrs) == 0 {
		return nil, api.Errorf(api.Unavailable, op, "%w", transport.ErrUnknownNode)
	}
	conn, err := c.dial(ctx, addrs)
	if err != nil {
		return nil, api.Errorf(api.Unavailable, op, "no board answers at %s: see that it is on, that the address is right, and that UDP port %d reaches it (%w)", listed(addrs), addrs[0].Port(), err)
	}
	s := &session{client: c, stop: context.AfterFunc(ctx, func() { _ = conn.Close() })}
	if s.talk, err = newTalk(conn, identity.Dialer, greetTimeout); err == nil {
		err = s.prove(by, yield)
	}
	if err != nil {
		s.stop()
		_ = conn.Close()
		if api.KindOf(err) == api.Internal { // the network's doing, not the peer's word
			return nil, api.Errorf(api.Unavailable, op, "conversation with %s: %w", conn.Peer().Addr, err)
		}
		return nil, err
	}
	return s, nil
}

// listed are addresses as people write them.
func listed(addrs []netip.AddrPort) string {
	var out []string
	for _, a := range addrs {
		out = append(out, a.String())
	}
	return strings.Join(out, ", ")
}

func (s *session) close() {
	s.stop()
	_ = s.talk.conn.Close()
}

func (s *session) prove(by By, yield bool) error {
	c := s.client
	h := hello{Version: version, By: by, Node: c.Identity.Node()}
	if s.talk.peer().ID == h.Node {
		return api.Errorf(api.Invalid, "prove", "%w", ErrSelf)
	}
	var with secret
	switch by {
	case ByKey:
		h.Tag, h.Yield, h.Veteran, h.Fleet = c.Key.Tag(), yield, c.Veteran, c.Fleet
		with = c.Key
	case ByMember:
		h.Cert = c.Identity.Certificate().Certificate[0]
	}
	if err := s.talk.send(h, with); err != nil {
		return err
	}
	var o offer
	if err := s.talk.receive(&o); err != nil {
		return err
	}
	switch by {
	case ByKey:
		return s.accept(o, c.Key)
	case ByToken:
		return s.proveToken(o)
	default:
		if err := refused(o); err != nil {
			return err
		}
		// Either board's clock may be off by years; whose CA it is, is not.
		node, fleet, err := c.Identity.VerifyExpired([][]byte{o.Cert})
		if err != nil || node != s.talk.peer().ID || fleet != c.Identity.Fleet() || !sameKey(o.Cert, s.talk.peer().Key) {
			return api.Errorf(api.Denied, "prove", "the board at %s is not of this fleet", s.talk.peer().Addr)
		}
		return s.take(o)
	}
}

// proveToken shows the token's proof, to the fleet that it pins and to no other.
func (s *session) proveToken(o offer) error {
	const op = "prove"
	token := s.client.Token
	if len(o.Cert) == 0 {
		if err := refused(o); err != nil {
			return err
		}
		return s.nonsense(op)
	}
	// This board's clock counts for nothing yet: the token says whose CA it is.
	if !token.PinsCA(o.Root) {
		return api.Errorf(api.Denied, op, "the join token is for another fleet than the one at %s: `edgectl join-token worker` on one of its members prints the right one", s.talk.peer().Addr)
	}
	node, _, err := identity.VerifyChain(o.Root, [][]byte{o.Cert}, time.Time{})
	if err != nil || node != s.talk.peer().ID || !sameKey(o.Cert, s.talk.peer().Key) {
		return api.Errorf(api.Denied, op, "the board at %s shows the fleet's CA but is not of the fleet", s.talk.peer().Addr)
	}
	if err := refused(o); err != nil {
		return err
	}
	if err := s.talk.send(claim{}, token); err != nil {
		return err
	}
	var second offer
	if err := s.talk.receive(&second); err != nil {
		return err
	}
	return s.accept(second, token)
}

// accept takes an offer that the other side must have proven.
func (s *session) accept(o offer, with secret) error {
	if err := refused(o); err != nil {
		return err
	}
	if !s.talk.proves(with) {
		return api.Errorf(api.Denied, "prove", "the board at %s does not hold what it asks others to prove; it is none of the fleet", s.talk.peer().Addr)
	}
	return s.take(o)
}

func (s *session) take(o offer) error {
	if o.Status == nil || !o.Status.valid() || o.Status.Node != s.talk.peer().ID {
		return s.nonsense("prove")
	}
	s.status = *o.Status
	s.talk.trust()
	return nil
}

func refused(o offer) error {
	if o.Refusal == nil {
		return nil
	}
	err := o.Refusal.err("prove")
	if len(o.Managers) > 0 && validManagers(o.Managers) {
		return &Redirect{Managers: o.Managers, Err: err}
	}
	return err
}

func (s *session) nonsense(op string) error {
	return api.Errorf(api.Internal, op, "the board at %s answers what was not asked: update edged on one of the two", s.talk.peer().Addr)
}

// canAdmit errs if the other can't let boards in, and says who can.
func (s *session) canAdmit() error {
	switch st := s.status; {
	case !st.Member:
		return api.Errorf(api.Unavailable, "join", "the board at %s belongs to no fleet yet", s.talk.peer().Addr)
	case st.FoldedInto != "":
		return api.Errorf(api.Unavailable, "join", "its fleet %s is giving way to fleet %s", api.ShortID(st.Fleet), api.ShortID(st.FoldedInto))
	case !st.Manager:
		others := slices.DeleteFunc(slices.Clone(st.Managers), func(m api.ManagerAddr) bool { return m.ID == st.Node })
		return &Redirect{Managers: others, Err: api.Errorf(api.Unavailable, "join", "the board at %s is no manager", s.talk.peer().Addr)}
	default:
		return nil
	}
}

func (s *session) ask(r request) (answer, error) {
	if err := s.talk.conn.SetDeadline(time.Now().Add(admitTimeout)); err != nil {
		return answer{}, err
	}
	if err := s.talk.send(r, nil); err != nil {
		return answer{}, s.lost(err)
	}
	var a answer
	if err := s.talk.receive(&a); err != nil {
		return answer{}, s.lost(err)
	}
	if a.Refusal != nil {
		return answer{}, a.Refusal.err("join")
	}
	return a, nil
}

func (s *session) lost(err error) error {
	return api.Errorf(api.Unavailable, "join", "%w", fmt.Errorf("the conversation with %s broke off: %w", s.talk.peer().Addr, err))
}
