package node

import (
	"context"
	"net/netip"
	"os"
	"strings"

	"github.com/edgeswarm/edgeswarm/api"
	"github.com/edgeswarm/edgeswarm/identity"
	"github.com/edgeswarm/edgeswarm/internal/host"
)

// intent is what an operator asks of a board without a fleet: one of init and
// join. The answer goes to done.
type intent struct {
	init *api.InitRequest
	join *api.JoinRequest
	done chan<- intended
}

// intended is what became of an intent.
type intended struct {
	init *api.InitResponse
	err  error
}

// initFleet hands an operator's wish to found a fleet to the board's life.
func (b *Board) initFleet(ctx context.Context, req *api.InitRequest) (*api.InitResponse, error) {
	answer, err := b.intend(ctx, "init", intent{init: req})
	return answer.init, err
}

// joinFleet hands an operator's wish to join a fleet to the board's life.
func (b *Board) joinFleet(ctx context.Context, req *api.JoinRequest) error {
	_, err := b.intend(ctx, "join", intent{join: req})
	return err
}

func (b *Board) intend(ctx context.Context, op string, i intent) (intended, error) {
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

// carryOut does what an operator asked of a board without a fleet.
func (b *Board) carryOut(ctx context.Context, ask intent) (peers []api.Peer, entered bool) {
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

func (b *Board) carryOutInit(req api.InitRequest) (*api.InitResponse, error) {
	key, _, err := b.credentials()
	if err != nil {
		return nil, err
	}
	if remembered := b.memory.Read(); remembered.Veteran && !req.Force {
		return nil, api.Errorf(api.Conflict, "init", "this board was a member of fleet %s, which may still exist: let it join that one, or found another with --force", remembered.Fleet)
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

func (b *Board) carryOutJoin(ctx context.Context, req api.JoinRequest) ([]api.Peer, error) {
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
func (b *Board) joinAddrs(given []string) ([]netip.AddrPort, error) {
	var addrs []netip.AddrPort
	for _, text := range given {
		addr, err := parseAddr(text, api.DefaultPort)
		if err != nil {
			return nil, &api.Error{Kind: api.Invalid, Op: "join", Err: err}
		}
		addrs = append(addrs, addr)
	}
	if len(given) == 0 {
		for _, s := range b.parts.Finder.Sightings() {
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

// parkedFile says that this board stays out of fleets until it is told to
// enter one, and why: it has left, or was removed.
const parkedFile = "parked"

// park keeps the board out until an operator says otherwise.
func (b *Board) park(reason error) error {
	return host.WriteFile(b.dir.room(parkedFile), []byte(reason.Error()+"\n"), 0o600)
}

// parked is why the board stays out; "" if it doesn't.
func (b *Board) parked() string {
	raw, err := os.ReadFile(b.dir.room(parkedFile))
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(raw))
}
