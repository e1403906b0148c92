package control

import (
	"context"
	"slices"
	"time"

	"github.com/edgeswarm/edgeswarm/api"
	"github.com/edgeswarm/edgeswarm/identity"
	"github.com/edgeswarm/edgeswarm/store"
)

// public is the fleet's object without its secrets.
func public(c *api.Cluster) *api.Cluster {
	next := *c
	next.RootCA.KeyPEM, next.JoinTokens, next.FleetKey = nil, api.JoinTokens{}, ""
	return &next
}

func (s *Server) getCluster(context.Context, *api.GetClusterRequest) (*api.GetClusterResponse, error) {
	c := s.cfg.Store.View().Cluster()
	if c == nil {
		return nil, api.Errorf(api.Unavailable, "get cluster", "the fleet has not been founded yet")
	}
	resp := &api.GetClusterResponse{Cluster: public(c), Leader: s.cfg.Self}
	for _, server := range s.cfg.Raft.Servers() {
		if server.Voter {
			resp.Voters++
			if server.Reachable || server.ID == string(s.cfg.Self) {
				resp.ReachableVoters++
			}
		}
	}
	return resp, nil
}

func (s *Server) updateCluster(ctx context.Context, r *api.UpdateClusterRequest) (*api.UpdateClusterResponse, error) {
	const op = "update cluster"
	if err := invalid(op, r.Spec.Validate()); err != nil {
		return nil, err
	}
	_, v, err := s.write(ctx, op, r.RequestID, func(tx *store.Tx) (api.Object, error) {
		c := tx.Cluster()
		if err := outdated(op, "the fleet", c.Spec.Name, r.Version, c); err != nil {
			return nil, err
		}
		next := *c
		next.Spec = r.Spec
		if !api.Equal(next.Spec, c.Spec) {
			tx.Put(&next)
		}
		return &next, nil
	})
	if err != nil {
		return nil, err
	}
	return &api.UpdateClusterResponse{Cluster: public(v.Cluster())}, nil
}

func (s *Server) getJoinToken(ctx context.Context, r *api.GetJoinTokenRequest) (*api.GetJoinTokenResponse, error) {
	const op = "get join token"
	if r.Role != api.RoleWorker && r.Role != api.RoleManager {
		return nil, api.Errorf(api.Invalid, op, "a token is for a worker or a manager, not for %q", r.Role)
	}
	if r.TTL < 0 || r.TTL > 0 && !r.Rotate {
		return nil, api.Errorf(api.Invalid, op, "a time to live (%v) is given to a new token: rotate it, and use 0 or more", r.TTL)
	}
	v := s.cfg.Store.View()
	if err := open(op, v); err != nil {
		return nil, err
	}
	if r.Rotate || tokenOf(v.Cluster(), r.Role).Token == "" {
		var err error
		if v, err = s.rotate(ctx, op, r); err != nil {
			return nil, err
		}
	}
	token := tokenOf(v.Cluster(), r.Role)
	if !token.Expires.IsZero() && !token.Expires.After(s.time(v)) {
		return nil, api.Errorf(api.Conflict, op, "the %s token expired at %s; make a new one with `edgectl join-token --rotate %s`",
			r.Role, token.Expires.UTC().Format(time.RFC3339), r.Role)
	}
	return &api.GetJoinTokenResponse{Token: token.Token, Expires: token.Expires, Addrs: s.managerAddrs(v)}, nil
}

// time is the fleet's: it never falls behind what has been committed.
func (s *Server) time(v *store.View) time.Time {
	if now := s.cfg.Clock(); now.After(v.Time) {
		return now
	}
	return v.Time
}

func (s *Server) rotate(ctx context.Context, op string, r *api.GetJoinTokenRequest) (*store.View, error) {
	_, v, err := s.write(ctx, op, r.RequestID, func(tx *store.Tx) (api.Object, error) {
		next := *tx.Cluster()
		token, err := identity.NewToken(next.RootCA.CertPEM)
		if err != nil {
			return nil, err
		}
		made := api.JoinToken{Token: token.Reveal()}
		if r.TTL > 0 {
			made.Expires = s.time(tx.View).Add(r.TTL)
		}
		*tokenOf(&next, r.Role) = made
		tx.Put(&next)
		return &next, nil
	})
	return v, err
}

func tokenOf(c *api.Cluster, role api.NodeRole) *api.JoinToken {
	if role == api.RoleManager {
		return &c.JoinTokens.Manager
	}
	return &c.JoinTokens.Worker
}

// managerAddrs is where a joining board may knock: one address of each manager, this one's first.
func (s *Server) managerAddrs(v *store.View) []string {
	var addrs []string
	for _, server := range s.cfg.Raft.Servers() {
		node := v.Node(api.NodeID(server.ID))
		if node == nil || len(node.Status.Addrs) == 0 {
			continue
		}
		if addr := node.Status.Addrs[0].String(); node.ID == s.cfg.Self {
			addrs = slices.Insert(addrs, 0, addr)
		} else {
			addrs = append(addrs, addr)
		}
	}
	return addrs
}
