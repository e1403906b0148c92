package node

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"strings"
	"time"

	"github.com/edgeswarm/edgeswarm/admission"
	"github.com/edgeswarm/edgeswarm/api"
	"github.com/edgeswarm/edgeswarm/identity"
	"github.com/edgeswarm/edgeswarm/internal/host"
)

// intent is what an operator asks of a board without a fleet. The answer goes
// to done.
type intent struct {
	init *api.InitRequest
	join *api.JoinRequest
	done chan<- intended
}

type intended struct {
	init *api.InitResponse
	err  error
}

// parkedFile says that this board stays out of fleets until it is told to
// enter one, and why: it has left, or was removed.
const parkedFile = "parked"

// waiting is what a board without a fleet says of itself.
type waiting struct {
	state   api.MembershipState
	message string
}

func (b *board) wait(state api.MembershipState, format string, args ...any) {
	w := waiting{state, fmt.Sprintf(format, args...)}
	if old := b.waits.Swap(&w); old == nil || *old != w {
		b.cfg.Logger.Info("belongs to no fleet", "waits", w.message)
	}
}

// park keeps the board out until an operator says otherwise.
func (b *board) park(reason error) error {
	return host.WriteFile(b.dir.room(parkedFile), []byte(reason.Error()+"\n"), 0o600)
}

// parked is why the board stays out; "" if it doesn't.
func (b *board) parked() string {
	raw, err := os.ReadFile(b.dir.room(parkedFile))
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(raw))
}

// enter makes the board a member, of the fleet of its key or token or of the
// one that an operator names. It returns the members told of, once the
// credentials are adopted.
func (b *board) enter(ctx context.Context) ([]api.Peer, error) {
	// What an attempt that was cut short left behind belongs to no membership.
	if err := b.dir.forget(raftRoom, foundingFile, "agent"); err != nil {
		return nil, err
	}
	b.announce()
	for {
		seeking, stop := context.WithCancel(ctx)
		results := make(chan sought, 1)
		go func() { results <- b.seek(seeking) }()
		var ask *intent
		var found *sought
		select {
		case i := <-b.intents:
			ask = &i
		case r := <-results:
			found = &r
		case <-ctx.Done():
		}
		stop()
		if found == nil {
			r := <-results
			if ask == nil {
				return nil, ctx.Err()
			}
			if r.err == nil && r.peers != nil {
				ask.done <- intended{err: api.Errorf(api.Conflict, "", "this board has joined fleet %s meanwhile", b.keeper.Fleet())}
				return r.peers, nil
			}
			peers, entered := b.carryOut(ctx, *ask)
			if entered {
				return peers, nil
			}
			continue
		}
		if found.err != nil {
			return nil, found.err
		}
		return found.peers, nil
	}
}

// sought is how seeking ended: with the members told of, nil if it did not end.
type sought struct {
	peers []api.Peer
	err   error
}

