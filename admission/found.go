package admission

import (
	"fmt"
	"net/netip"
	"time"

	"github.com/edgeswarm/edgeswarm/api"
	"github.com/edgeswarm/edgeswarm/identity"
)

// FoundConfig is what a fleet is founded with.
type FoundConfig struct {
	Identity *identity.Keeper
	Name     string            // of the fleet; may be ""
	Key      identity.FleetKey // may be none
	// Now is the founder's clock and Built the program's build time: a board
	// whose clock says 1970 founds no fleet older than its program.
	Now, Built  time.Time
	Description api.NodeDescription
	Addrs       []netip.AddrPort
	// NodeCertExpiry as in api.ClusterSpec; 0 is its default.
	NodeCertExpiry time.Duration
}

// Founded is a new fleet: its first two objects, to be the first entry of its
// log, and the founder's credentials, to be adopted after that.
type Founded struct {
	Cluster     *api.Cluster
	Node        *api.Node
	Credentials api.Credentials
}

// defaultCertExpiry is api.ClusterSpec's default.
const defaultCertExpiry = 90 * 24 * time.Hour

// Found makes the CA, tokens and first objects of a fleet. It writes nothing.
func Found(c FoundConfig) (Founded, error) {
	const op = "found fleet"
	now, blind := c.Now, c.Now.Before(c.Built)
	if blind {
		now = c.Built
	}
	now = now.UTC().Round(0) // as it comes back from the log
	fleet := api.NewID[api.FleetID]()
	ca, err := identity.NewCA(fleet, now)
	if err != nil {
		return Founded{}, fmt.Errorf("%s: %w", op, err)
	}
	var tokens [2]identity.Token
	for i := range tokens {
		if tokens[i], err = identity.NewToken(ca.Root().CertPEM); err != nil {
			return Founded{}, fmt.Errorf("%s: %w", op, err)
		}
	}
	csr, err := c.Identity.CSR()
	if err != nil {
		return Founded{}, fmt.Errorf("%s: %w", op, err)
	}
	validity := c.NodeCertExpiry
	if validity == 0 {
		validity = defaultCertExpiry
	}
	id := c.Identity.Node()
	creds, err := ca.Sign(csr, id, now, validity)
	if err != nil {
		return Founded{}, fmt.Errorf("%s: %w", op, err)
	}
	return Founded{
		Cluster: &api.Cluster{
			ID: fleet, Spec: api.ClusterSpec{Annotations: api.Annotations{Name: c.Name}, NodeCertExpiry: c.NodeCertExpiry},
			FoundedAt: now, FoundedBlind: blind, Epoch: 1, Level: api.FeatureLevel, RootCA: ca.Root(), FleetKey: c.Key.Reveal(),
			JoinTokens: api.JoinTokens{Worker: api.JoinToken{Token: tokens[0].Reveal()}, Manager: api.JoinToken{Token: tokens[1].Reveal()}},
		},
		Node: &api.Node{
			ID: id, Spec: api.NodeSpec{Role: api.RoleAuto, Availability: api.AvailabilityActive},
			PublicKey: c.Identity.PublicKey(), Description: c.Description,
			Status: api.NodeStatus{State: api.NodeReady, Since: now, Addrs: c.Addrs},
		},
		Credentials: creds,
	}, nil
}

// Tokens reads a cluster's join tokens for a manager's Standing.
func Tokens(c *api.Cluster) ([]RoleToken, error) {
	var out []RoleToken
	for _, t := range []struct {
		stored api.JoinToken
		role   api.NodeRole
	}{{c.JoinTokens.Worker, api.RoleWorker}, {c.JoinTokens.Manager, api.RoleManager}} {
		if t.stored.Token == "" {
			continue
		}
		token, err := identity.ParseToken(t.stored.Token)
		if err != nil {
			return nil, fmt.Errorf("read the fleet's join tokens: %w", err)
		}
		out = append(out, RoleToken{Token: token, Role: t.role, Expires: t.stored.Expires})
	}
	return out, nil
}
