package node

import (
	"context"
	"time"

	"github.com/edgeswarm/edgeswarm/api"
)

// renewRetry is the pause between two tries to renew a certificate; it grows
// to a tenth of the certificate's remaining life.
const renewRetry = 10 * time.Second

// renew keeps this node's certificate fresh until ctx ends.
func (m *membership) renew(ctx context.Context) error {
	for {
		due := m.board.keeper.RenewAt().Sub(m.board.clock.Now())
		if !sleep(ctx, max(due, 0)) {
			return nil
		}
		if err := m.renewOnce(ctx); err != nil {
			m.logger.Warn("certificate not renewed, trying again", "err", err, "expires", m.board.keeper.Expires())
			left := m.board.keeper.Expires().Sub(m.board.clock.Now())
			if !sleep(ctx, min(max(left/10, time.Second), renewRetry)) {
				return nil
			}
		}
	}
}

func (m *membership) renewOnce(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	csr, err := m.board.keeper.CSR()
	if err != nil {
		return err
	}
	leader, err := m.findLeader(ctx)
	if err != nil {
		return err
	}
	conn, err := m.conn(leader)
	if err != nil {
		return err
	}
	creds, err := api.NewDispatchClient(conn).RenewCertificate(ctx, &api.RenewRequest{CSR: csr})
	if err != nil {
		return err
	}
	if err := m.board.keeper.Adopt(*creds); err != nil {
		return err
	}
	m.logger.Info("certificate renewed", "expires", m.board.keeper.Expires())
	return m.board.clock.Save()
}

// sleep waits, and tells whether ctx lasted.
func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
