package admission

import (
	"cmp"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/edgeswarm/edgeswarm/api"
	"github.com/edgeswarm/edgeswarm/identity"
)

const (
	// maxWaiting is how many boards may wait at a door to be accepted, and
	// maxWaitingFromOne how many of them at one address.
	maxWaiting        = 16
	maxWaitingFromOne = 2
	// waitLimit is how long a code is good for; then its board makes another.
	waitLimit = 15 * time.Minute
	// verdictTimeout is how long an accepted board may take to say that the code
	// was its own, and what it is.
	verdictTimeout = 10 * time.Second

	nonceSize   = 32
	maxHostname = 64
)

// Waiter is a board that waits to be accepted. Only that it holds its key is
// proven; all else is its own word.
type Waiter struct {
	Node     api.NodeID
	Hostname string
	Addr     netip.AddrPort
	// Shown is the half of its code that the fleet knows.
	Shown string
	Since time.Time // fleet time
}

// waiter is a Waiter while its conversation lasts.
type waiter struct {
	Waiter
	verdict chan verdictOf // 1 slot
}

// verdictOf is what an operator decided, and where to tell how it went.
type verdictOf struct {
	secret string
	role   api.NodeRole
	done   chan error // 1 slot
}

// waitingRoom holds the boards that wait. The zero value is empty.
type waitingRoom struct {
	mu   sync.Mutex
	seat map[*waiter]bool
}

// enter takes a board in if there is room.
func (r *waitingRoom) enter(w *waiter) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	fromOne := 0
	for other := range r.seat {
		if from(other.Addr.Addr()) == from(w.Addr.Addr()) {
			fromOne++
		}
	}
	if len(r.seat) >= maxWaiting || fromOne >= maxWaitingFromOne {
		return false
	}
	if r.seat == nil {
		r.seat = map[*waiter]bool{}
	}
	r.seat[w] = true
	return true
}

func (r *waitingRoom) leave(w *waiter) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.seat, w)
}

// show makes a waiter one that can be accepted.
func (r *waitingRoom) show(w *waiter, code string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	w.Shown = code
}

func (r *waitingRoom) list() []Waiter {
	r.mu.Lock()
	defer r.mu.Unlock()
	var out []Waiter
	for w := range r.seat {
		if w.Shown != "" {
			out = append(out, w.Waiter)
		}
	}
	slices.SortFunc(out, func(a, b Waiter) int {
		return cmp.Or(a.Since.Compare(b.Since), cmp.Compare(a.Node, b.Node))
	})
	return out
}

// take finds the one board with a code and lets nobody else accept it. It errs
// if there is none, or more than one: then somebody is guessing.
func (r *waitingRoom) take(shown string) (*waiter, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	var found []*waiter
	for w := range r.seat {
		if w.Shown == shown {
			found = append(found, w)
		}
	}
	switch len(found) {
	case 0:
		return nil, api.Errorf(api.NotFound, "accept", "no board waits with the code %s-…: it is good for %v and for one use; read the present one on the board, with `edgectl status`. If that board shows a code that this fleet never does, somebody is between them", shown, waitLimit)
	case 1:
		delete(r.seat, found[0])
		return found[0], nil
	default:
		return nil, api.Errorf(api.Conflict, "accept", "%d boards wait with the code %s-…: restart edged on yours, so that it makes another", len(found), shown)
	}
}

// Waiting are the boards that wait here to be accepted, the first to come first.
func (d *Door) Waiting() []Waiter { return d.waiting.list() }

// Accept lets in the board that waits with a code, at an operator's word. The
// code is used up, whatever comes of it. Errors are *api.Error with one line
// for the user: NotFound if no board waits here with it.
func (d *Door) Accept(ctx context.Context, code identity.Code, role api.NodeRole) (Waiter, error) {
	w, err := d.waiting.take(code.Shown())
	if err != nil {
		return Waiter{}, err
	}
	done := make(chan error, 1)
	w.verdict <- verdictOf{code.Secret(), role, done}
	select {
	case err = <-done:
		return w.Waiter, err
	case <-ctx.Done():
		return w.Waiter, api.Errorf(api.Unavailable, "accept", "the board does not answer: %w", ctx.Err())
	}
}

