package node

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"strings"

	"github.com/edgeswarm/edgeswarm/admission"
	"github.com/edgeswarm/edgeswarm/api"
	"github.com/edgeswarm/edgeswarm/identity"
	"github.com/edgeswarm/edgeswarm/internal/host"
)

// found makes a fleet with this board as its first member. The log takes it up
// when the membership begins.
//
// Its decisions are on disk before its credentials: power lost in between
// leaves a board that belongs nowhere and was never a member, which looks for
// a fleet anew; power lost later, a member whose next start goes on from there.
func (b *Board) found(req api.InitRequest, key identity.FleetKey) (*api.InitResponse, error) {
	if req.AdvertiseAddr != "" {
		if err := b.advertiseAt(req.AdvertiseAddr); err != nil {
			return nil, err
		}
	}
	// By the wall clock and not by fleet time, which is never before the build:
	// a founder without a clock is to be known as one.
	f, err := admission.Found(admission.FoundConfig{
		Identity: b.keeper, Name: req.Name, Key: key, Now: b.clock.Wall(), Built: b.cfg.BuildTime, Description: b.describe(), Addrs: b.addrs(),
	})
	if err != nil {
		return nil, err
	}
	f.Node.Spec.Labels = b.cfg.Labels
	if err := saveFounding(b.dir, founding{f.Cluster, f.Node}); err != nil {
		return nil, err
	}
	if err := b.keeper.Adopt(f.Credentials); err != nil {
		return nil, err
	}
	if err := errors.Join(b.memory.Joined(f.Cluster.ID, nil), b.clock.Save()); err != nil {
		return nil, err
	}
	b.cfg.Logger.Info("founded a fleet", "fleet", f.Cluster.ID)
	return &api.InitResponse{
		NodeID: b.keeper.Node(), FleetID: f.Cluster.ID, FleetKey: key.Reveal(), WorkerToken: f.Cluster.JoinTokens.Worker.Token, Addr: firstAddr(b.addrs()),
	}, nil
}

// adopt takes up what a fleet has given this board. The membership is noted
// first: a board that loses power in between is a veteran without a fleet,
// joins that one again and founds none.
func (b *Board) adopt(resp *api.AdmitResponse) ([]api.Peer, error) {
	if err := b.memory.Joined(resp.Fleet.ID, managerAddrs(resp.Peers)); err != nil {
		return nil, err
	}
	if err := b.keeper.Adopt(resp.Credentials); err != nil {
		return nil, err
	}
	if err := b.clock.Save(); err != nil {
		return nil, err
	}
	b.cfg.Logger.Info("joined a fleet", "fleet", resp.Fleet.ID)
	if resp.Peers == nil {
		resp.Peers = []api.Peer{}
	}
	return resp.Peers, nil
}

// credentials are what this board's configuration lets it prove.
func (b *Board) credentials() (key identity.FleetKey, token identity.Token, err error) {
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

// client speaks to other boards' doors.
func (b *Board) client(key identity.FleetKey, token identity.Token) *admission.Client {
	return admission.NewClient(admission.ClientConfig{
		Identity: b.keeper, Endpoint: b.endpoint, Key: key, Token: token, Veteran: b.memory.Read().Veteran, Fleet: b.keeper.Fleet(),
		Describe: func() (api.NodeDescription, []netip.AddrPort) { return b.describe(), b.addrs() },
	})
}

// advertiseFile keeps the address that init or join was given.
const advertiseFile = "advertise-addr"

// advertiseAt is where this board is reached from now on; it is kept.
func (b *Board) advertiseAt(text string) error {
	if _, err := parseAddr(text, b.endpoint.Port()); err != nil {
		return api.Errorf(api.Invalid, "", "advertise-addr: %w", err)
	}
	if err := host.WriteFile(b.dir.room(advertiseFile), []byte(text+"\n"), 0o600); err != nil {
		return err
	}
	b.advertised.Store(&text)
	return nil
}

// loadAdvertised reads it back. What the configuration says goes first.
func (b *Board) loadAdvertised() error {
	text := b.cfg.Advertise
	b.advertised.Store(&text)
	raw, err := os.ReadFile(b.dir.room(advertiseFile))
	if errors.Is(err, os.ErrNotExist) || text != "" {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read advertised address: %w", err)
	}
	text = strings.TrimSpace(string(raw))
	b.advertised.Store(&text)
	return nil
}
