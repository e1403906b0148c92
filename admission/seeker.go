package admission

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"net/netip"
	"sync"
	"time"

	"github.com/edgeswarm/edgeswarm/api"
	"github.com/edgeswarm/edgeswarm/discovery"
)

// SeekerConfig is what a Seeker is made with. The node announces the board
// (with its key's tag, and Veteran) before it runs a Seeker, and its Door
// answers meanwhile.
type SeekerConfig struct {
	Client *Client
	Finder discovery.Finder
	// Memory is what the board remembers of earlier memberships.
	Memory Remembered
	// Reachable tells whether the board has an address; nil: it has one.
	Reachable func() bool
	// Tell is told, in one line, what the board waits for, when that changes;
	// nil: nobody is.
	Tell func(string)
	Log  *slog.Logger
}

// Seeker brings a board into a fleet, or finds that it should found one.
type Seeker struct {
	SeekerConfig
	wake chan struct{}

	mu      sync.Mutex
	court   *founding
	outcome *Outcome
	told    string
}

// Outcome of a Seeker: exactly one of the two.
type Outcome struct {
	// Found: this board is to found its fleet (see Found).
	Found bool
	// Joined is what a fleet gave this board; it is not adopted yet.
	Joined *api.AdmitResponse
}

// NewSeeker returns a Seeker; it answers callers at once, and works while it runs.
func NewSeeker(c SeekerConfig) *Seeker {
	if c.Tell == nil {
		c.Tell = func(string) {}
	}
	if c.Reachable == nil {
		c.Reachable = func() bool { return true }
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	tag := c.Client.Key.Tag()
	if !c.Client.Token.IsZero() {
		tag = "" // a token is for a fleet that exists
	}
	s := &Seeker{SeekerConfig: c, wake: make(chan struct{}, 1)}
	jitter := rand.N(200 * time.Millisecond)
	s.court = newFounding(c.Client.Identity.Node(), tag, c.Memory.Veteran, c.Memory.Fleet, jitter, time.Now())
	s.court.keep(time.Now(), c.Memory.Managers)
	return s
}

// Run seeks until there is an outcome or ctx ends. After Found the Seeker goes
// on refusing to yield to others, as long as the Door asks it.
func (s *Seeker) Run(ctx context.Context) (Outcome, error) {
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	s.mu.Lock()
	s.court.awake = time.Now()
	s.court.began = s.court.awake
	s.mu.Unlock()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		sightings, reachable := s.Finder.Sightings(), s.Reachable()
		s.mu.Lock()
		now := time.Now()
		s.court.reachable(now, reachable)
		s.court.seen(now, sightings)
		do, next := s.court.step(now)
		message, outcome := s.court.message(now), s.outcome
		s.mu.Unlock()
		if outcome != nil {
			return *outcome, nil
		}
		s.tell(message)
		for _, a := range do {
			switch a.kind {
			case actFound:
				return Outcome{Found: true}, nil
			case actGreet:
				wg.Go(func() { s.greet(ctx, a) })
			case actJoin:
				wg.Go(func() { s.join(ctx, a) })
			}
		}
		timer.Reset(time.Until(next))
		select {
		case <-ctx.Done():
			return Outcome{}, ctx.Err()
		case <-s.Finder.Changed():
		case <-s.wake:
		case <-timer.C:
		}
	}
}

func (s *Seeker) tell(message string) {
	if message != s.told {
		s.told = message
		s.Tell(message)
	}
}

// report lets the state machine know something and the loop look again.
func (s *Seeker) report(what func(f *founding, now time.Time)) {
	s.mu.Lock()
	what(s.court, time.Now())
	s.mu.Unlock()
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

func (s *Seeker) greet(ctx context.Context, a action) {
	status, err := s.Client.Greet(ctx, a.addrs, a.yield)
	if err != nil && ctx.Err() == nil {
		s.Log.Debug("greeting unanswered", "peer", a.peer, "err", err)
	}
	s.report(func(f *founding, now time.Time) { f.greeted(now, a.peer, a.yield, status, err) })
}

func (s *Seeker) join(ctx context.Context, a action) {
	joined, err := s.Client.Join(ctx, a.addrs)
	if err != nil {
		s.Log.Debug("not let in", "peer", a.peer, "err", err)
	}
	s.report(func(f *founding, now time.Time) {
		if err != nil {
			f.joinFailed(now, a.peer, err)
			return
		}
		s.outcome = &Outcome{Joined: joined}
	})
}

// called is told by the Door who proved itself there.
func (s *Seeker) called(status Status, addr netip.AddrPort) {
	s.report(func(f *founding, now time.Time) { f.called(now, status, addr) })
}

func (s *Seeker) yields(to api.NodeID) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.court.yields(time.Now(), to)
}

func (s *Seeker) known(but api.NodeID) []Known {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.court.known(but)
}