// seek looks for the fleet of the board's own key or token until it is in, or
// ctx ends.
func (b *board) seek(ctx context.Context) sought {
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
	case key.IsZero() && token.IsZero():
		b.wait(api.MembershipNone, "it has neither a fleet key nor a join token: edgectl init founds a fleet, edgectl join enters one")
	}
	if why != "" || key.IsZero() && token.IsZero() {
		<-ctx.Done()
		return sought{err: ctx.Err()}
	}
	b.wait(api.MembershipSeeking, "looks for boards with the same key")
	if !token.IsZero() {
		return b.joinRepeatedly(ctx, b.client(key, token))
	}
	seeker := admission.NewSeeker(admission.SeekerConfig{
		Client: b.client(key, token), Finder: b.finder, Memory: b.memory.Read(),
		Tell: func(message string) { b.wait(api.MembershipSeeking, "%s", message) }, Log: b.cfg.Logger.With("room", "admission"),
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

func (b *board) joinRepeatedly(ctx context.Context, client *admission.Client) sought {
	for {
		addrs, err := b.joinAddrs(b.cfg.JoinAddrs)
		if err == nil {
			var resp *api.AdmitResponse
			if resp, err = client.Join(ctx, addrs); err == nil {
				peers, err := b.adopt(resp)
				return sought{peers, err}
			}
		}
		b.wait(api.MembershipSeeking, "can't join yet: %v", err)
		if !sleep(ctx, joinRetry) {
			return sought{err: ctx.Err()}
		}
	}
}

// carryOut does what an operator asked of a board without a fleet.
func (b *board) carryOut(ctx context.Context, ask intent) (peers []api.Peer, entered bool) {
	var answer intended
	if ask.init != nil {
		answer.init, answer.err = b.carryOutInit(*ask.init)
		peers = []api.Peer{}
	} else {
		peers, answer.err = b.carryOutJoin(ctx, *ask.join)
	}
	if answer.err == nil {
		answer.err = b.dir.forget(parkedFile)
	}
	ask.done <- answer
	return peers, answer.err == nil
}

func (b *board) carryOutInit(req api.InitRequest) (*api.InitResponse, error) {
	key, _, err := b.credentials()
	if err != nil {
		return nil, err
	}
	if b.memory.Read().Veteran && !req.Force {
		return nil, api.Errorf(api.Conflict, "init", "this board was a member of fleet %s, which may still exist: let it join that one, or found another with --force", b.memory.Read().Fleet)
	}
	if req.FleetKey != "" {
		if key, err = identity.ParseFleetKey(req.FleetKey); err != nil {
			return nil, err
		}
	}
	if key.IsZero() {
		key = identity.GenerateFleetKey()
	}
	return b.found(req, key)
}

func (b *board) carryOutJoin(ctx context.Context, req api.JoinRequest) ([]api.Peer, error) {
	key, _, err := b.credentials()
	if err != nil {
		return nil, err
	}
	var token identity.Token
	if req.Token != "" {
		if token, err = identity.ParseToken(req.Token); err != nil {
			return nil, err
		}
		key = identity.FleetKey{}
	} else if key.IsZero() {
		return nil, api.Errorf(api.Invalid, "join", "give a join token: this board's card holds no fleet key")
	}
	addrs, err := b.joinAddrs(req.Addrs)
	if err != nil {
		return nil, err
	}
	if req.AdvertiseAddr != "" {
		if err := b.advertiseAt(req.AdvertiseAddr); err != nil {
			return nil, err
		}
	}
	resp, err := b.client(key, token).Join(ctx, addrs)
	if err != nil {
		return nil, err
	}
	return b.adopt(resp)
}

// joinAddrs are those given, or without any, all boards in sight.
func (b *board) joinAddrs(given []string) ([]netip.AddrPort, error) {
	var addrs []netip.AddrPort
	for _, text := range given {
		addr, err := parseAddr(text, api.DefaultPort)
		if err != nil {
			return nil, &api.Error{Kind: api.Invalid, Op: "join", Err: err}
		}
		addrs = append(addrs, addr)
	}
	if len(given) == 0 {
		for _, s := range b.finder.Sightings() {
			if s.Fleet != "" {
				addrs = append(addrs, s.Addrs...)
			}
		}
		if len(addrs) == 0 {
			return nil, api.Errorf(api.Unavailable, "join", "no fleet is in sight on this network: give a member's address")
		}
	}
	return addrs, nil
}

// found makes a fleet with this board as its first member. The log takes it up
// when the membership begins.
func (b *board) found(req api.InitRequest, key identity.FleetKey) (*api.InitResponse, error) {
	if req.AdvertiseAddr != "" {
		if err := b.advertiseAt(req.AdvertiseAddr); err != nil {
			return nil, err
		}
	}
	f, err := admission.Found(admission.FoundConfig{
		Identity: b.keeper, Name: req.Name, Key: key, Now: b.clock.Now(), Built: b.cfg.BuildTime, Description: b.describe(), Addrs: b.addrs(),
	})
	if err != nil {
		return nil, err
	}
	f.Node.Spec.Labels = b.cfg.Labels
	if err := saveFounding(b.dir, founding{f.Cluster, f.Node}); err != nil {
		return nil, err
	}
	if err := b.adoptCredentials(f.Credentials, f.Cluster.ID, nil); err != nil {
		return nil, err
	}
	b.cfg.Logger.Info("founded a fleet", "fleet", f.Cluster.ID)
	return &api.InitResponse{
		NodeID: b.keeper.Node(), FleetID: f.Cluster.ID, FleetKey: key.Reveal(), WorkerToken: f.Cluster.JoinTokens.Worker.Token, Addr: firstAddr(b.addrs()),
	}, nil
}

// adopt takes up what a fleet has given this board.
func (b *board) adopt(resp *api.AdmitResponse) ([]api.Peer, error) {
	if err := b.adoptCredentials(resp.Credentials, resp.Fleet.ID, managerAddrs(resp.Peers)); err != nil {
		return nil, err
	}
	b.cfg.Logger.Info("joined a fleet", "fleet", resp.Fleet.ID)
	if resp.Peers == nil {
		resp.Peers = []api.Peer{}
	}
	return resp.Peers, nil
}

// adoptCredentials notes the membership first: a board that loses power in
// between is a veteran without a fleet and founds none.
func (b *board) adoptCredentials(creds api.Credentials, fleet api.FleetID, managers []api.ManagerAddr) error {
	if err := b.memory.Joined(fleet, managers); err != nil {
		return err
	}
	if err := b.keeper.Adopt(creds); err != nil {
		return err
	}
	return b.clock.Save()
}

// credentials are what this board's configuration lets it prove.
func (b *board) credentials() (key identity.FleetKey, token identity.Token, err error) {
	if b.cfg.FleetKey != "" {
		if key, err = identity.ParseFleetKey(b.cfg.FleetKey); err != nil {
			return key, token, err
		}
	}
	if b.cfg.JoinToken != "" {
		token, err = identity.ParseToken(b.cfg.JoinToken)
	}
	return key, token, err
}

func (b *board) client(key identity.FleetKey, token identity.Token) *admission.Client {
	remembered := b.memory.Read()
	return admission.NewClient(admission.ClientConfig{
		Identity: b.keeper, Endpoint: b.endpoint, Key: key, Token: token, Veteran: remembered.Veteran, Fleet: b.keeper.Fleet(),
		Describe: func() (api.NodeDescription, []netip.AddrPort) { return b.describe(), b.addrs() },
	})
}

// advertiseAt is where this board is reached from now on; it is kept.
func (b *board) advertiseAt(text string) error {
	if _, err := parseAddr(text, b.endpoint.Port()); err != nil {
		return api.Errorf(api.Invalid, "", "advertise-addr: %w", err)
	}
	if err := host.WriteFile(b.dir.room(advertiseFile), []byte(text+"\n"), 0o600); err != nil {
		return err
	}
	b.advertised.Store(&text)
	return nil
}

// advertiseFile keeps the address that init or join was given.
const advertiseFile = "advertise-addr"

func (b *board) loadAdvertised() error {
	b.advertised.Store(&b.cfg.Advertise)
	raw, err := os.ReadFile(b.dir.room(advertiseFile))
	if errors.Is(err, os.ErrNotExist) || b.cfg.Advertise != "" {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read advertised address: %w", err)
	}
	text := strings.TrimSpace(string(raw))
	b.advertised.Store(&text)
	return nil
}

// initFleet hands an operator's wish to found a fleet to the board's life.
func (b *board) initFleet(ctx context.Context, req *api.InitRequest) (*api.InitResponse, error) {
	answer, err := b.intend(ctx, "init", intent{init: req})
	return answer.init, err
}

// joinFleet hands an operator's wish to join a fleet to the board's life.
func (b *board) joinFleet(ctx context.Context, req *api.JoinRequest) error {
	_, err := b.intend(ctx, "join", intent{join: req})
	return err
}

func (b *board) intend(ctx context.Context, op string, i intent) (intended, error) {
	if b.keeper.Fleet() != "" {
		return intended{}, api.Errorf(api.Conflict, op, "this board is a member of fleet %s: leave it first with `edgectl leave`", b.keeper.Fleet())
	}
	done := make(chan intended, 1)
	i.done = done
	select {
	case b.intents <- i:
	case <-ctx.Done():
		return intended{}, ctx.Err()
	}
	select {
	case answer := <-done:
		return answer, answer.err
	case <-ctx.Done():
		return intended{}, ctx.Err()
	}
}

// leaveFleet takes this board out of its fleet, by the leader's word, or by
// force without it.
func (b *board) leaveFleet(ctx context.Context, req *api.LeaveRequest) error {
	m := b.member.Load()
	if m == nil {
		return errNoFleet("leave")
	}
	if m.seat.present.Load() != nil && !req.Force {
		return api.Errorf(api.Conflict, "leave", "this board is a manager of its fleet: demote it first with `edgectl node demote self`, or use --force")
	}
	if err := m.depart(ctx, req.Force); err != nil && !req.Force {
		return err
	}
	m.finish(errLeft)
	return nil
}

func (m *membership) depart(ctx context.Context, force bool) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	leader, err := m.findLeader(ctx)
	if err != nil {
		return api.Errorf(api.Unavailable, "leave", "%w; to leave without telling the fleet, use --force", err)
	}
	conn, err := m.conn(leader)
	if err != nil {
		return err
	}
	_, err = api.NewDispatchClient(conn).Depart(ctx, &api.DepartRequest{Force: force})
	return err
}

// fillSeeking tells how a board without a fleet stands.
func (b *board) fillSeeking(s *api.BoardStatus) {
	if w := b.waits.Load(); w != nil {
		s.Membership, s.Message = w.state, w.message
	}
	key, _, err := b.credentials()
	if err != nil || key.IsZero() {
		return
	}
	for _, sighting := range b.finder.Sightings() {
		if sighting.KeyTag == key.Tag() && sighting.Fleet == "" {
			s.Candidates++
		}
	}
}
