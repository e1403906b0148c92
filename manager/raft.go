package manager

import (
	"context"
	"log/slog"
	"sync"

	"github.com/edgeswarm/edgeswarm/consensus"
)

// Raft is the fleet's log as far as a term governs it. Implemented by
// consensus.Node, whose comments say what the methods promise.
type Raft interface {
	Servers() ([]consensus.Server, error)
	AddNonvoter(ctx context.Context, id string) error
	Promote(ctx context.Context, id string) error
	Demote(ctx context.Context, id string) error
	Remove(ctx context.Context, id string) error
	Transfer(ctx context.Context, to string) error
}

// members is Raft with Servers answering what was last known when the log can't say.
type members struct {
	Raft
	logger *slog.Logger

	mu   sync.Mutex
	last []consensus.Server
}

// Servers lists who takes part in the log.
func (m *members) Servers() []consensus.Server {
	servers, err := m.Raft.Servers()
	m.mu.Lock()
	defer m.mu.Unlock()
	if err != nil {
		m.logger.Warn("raft's members are unknown now, going by the last known", "err", err)
		return m.last
	}
	m.last = servers
	return servers
}