// byAccept lets a board without any secret wait for an operator's word. Each
// side commits itself before it knows what the other adds to the code.
func (c *caller) byAccept(ctx context.Context) error {
	st, d, peer := c.standing, c.door, c.talk.peer()
	switch {
	case !st.Member:
		return c.turnAway(nil, api.Unavailable, "this board belongs to no fleet yet")
	case st.FoldedInto != "":
		return c.turnAway(st.Managers, api.Unavailable, "this fleet is giving way to another")
	case !st.Manager:
		return c.turnAway(st.Managers, api.Unavailable, "boards wait at the managers")
	}
	w := &waiter{Waiter: Waiter{Node: peer.ID, Hostname: printable(c.hello.Name[:min(len(c.hello.Name), maxHostname)]), Addr: peer.Addr, Since: d.Now()}, verdict: make(chan verdictOf, 1)}
	if !d.waiting.enter(w) {
		return c.turnAway(nil, api.Unavailable, "too many boards wait already: it will ask again")
	}
	defer d.waiting.leave(w)
	nonce := make([]byte, nonceSize)
	_, _ = rand.Read(nonce) // it never fails
	id := d.Identity
	if err := c.talk.send(offer{Version: version, Cert: id.Certificate().Certificate[0], Root: id.RootPEM(), Commit: commitment(nonce)}, nil); err != nil {
		return err
	}
	var theirs claim
	if err := c.talk.receive(&theirs); err != nil {
		return err
	}
	if len(theirs.Nonce) != nonceSize {
		return c.turnAway(nil, api.Invalid, "this can't be understood: update edged")
	}
	if err := c.talk.send(reveal{Nonce: nonce}, nil); err != nil {
		return err
	}
	d.waiting.show(w, c.talk.shownCode(peer.Key, id.PublicKey()))
	d.Log.Info("a board waits to be accepted", "node", api.ShortID(peer.ID), "name", w.Hostname, "peer", peer.Addr)
	return c.attend(ctx, w)
}

// attend waits for the operator, or for the board to give up.
func (c *caller) attend(ctx context.Context, w *waiter) error {
	_ = c.talk.conn.SetDeadline(time.Now().Add(waitLimit))
	type heard struct {
		r   request
		err error
	}
	words := make(chan heard, 1)
	go func() { // ends with the conversation
		var h heard
		h.err = c.talk.receive(&h.r)
		words <- h
	}()
	var v verdictOf
	select {
	case <-words: // before it was accepted, it has nothing to say
		c.door.waiting.leave(w)
		select {
		case v = <-w.verdict: // too late
			v.done <- api.Errorf(api.NotFound, "accept", "the board has just given up waiting: read its next code with `edgectl status` on it")
		default:
		}
		return errTurnedAway
	case <-ctx.Done():
		return ctx.Err()
	case v = <-w.verdict:
	}
	_ = c.talk.conn.SetDeadline(time.Now().Add(verdictTimeout))
	err := c.talk.send(acceptance{Secret: v.secret}, nil)
	var h heard
	if err == nil {
		h = <-words
		err = h.err
	}
	if err != nil {
		c.door.limits.fail(w.Addr.Addr(), time.Now())
		v.done <- api.Errorf(api.Denied, "accept", "the board did not take the code for its own, or went away: read the code that it shows now, with `edgectl status` on it")
		return err
	}
	c.role = v.role
	asking, cancel := context.WithTimeout(ctx, admitTimeout)
	defer cancel()
	a := c.grant(asking, h.r)
	_ = c.talk.conn.SetDeadline(time.Now().Add(admitTimeout))
	err = c.talk.send(a, nil)
	if a.Refusal != nil {
		err = a.Refusal.err("accept")
	}
	v.done <- err
	return cmp.Or(err, errTurnedAway) // there is no more to say
}

// commitment binds to a nonce and does not tell it.
func commitment(nonce []byte) []byte {
	sum := sha256.Sum256(append([]byte("edgeswarm accept commitment 1"), nonce...))
	return sum[:]
}

func commitsTo(commit, nonce []byte) bool {
	return len(nonce) == nonceSize && subtle.ConstantTimeCompare(commit, commitment(nonce)) == 1
}
