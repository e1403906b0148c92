package admission

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"log/slog"
	"maps"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/edgeswarm/edgeswarm/api"
	"github.com/edgeswarm/edgeswarm/discovery"
	"github.com/edgeswarm/edgeswarm/identity"
)

const (
	// maxFleets is at how many fleets' doors a board waits at once.
	maxFleets = 4
	// applyFirst is how soon after a wait that ended the next begins: each new
	// code is a new chance to guess it. The pauses grow to applyLast, also after
	// a code that a fleet got wrong.
	applyFirst = 10 * time.Second
	applyLast  = 5 * time.Minute
	// applyLook is how often to look for fleets beside when one is heard of.
	applyLook = 5 * time.Second
)

// errWrongCode: a fleet claims that the operator accepted this board, and does
// not know the code that it shows.
var errWrongCode = errors.New("the fleet does not know this board's code")

// ApplicantConfig is what an Applicant is made with; all but Log are needed.
type ApplicantConfig struct {
	Client *Client
	Finder discovery.Finder
	// Name is how the board calls itself to people.
	Name string
	// Show is told the codes that are good now, whenever they change.
	Show func([]identity.Code)
	Log  *slog.Logger
}

// Applicant waits, for a board that can prove nothing, at the doors of the
// fleets in sight, until an operator of one accepts it by its code.
type Applicant struct {
	ApplicantConfig

	mu    sync.Mutex
	codes map[string]identity.Code // by fleet
}

// NewApplicant returns an Applicant.
func NewApplicant(c ApplicantConfig) *Applicant {
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	return &Applicant{ApplicantConfig: c, codes: map[string]identity.Code{}}
}

