package node

import (
	"context"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/edgeswarm/edgeswarm/admission"
	"github.com/edgeswarm/edgeswarm/api"
	"github.com/edgeswarm/edgeswarm/identity"
)

const (
	// waitingPatience is how long a manager may take to say who waits at its door.
	waitingPatience = 2 * time.Second
	// acceptPatience bounds the acceptance: a commit, and an election before it.
	acceptPatience = 20 * time.Second
)

// apply waits, as a board with neither key nor token, until an operator of a
// fleet in sight accepts it by the code that it shows.
func (b *Board) apply(ctx context.Context) sought {
	none := "it has neither a fleet key nor a join token, and hears of no fleet: edgectl init founds one, edgectl join enters one"
	b.wait(api.MembershipNone, "%s", none)
	applicant := admission.NewApplicant(admission.ApplicantConfig{
		Client: b.client(identity.FleetKey{}, identity.Token{}), Finder: b.parts.Finder, Name: b.cfg.Name, Log: b.cfg.Logger.With("room", "admission"),
		Show: func(codes []identity.Code) {
			if len(codes) == 0 {
				b.wait(api.MembershipNone, "%s", none)
				return
			}
			var shown []string
			for _, c := range codes {
				shown = append(shown, c.Reveal())
			}
			b.wait(api.MembershipNone, "waits to be accepted: on a board of the fleet run edgectl node accept %s", strings.Join(shown, ", or in another fleet "))
		},
	})
	resp, err := applicant.Run(ctx)
	if err != nil {
		return sought{err: err}
	}
	peers, err := b.adopt(resp)
	return sought{peers, err}
}

// Waiting implements api.BoardServer.
func (s boardServer) Waiting(ctx context.Context, req *api.WaitingRequest) (*api.WaitingResponse, error) {
	m, err := s.fellow(ctx, "list waiting boards")
	if err != nil {
		return nil, err
	}
	resp := &api.WaitingResponse{}
	for _, w := range s.b.door.Waiting() {
		resp.Boards = append(resp.Boards, m.waitingBoard(w))
	}
	if !req.Local {
		m.askDoors(ctx, resp)
	}
	return resp, nil
}

func (m *membership) waitingBoard(w admission.Waiter) api.WaitingBoard {
	return api.WaitingBoard{NodeID: w.Node, Hostname: w.Hostname, Addr: w.Addr, Code: w.Shown, Since: w.Since, At: m.self}
}

// askDoors adds who waits at other managers' doors.
func (m *membership) askDoors(ctx context.Context, resp *api.WaitingResponse) {
	ctx, cancel := context.WithTimeout(ctx, waitingPatience)
	defer cancel()
	var mu sync.Mutex
	var g errgroup.Group
	for _, peer := range m.managers() {
		g.Go(func() error {
			var there *api.WaitingResponse
			client, err := m.boardOf(peer.ID)
			if err == nil {
				there, err = client.Waiting(ctx, &api.WaitingRequest{Local: true})
			}
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				resp.Silent = append(resp.Silent, m.silent(peer.ID, err))
				return nil
			}
			resp.Boards = append(resp.Boards, there.Boards...)
			return nil
		})
	}
	_ = g.Wait() // none errs: a manager's silence is in the answer
	slices.SortFunc(resp.Boards, func(a, b api.WaitingBoard) int { return a.Since.Compare(b.Since) })
}

// Accept implements api.BoardServer.
func (s boardServer) Accept(ctx context.Context, req *api.AcceptRequest) (*api.AcceptResponse, error) {
	const op = "accept"
	m, err := s.fellow(ctx, op)
	if err != nil {
		return nil, err
	}
	code, err := identity.ParseCode(req.Code)
	if err != nil {
		return nil, err
	}
	role := req.Role
	switch role {
	case "":
		role = api.RoleAuto
	case api.RoleAuto, api.RoleManager, api.RoleWorker:
	default:
		return nil, api.Errorf(api.Invalid, op, "unknown role %q: a board is auto, manager or worker", role)
	}
	ctx, cancel := context.WithTimeout(ctx, acceptPatience)
	defer cancel()
	at := m.self
	if !req.Local {
		resp, err := s.Waiting(ctx, &api.WaitingRequest{})
		if err != nil {
			return nil, err
		}
		i := slices.IndexFunc(resp.Boards, func(w api.WaitingBoard) bool { return w.Code == code.Shown() })
		if i < 0 && len(resp.Silent) > 0 {
			return nil, api.Errorf(api.Unavailable, op, "no board waits with the code %s-… at the managers that answer, and %d of them did not: try again", code.Shown(), len(resp.Silent))
		}
		if i >= 0 {
			at = resp.Boards[i].At
		}
	}
	if at != m.self {
		client, err := m.boardOf(at)
		if err != nil {
			return nil, err
		}
		return client.Accept(ctx, &api.AcceptRequest{Code: req.Code, Role: role, Local: true})
	}
	w, err := s.b.door.Accept(ctx, code, role)
	if err != nil {
		return nil, err
	}
	m.logger.Info("a board was accepted", "node", w.Node, "name", w.Hostname, "role", role)
	return &api.AcceptResponse{Board: m.waitingBoard(w)}, nil
}
