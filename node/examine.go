package node

import (
	"context"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/edgeswarm/edgeswarm/api"
	"github.com/edgeswarm/edgeswarm/internal/doctor"
	"github.com/edgeswarm/edgeswarm/transport/rpc"
)

// askRuntime is how long the container runtime has to say that it is there.
const askRuntime = 5 * time.Second

// Examine implements api.BoardServer. Another member is asked by this one, with
// no manager in between, so that it can be found out why there is none.
func (s boardServer) Examine(ctx context.Context, req *api.ExamineRequest) (*api.Examination, error) {
	const op = "examine board"
	if _, remote := rpc.PeerOf(ctx); remote {
		if _, err := s.fellow(ctx, op); err != nil {
			return nil, err
		}
	}
	if req.Node == "" || req.Node == string(s.b.keeper.Node()) {
		return s.b.examine(ctx, req.MeasureDisk)
	}
	m, err := s.fellow(ctx, op)
	if err != nil {
		return nil, err
	}
	node, err := m.find(op, req.Node)
	if err != nil {
		return nil, err
	}
	if node == m.self {
		return s.b.examine(ctx, req.MeasureDisk)
	}
	board, err := m.boardOf(node)
	if err != nil {
		return nil, err
	}
	return board.Examine(ctx, &api.ExamineRequest{MeasureDisk: req.MeasureDisk})
}

func (b *Board) examine(ctx context.Context, measureDisk bool) (*api.Examination, error) {
	if b.parts.Facts == nil {
		return nil, api.Errorf(api.Unavailable, "examine board", "this board has nothing that could be looked at")
	}
	facts := b.parts.Facts(measureDisk)
	ctx, cancel := context.WithTimeout(ctx, askRuntime)
	defer cancel()
	info, err := b.parts.Driver.Info(ctx)
	if err != nil {
		facts.Runtime.Error = err.Error()
	} else {
		facts.Runtime.Name = info.Name + " " + info.Version
	}
	return &api.Examination{NodeID: b.keeper.Node(), Hostname: b.cfg.Name, Model: facts.Model, Findings: doctor.Examine(facts, b.cfg.BuildTime)}, nil
}

// noteFindings tells the log, once, what keeps this board from doing its part
// well. It measures nothing that writes; the clock may still be on its way, and
// that of the runtime the agent says.
func (b *Board) noteFindings(context.Context) error {
	if b.parts.Facts == nil {
		return nil
	}
	for _, f := range doctor.Examine(b.parts.Facts(false), b.cfg.BuildTime) {
		if f.Level != api.FindingOK && f.Check != doctor.CheckClock && f.Check != doctor.CheckContainerd {
			b.cfg.Logger.Warn("this board is not as it should be", "check", f.Check, "level", f.Level, "what", f.What, "why", f.Why, "mend", f.Mend)
		}
	}
	return nil
}

// find is the member that a person means by its ID, the start of one, or its
// name, among those that this board knows of.
func (m *membership) find(op, ref string) (api.NodeID, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, ok := m.peers[api.NodeID(ref)]; ok {
		return api.NodeID(ref), nil
	}
	peers := maps.Clone(m.peers)
	if peers == nil {
		peers = map[api.NodeID]api.Peer{}
	}
	peers[m.self] = api.Peer{ID: m.self, Name: m.board.cfg.Name}
	var named, begun []string
	for id, p := range peers {
		if p.Name == ref {
			named = append(named, string(id))
		}
		if strings.HasPrefix(string(id), ref) {
			begun = append(begun, string(id))
		}
	}
	if len(named) == 0 {
		named = begun
	}
	switch len(named) {
	case 0:
		return "", api.Errorf(api.NotFound, op, "this board knows no node %s: see `edgectl node ls`", ref)
	case 1:
		return api.NodeID(named[0]), nil
	default:
		slices.Sort(named)
		return "", api.Errorf(api.Conflict, op, "%q is ambiguous: %d nodes are called so (%s); use an ID", ref, len(named), strings.Join(named, ", "))
	}
}