// Run waits until a fleet has accepted the board, or ctx ends.
func (a *Applicant) Run(ctx context.Context) (*api.AdmitResponse, error) {
	ctx, cancel := context.WithCancel(ctx)
	var waits sync.WaitGroup
	defer waits.Wait()
	defer cancel()
	accepted := make(chan *api.AdmitResponse, maxFleets)
	at := map[string]bool{}
	tick := time.NewTicker(applyLook)
	defer tick.Stop()
	for {
		for fleet := range a.inSight() {
			if at[fleet] || len(at) >= maxFleets {
				continue
			}
			at[fleet] = true
			waits.Go(func() {
				if resp := a.waitAt(ctx, fleet); resp != nil {
					accepted <- resp
				}
			})
		}
		select {
		case resp := <-accepted:
			return resp, nil
		case <-tick.C:
		case <-a.Finder.Changed():
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// inSight are the fleets heard of, and where their managers, or else any of
// their members, answer.
func (a *Applicant) inSight() map[string][]netip.AddrPort {
	managers, members := map[string][]netip.AddrPort{}, map[string][]netip.AddrPort{}
	for _, s := range a.Finder.Sightings() {
		fleet := string(s.Fleet)
		if fleet == "" && s.Node == "" && len(s.Addrs) > 0 {
			fleet = "@" + s.Addrs[0].String() // an address that was configured
		}
		if fleet == "" {
			continue
		}
		members[fleet] = append(members[fleet], s.Addrs...)
		if s.Manager {
			managers[fleet] = append(managers[fleet], s.Addrs...)
		}
	}
	maps.Copy(members, managers)
	return members
}

// waitAt waits at one fleet's doors, with one code after the other.
func (a *Applicant) waitAt(ctx context.Context, fleet string) *api.AdmitResponse {
	pause := applyFirst
	for {
		began := time.Now()
		resp, err := a.Client.Apply(ctx, a.inSight()[fleet], a.Name, func(code identity.Code) { a.show(fleet, code) })
		a.show(fleet, identity.Code{})
		if err == nil {
			return resp
		}
		if ctx.Err() != nil {
			return nil
		}
		if errors.Is(err, errWrongCode) {
			a.Log.Warn("a fleet claimed that this board was accepted, and did not know its code", "fleet", fleet)
		} else {
			a.Log.Debug("waiting to be accepted ended", "fleet", fleet, "err", err)
			if time.Since(began) >= waitLimit/2 {
				pause = applyFirst
			}
		}
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return nil
		}
		pause = min(2*pause, applyLast)
	}
}

// show changes the code for a fleet; the zero code is none.
func (a *Applicant) show(fleet string, code identity.Code) {
	a.mu.Lock()
	if code == (identity.Code{}) {
		delete(a.codes, fleet)
	} else {
		a.codes[fleet] = code
	}
	var all []identity.Code
	for _, fleet := range slices.Sorted(maps.Keys(a.codes)) {
		all = append(all, a.codes[fleet])
	}
	a.mu.Unlock()
	a.Show(all)
}

// Apply waits at a manager's door to be accepted, and shows the code to do it
// by. It returns when the board was let in, or the wait is over.
func (c *Client) Apply(ctx context.Context, addrs []netip.AddrPort, name string, show func(identity.Code)) (*api.AdmitResponse, error) {
	return follow(ctx, addrs, func(addrs []netip.AddrPort) (*api.AdmitResponse, error) { return c.apply(ctx, addrs, name, show) })
}

func (c *Client) apply(ctx context.Context, addrs []netip.AddrPort, name string, show func(identity.Code)) (*api.AdmitResponse, error) {
	const op = "apply"
	conn, err := c.dial(ctx, addrs)
	if err != nil {
		return nil, api.Errorf(api.Unavailable, op, "no board answers at %s: %w", listed(addrs), err)
	}
	s := &session{client: c, stop: context.AfterFunc(ctx, func() { _ = conn.Close() })}
	defer func() { s.stop(); _ = conn.Close() }()
	if s.talk, err = newTalk(conn, identity.Dialer, greetTimeout); err != nil {
		return nil, err
	}
	shown, root, err := s.agree(name)
	if err != nil {
		return nil, err
	}
	code := identity.NewCode(shown)
	show(code)
	_ = conn.SetDeadline(time.Now().Add(waitLimit + greetTimeout))
	var v acceptance
	if err := s.talk.receive(&v); err != nil {
		return nil, s.lost(err)
	}
	if !code.Opens(v.Secret) {
		return nil, api.Errorf(api.Denied, op, "%w", errWrongCode)
	}
	s.talk.trust()
	csr, err := c.Identity.CSR()
	if err != nil {
		return nil, err
	}
	description, at := c.Describe()
	a, err := s.ask(request{Admit: &api.AdmitRequest{Node: c.Identity.Node(), CSR: csr, Description: description, Addrs: at}})
	switch {
	case err != nil:
		return nil, err
	case a.Admit == nil:
		return nil, s.nonsense(op)
	case !bytes.Equal(a.Admit.Credentials.RootCAPEM, root):
		return nil, api.Errorf(api.Denied, op, "the fleet's CA is not the one that the code was made with")
	}
	return a.Admit, nil
}

// agree makes both sides' half of the code, and answers it with the CA that it
// is bound to.
func (s *session) agree(name string) (shown string, root []byte, err error) {
	const op = "apply"
	c, peer := s.client, s.talk.peer()
	if peer.ID == c.Identity.Node() {
		return "", nil, api.Errorf(api.Invalid, op, "%w", ErrSelf)
	}
	if err := s.talk.send(hello{Version: version, By: ByAccept, Node: c.Identity.Node(), Name: name}, nil); err != nil {
		return "", nil, err
	}
	var o offer
	if err := s.talk.receive(&o); err != nil {
		return "", nil, err
	}
	if err := refused(o); err != nil {
		return "", nil, err
	}
	node, _, err := identity.VerifyChain(o.Root, [][]byte{o.Cert}, time.Time{}) // this board's clock counts for nothing yet
	if err != nil || node != peer.ID || !sameKey(o.Cert, peer.Key) {
		return "", nil, api.Errorf(api.Denied, op, "the board at %s shows a CA but is not of its fleet", peer.Addr)
	}
	nonce := make([]byte, nonceSize)
	_, _ = rand.Read(nonce) // it never fails
	if err := s.talk.send(claim{Nonce: nonce}, nil); err != nil {
		return "", nil, err
	}
	var theirs reveal
	if err := s.talk.receive(&theirs); err != nil {
		return "", nil, err
	}
	if !commitsTo(o.Commit, theirs.Nonce) {
		return "", nil, api.Errorf(api.Denied, op, "the board at %s does not keep to what it committed itself to", peer.Addr)
	}
	return s.talk.shownCode(c.Identity.PublicKey(), peer.Key), o.Root, nil
}
