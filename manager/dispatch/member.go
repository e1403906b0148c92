package dispatch

import (
	"bytes"
	"cmp"
	"context"
	"crypto/x509"
	"fmt"
	"slices"
	"time"

	"github.com/edgeswarm/edgeswarm/api"
	"github.com/edgeswarm/edgeswarm/identity"
	"github.com/edgeswarm/edgeswarm/manager/term"
	"github.com/edgeswarm/edgeswarm/store"
)

// defaultCertExpiry is how long a node's certificate lasts unless the fleet's spec says.
const defaultCertExpiry = 90 * 24 * time.Hour

// RenewCertificate implements api.DispatchServer.
func (s *Server) RenewCertificate(ctx context.Context, r *api.RenewRequest) (*api.Credentials, error) {
	const op = "renew certificate"
	ctx, leave, err := s.gate.Enter(ctx)
	if err != nil {
		return nil, err
	}
	defer leave()
	node, err := s.member(ctx, op)
	if err != nil {
		return nil, err
	}
	if _, err := provenKey(op, r.CSR, node); err != nil {
		return nil, err
	}
	creds, err := s.sign(op, s.cfg.Store.View(), node.ID, r.CSR)
	if err != nil {
		return nil, err
	}
	return &creds, nil
}

// sign issues a certificate by the fleet's CA and at the fleet's time.
func (s *Server) sign(op string, v *store.View, node api.NodeID, csr []byte) (api.Credentials, error) {
	c := v.Cluster()
	if c == nil {
		return api.Credentials{}, api.Errorf(api.Unavailable, op, "the fleet has not been founded yet")
	}
	ca, err := identity.LoadCA(c.RootCA)
	if err != nil {
		return api.Credentials{}, fmt.Errorf("%s: %w", op, err)
	}
	return ca.Sign(csr, node, later(s.cfg.Clock(), v.Time), certExpiry(c))
}

// certExpiry is how long certificates last that are made now.
func certExpiry(c *api.Cluster) time.Duration {
	return cmp.Or(c.Spec.NodeCertExpiry, defaultCertExpiry)
}

// provenKey is the public key of a request, which must be the one that the
// node was admitted with, if it was.
func provenKey(op string, csr []byte, node *api.Node) ([]byte, error) {
	request, err := x509.ParseCertificateRequest(csr)
	if err != nil {
		return nil, api.Errorf(api.Invalid, op, "the request is not PKCS #10: %w", err)
	}
	key := request.RawSubjectPublicKeyInfo
	if node != nil && len(node.PublicKey) > 0 && !bytes.Equal(node.PublicKey, key) {
		return nil, api.Errorf(api.Denied, op, "node %s is known by another key: remove it first, if its board was wiped", node.ID)
	}
	return key, nil
}

// Admit implements api.DispatchServer.
func (s *Server) Admit(ctx context.Context, r *api.AdmitRequest) (*api.AdmitResponse, error) {
	ctx, leave, err := s.gate.Enter(ctx)
	if err != nil {
		return nil, err
	}
	defer leave()
	resp, err := s.admit(ctx, r)
	return resp, term.Over(ctx, err)
}

