package consensus

import (
	"context"
	"errors"
	"fmt"

	"github.com/hashicorp/raft"
)

// ErrUnknownServer: the log's configuration has no such server.
var ErrUnknownServer = errors.New("no such server")

// Servers lists the log's members in the order of joining, as this node last
// heard, whether it leads or not.
func (n *Node) Servers() ([]Server, error) {
	future := n.raft.GetConfiguration()
	if err := future.Error(); err != nil {
		return nil, fmt.Errorf("list servers: %w", translate(err))
	}
	leads, commit := n.raft.State() == raft.Leader, n.raft.CommitIndex()
	var servers []Server
	for _, s := range future.Configuration().Servers {
		server := Server{ID: string(s.ID), Voter: s.Suffrage == raft.Voter}
		if leads {
			server.Reachable = server.ID == n.cfg.ID
			if !server.Reachable {
				reachable, stored := n.transport.standing(server.ID)
				server.Reachable, server.Lag = reachable, commit-min(commit, stored)
			}
		}
		servers = append(servers, server)
	}
	return servers, nil
}

// AddNonvoter adds a server that follows the log without a vote, or does
// nothing if it is a member already. Only the leader can.
func (n *Node) AddNonvoter(ctx context.Context, id string) error {
	if s, err := n.server(id); err == nil && s.ID == id {
		return nil
	}
	return n.change(ctx, "add "+id, func() raft.Future {
		return n.raft.AddNonvoter(raft.ServerID(id), raft.ServerAddress(id), 0, n.enqueueTime(ctx))
	})
}

// Promote gives a member a vote. It first waits until the member answers and
// has what was committed at the call: a voter that is not there counts against
// every write from then on.
func (n *Node) Promote(ctx context.Context, id string) error {
	s, err := n.server(id)
	if err != nil {
		return fmt.Errorf("promote %s: %w", id, err)
	}
	if s.Voter {
		return nil
	}
	if err := n.caughtUp(ctx, id, n.raft.CommitIndex()); err != nil {
		return fmt.Errorf("promote %s: wait for it to catch up: %w", id, err)
	}
	return n.change(ctx, "promote "+id, func() raft.Future {
		return n.raft.AddVoter(raft.ServerID(id), raft.ServerAddress(id), 0, n.enqueueTime(ctx))
	})
}

func (n *Node) caughtUp(ctx context.Context, id string, index uint64) error {
	t, err := n.enter()
	if err != nil {
		return err
	}
	defer n.leave()
	for {
		heard := n.transport.heard.next()
		if reachable, stored := n.transport.standing(id); reachable && stored >= index {
			return nil
		}
		select {
		case <-heard:
		case <-ctx.Done():
			return ctx.Err()
		case <-t.done:
			return ErrLeadershipLost
		}
	}
}

// Demote takes a member's vote away; it goes on following. A leader that
// demotes itself steps down: Transfer first.
func (n *Node) Demote(ctx context.Context, id string) error {
	s, err := n.server(id)
	if err != nil {
		return fmt.Errorf("demote %s: %w", id, err)
	}
	if !s.Voter {
		return nil
	}
	return n.change(ctx, "demote "+id, func() raft.Future {
		return n.raft.DemoteVoter(raft.ServerID(id), 0, n.enqueueTime(ctx))
	})
}

// Remove ends a membership, or does nothing if there is none. The removed
// server may not hear of it. A leader that removes itself steps down: Transfer
// first.
func (n *Node) Remove(ctx context.Context, id string) error {
	if _, err := n.server(id); errors.Is(err, ErrUnknownServer) {
		return nil
	}
	return n.change(ctx, "remove "+id, func() raft.Future {
		return n.raft.RemoveServer(raft.ServerID(id), 0, n.enqueueTime(ctx))
	})
}

// Transfer hands leadership to a voter, or to the one furthest ahead if to is
// "". It returns once this node no longer leads.
func (n *Node) Transfer(ctx context.Context, to string) error {
	if to == n.cfg.ID {
		return nil
	}
	if len(voters(n.raft)) < 2 {
		return fmt.Errorf("transfer leadership: %w: no other voter", ErrUnknownServer)
	}
	if to != "" {
		if s, err := n.server(to); err != nil || !s.Voter {
			return fmt.Errorf("transfer leadership to %s: %w with a vote", to, ErrUnknownServer)
		}
	}
	err := n.change(ctx, "transfer leadership", func() raft.Future {
		if to == "" {
			return n.raft.LeadershipTransfer()
		}
		return n.raft.LeadershipTransferToServer(raft.ServerID(to), raft.ServerAddress(to))
	})
	if errors.Is(err, ErrLeadershipLost) {
		return nil // that was the wish
	}
	return err
}

func (n *Node) server(id string) (Server, error) {
	servers, err := n.Servers()
	if err != nil {
		return Server{}, err
	}
	for _, s := range servers {
		if s.ID == id {
			return s, nil
		}
	}
	return Server{}, ErrUnknownServer
}

func (n *Node) change(ctx context.Context, what string, ask func() raft.Future) error {
	if err := n.await(ctx, ask); err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	return nil
}
