package node

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/edgeswarm/edgeswarm/api"
)

// checkPatience is how long a board may take to try the ways of its networks.
const checkPatience = 20 * time.Second

// CheckNetworks implements api.BoardServer. It needs no leader.
func (s boardServer) CheckNetworks(ctx context.Context, req *api.NetworkCheckRequest) (*api.NetworkCheckResponse, error) {
	m, err := s.fellow(ctx, "check networks")
	if err != nil {
		return nil, err
	}
	if req.Local {
		return &api.NetworkCheckResponse{Boards: []api.NetworkCheck{m.ownCheck(ctx, req)}}, nil
	}
	resp := &api.NetworkCheckResponse{}
	var mu sync.Mutex
	var g errgroup.Group
	g.SetLimit(usageFanOut)
	for _, node := range append(m.neighbours(), m.self) {
		g.Go(func() error {
			check, err := m.checkOf(ctx, node, &api.NetworkCheckRequest{Of: req.Of, Local: true})
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				resp.Silent = append(resp.Silent, m.silent(node, err))
				return nil
			}
			check.NodeID, check.NodeName = node, m.nameOf(node) // whatever it says of itself
			resp.Boards = append(resp.Boards, check)
			return nil
		})
	}
	_ = g.Wait() // none errs: a board's silence is in the answer
	slices.SortFunc(resp.Boards, func(a, b api.NetworkCheck) int {
		return cmp.Or(cmp.Compare(a.NodeName, b.NodeName), cmp.Compare(a.NodeID, b.NodeID))
	})
	sortSilent(resp.Silent)
	return resp, ctx.Err()
}

func (m *membership) ownCheck(ctx context.Context, req *api.NetworkCheckRequest) api.NetworkCheck {
	return m.board.parts.Network.Check(ctx, req.Of)
}

func (m *membership) checkOf(ctx context.Context, node api.NodeID, req *api.NetworkCheckRequest) (api.NetworkCheck, error) {
	ctx, cancel := context.WithTimeout(ctx, checkPatience)
	defer cancel()
	if node == m.self {
		return m.ownCheck(ctx, req), nil
	}
	client, err := m.boardOf(node)
	if err != nil {
		return api.NetworkCheck{}, err
	}
	resp, err := client.CheckNetworks(ctx, req)
	switch {
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		return api.NetworkCheck{}, api.Errorf(api.Unavailable, "", "it did not answer within %v", checkPatience)
	case err != nil:
		return api.NetworkCheck{}, err
	case len(resp.Boards) != 1:
		return api.NetworkCheck{}, api.Errorf(api.Internal, "", "it answered for %d boards", len(resp.Boards))
	}
	return resp.Boards[0], nil
}