func (s *Server) admit(ctx context.Context, r *api.AdmitRequest) (*api.AdmitResponse, error) {
	const op = "admit node"
	voucher, err := s.member(ctx, op)
	if err != nil {
		return nil, err
	}
	if !s.isManager(voucher.ID) {
		return nil, api.Errorf(api.Denied, op, "only a manager's word counts, and node %s is none", voucher.ID)
	}
	if !api.IsID(string(r.Node)) {
		return nil, api.Errorf(api.Invalid, op, "%q is not a node's ID", r.Node)
	}
	if !r.Renewal && !slices.Contains([]api.NodeRole{api.RoleAuto, api.RoleManager, api.RoleWorker}, r.Role) {
		return nil, api.Errorf(api.Invalid, op, "unknown role %q", r.Role)
	}
	description := described(r.Description)
	if description == nil {
		return nil, api.Errorf(api.Invalid, op, "node %s describes itself in more than %d bytes", r.Node, maxDescription)
	}
	// Signed before anything is written, so that a bad request leaves no trace.
	creds, err := s.sign(op, s.cfg.Store.View(), r.Node, r.CSR)
	if err != nil {
		return nil, err
	}
	_, err = term.Update(ctx, s.cfg.Writer, store.Op{}, func(tx *store.Tx) error {
		if into := tx.Cluster().FoldedInto; into != "" {
			return api.Errorf(api.Conflict, op, "this fleet has given way to fleet %s and takes nobody in", into)
		}
		known := tx.Node(r.Node)
		if r.Renewal && known == nil {
			return api.Errorf(api.NotFound, op, "node %s is no member of this fleet any more: it was removed", r.Node)
		}
		key, err := provenKey(op, r.CSR, known)
		if err != nil {
			return err
		}
		if known != nil && len(known.PublicKey) > 0 {
			return nil // admitted before, with this very key
		}
		next := api.Node{ID: r.Node, Spec: api.NodeSpec{Role: r.Role, Availability: api.AvailabilityActive}}
		if known != nil {
			next = *known
		} else {
			next.Description = *description
			next.Status = api.NodeStatus{
				State: api.NodeUnknown, Message: "admitted, not heard of yet", Since: later(s.cfg.Clock(), tx.Time), Addrs: reachable(r.Addrs),
			}
		}
		next.PublicKey = key
		tx.Put(&next)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return s.welcome(r.Node, creds), nil
}

// welcome is what a new member is told, managers first among its peers.
func (s *Server) welcome(id api.NodeID, creds api.Credentials) *api.AdmitResponse {
	s.refreshServers()
	r := s.roster()
	resp := &api.AdmitResponse{Credentials: creds}
	if node, c := r.view.Node(id), r.view.Cluster(); node != nil && c != nil {
		resp.Fleet = fleetInfo(c, node, r.servers[id])
	}
	for _, peer := range r.peers {
		if peer.item.Peer.ID != id {
			resp.Peers = append(resp.Peers, *peer.item.Peer)
		}
	}
	slices.SortStableFunc(resp.Peers, func(a, b api.Peer) int {
		switch {
		case a.Manager == b.Manager:
			return 0
		case a.Manager:
			return -1
		default:
			return 1
		}
	})
	return resp
}

// Depart implements api.DispatchServer.
func (s *Server) Depart(ctx context.Context, r *api.DepartRequest) (*api.Empty, error) {
	ctx, leave, err := s.gate.Enter(ctx)
	if err != nil {
		return nil, err
	}
	defer leave()
	if err := s.depart(ctx, r); err != nil {
		return nil, term.Over(ctx, err)
	}
	return &api.Empty{}, nil
}

func (s *Server) depart(ctx context.Context, r *api.DepartRequest) error {
	const op = "leave the fleet"
	node, err := s.member(ctx, op)
	if err != nil {
		return err
	}
	manager := s.isManager(node.ID)
	if manager && !r.Force {
		return api.Errorf(api.Conflict, op, "%s is a manager of this fleet; demote it first (edgectl node demote %s), or use --force", node.Name(), node.ID)
	}
	if manager && len(s.cfg.Raft.Servers()) == 1 {
		if others := s.cfg.Store.View().Nodes.Len() - 1; others > 0 {
			return api.Errorf(api.Conflict, op, "%s is the fleet's only manager and %d other nodes would be left without one; remove them first", node.Name(), others)
		}
		return nil // the fleet ends with its last board
	}
	return s.Expel(ctx, op, store.Op{}, node.ID)
}

// Expel takes a node out of raft and then out of the state. It is in the state
// until it is out of raft, because the others stop speaking to it afterwards, and of
// two voters both are needed to let one go. It may be repeated.
func (s *Server) Expel(ctx context.Context, op string, how store.Op, id api.NodeID) error {
	if s.isManager(id) {
		if id == s.cfg.Self {
			if err := s.cfg.Raft.Transfer(ctx, ""); err != nil {
				return api.Errorf(api.Unavailable, op, "hand leadership on: %w", err)
			}
			return api.Errorf(api.NotLeader, op, "leadership was handed on first; ask again")
		}
		if err := s.worker(ctx, id); err != nil {
			return err
		}
		if err := s.cfg.Raft.Remove(ctx, string(id)); err != nil {
			return api.Errorf(api.Unavailable, op, "take %s out of the managers: %w", id, err)
		}
	}
	_, err := term.Update(ctx, s.cfg.Writer, how, func(tx *store.Tx) error {
		if node := tx.Node(id); node != nil {
			tx.Delete(node)
		}
		return nil
	})
	return err
}

// worker keeps a node that is on its way out from being made a manager again.
func (s *Server) worker(ctx context.Context, id api.NodeID) error {
	_, err := term.Update(ctx, s.cfg.Writer, store.Op{}, func(tx *store.Tx) error {
		if node := tx.Node(id); node != nil && node.Spec.Role != api.RoleWorker {
			next := *node
			next.Spec.Role = api.RoleWorker
			tx.Put(&next)
		}
		return nil
	})
	return err
}
