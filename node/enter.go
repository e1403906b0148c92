package node

import (
	"context"
	"fmt"
	"time"

	"github.com/edgeswarm/edgeswarm/admission"
	"github.com/edgeswarm/edgeswarm/api"
)

// waiting is what a board without a fleet says of itself.
type waiting struct {
	state   api.MembershipState
	message string
}

func (b *Board) wait(state api.MembershipState, format string, args ...any) {
	w := waiting{state, fmt.Sprintf(format, args...)}
	if old := b.waits.Swap(&w); old == nil || *old != w {
		b.cfg.Logger.Info("belongs to no fleet", "waits", w.message)
	}
}

// enter makes the board a member, of the fleet of its key or token or of the
// one that an operator names. It returns the members told of, once the
// credentials are adopted.
func (b *Board) enter(ctx context.Context) ([]api.Peer, error) {
	// What an attempt that was cut short left behind belongs to no membership.
	if err := b.dir.forget(raftRoom, foundingFile, agentRoom); err != nil {
		return nil, err
	}
	b.announce()
	stop := b.sweepLater(ctx)
	defer stop()
	for {
		seeking, stop := context.WithCancel(ctx)
		results := make(chan sought, 1)
		go func() { results <- b.seek(seeking) }()
		var ask *intent
		select {
		case i := <-b.intents:
			ask = &i
		case r := <-results:
			stop()
			return r.peers, r.err
		case <-ctx.Done():
		}
		stop()
		r := <-results
		switch {
		case ask == nil:
			return nil, ctx.Err()
		case r.err == nil: // it was quicker
			ask.done <- intended{err: api.Errorf(api.Conflict, "", "this board has joined fleet %s meanwhile", b.keeper.Fleet())}
			return r.peers, nil
		}
		if peers, entered := b.carryOut(ctx, *ask); entered {
			return peers, nil
		}
	}
}

const (
	// sweepFirst is how soon what a former fleet left on this board is looked
	// for again; the pauses grow to sweepLast.
	sweepFirst = time.Second
	sweepLast  = 30 * time.Second
)

// sweepLater ends what is left of a fleet that this board no longer belongs to,
// as soon as the container runtime lets it: it may have been away when the
// membership ended, or edged been stopped in the middle. The function ends
// that, and waits: what runs in the next fleet is another matter.
func (b *Board) sweepLater(ctx context.Context) (stop func()) {
	if !b.memory.Read().Veteran {
		return func() {} // there never was one
	}
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for pause := sweepFirst; ; pause = min(2*pause, sweepLast) {
			err := b.sweep(ctx)
			if err == nil {
				break
			}
			text := fmt.Sprintf("tasks of the fleet that it belonged to may still run on it: %v; it tries again to end them", err)
			if b.left.Swap(&text) == nil {
				b.cfg.Logger.Warn("some of the fleet's tasks are left on this board", "err", err)
			}
			if !sleep(ctx, pause) {
				break
			}
		}
		b.left.Store(nil)
	}()
	return func() {
		cancel()
		<-done
	}
}

// sought is how seeking ended: with the members told of, or an error.
type sought struct {
	peers []api.Peer
	err   error
}

// seek looks for the fleet of the board's own key or token until it is in, or
// ctx ends.
func (b *Board) seek(ctx context.Context) sought {
	key, token, err := b.credentials()
	if err != nil {
		return sought{err: err}
	}
	why := b.parked()
	switch {
	case why != "":
		state := api.MembershipNone
		if why == errRemoved.Error() {
			state = api.MembershipRemoved
		}
		b.wait(state, "%s; to enter a fleet again: edgectl join, or edgectl init --force", why)
		<-ctx.Done()
		return sought{err: ctx.Err()}
	case key.IsZero() && token.IsZero():
		return b.apply(ctx)
	}
	b.wait(api.MembershipSeeking, "looks for boards with the same key")
	if !token.IsZero() {
		return b.joinRepeatedly(ctx, b.client(key, token))
	}
	seeker := admission.NewSeeker(admission.SeekerConfig{
		Client: b.client(key, token), Finder: b.parts.Finder, Memory: b.memory.Read(),
		Reachable: func() bool { return len(b.addrs()) > 0 },
		Tell:      func(message string) { b.wait(api.MembershipSeeking, "%s", message) }, Log: b.cfg.Logger.With("room", "admission"),
	})
	b.seeking.Store(seeker)
	defer b.seeking.Store(nil)
	outcome, err := seeker.Run(ctx)
	if err != nil {
		return sought{err: err}
	}
	if outcome.Found {
		_, err := b.found(api.InitRequest{}, key)
		return sought{peers: []api.Peer{}, err: err}
	}
	peers, err := b.adopt(outcome.Joined)
	return sought{peers, err}
}

// joinRetry is the pause between two tries to join by token.
const joinRetry = 5 * time.Second

func (b *Board) joinRepeatedly(ctx context.Context, client *admission.Client) sought {
	b.wait(api.MembershipSeeking, "joins the fleet of its token")
	for {
		addrs, err := b.joinAddrs(b.cfg.JoinAddrs)
		if err == nil {
			var resp *api.AdmitResponse
			if resp, err = client.Join(ctx, addrs); err == nil {
				peers, err := b.adopt(resp)
				return sought{peers, err}
			}
		}
		if ctx.Err() != nil {
			return sought{err: ctx.Err()}
		}
		b.wait(api.MembershipSeeking, "can't join yet: %v", err)
		if !sleep(ctx, joinRetry) {
			return sought{err: ctx.Err()}
		}
	}
}

// fillSeeking tells how a board without a fleet stands.
func (b *Board) fillSeeking(s *api.BoardStatus) {
	if w := b.waits.Load(); w != nil {
		s.Membership, s.Message = w.state, w.message
	}
	if left := b.left.Load(); left != nil {
		s.Message += "; " + *left
	}
	key, _, err := b.credentials()
	if err != nil || key.IsZero() {
		return
	}
	for _, sighting := range b.parts.Finder.Sightings() {
		if sighting.KeyTag == key.Tag() && sighting.Fleet == "" {
			s.Candidates++
		}
	}
}
