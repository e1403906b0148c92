package node

import (
	"context"
	"time"

	"github.com/edgeswarm/edgeswarm/api"
)

// renewRetry is the longest pause between two tries to renew a certificate; it
// shrinks with what is left of the certificate's life.
const renewRetry = 10 * time.Second

const (
	// renewLook is how often a node looks whether its certificate is due.
	renewLook = time.Minute
	// renewLag is the longest pause before a certificate is renewed that was due
	// again as soon as it was made.
	renewLag = time.Hour
)

// renewAt is when this node's certificate is due: sooner than it was to be, if
// the fleet has come to want shorter ones.
func (m *membership) renewAt() time.Time {
	return m.board.keeper.RenewWithin(m.fleetInfo().CertExpiry)
}

// renew keeps this node's certificate fresh until ctx ends.
func (m *membership) renew(ctx context.Context) error {
	lag := renewLook
	for {
		due := m.renewAt().Sub(m.board.clock.Now())
		if due > 0 {
			timer := time.NewTimer(min(due, renewLook)) // this board's clock may be set meanwhile
			select {
			case <-timer.C:
			case <-m.board.clock.Jumped(): // what was due in years may be now
			case <-m.expiry:
			case <-ctx.Done():
			}
			timer.Stop()
			if ctx.Err() != nil {
				return nil
			}
			continue
		}
		if err := m.renewOnce(ctx); err != nil {
			m.logger.Warn("certificate not renewed, trying again", "err", err, "expires", m.board.keeper.Expires())
			left := m.board.keeper.Expires().Sub(m.board.clock.Now())
			if !sleep(ctx, min(max(left/10, time.Second), renewRetry)) {
				return nil
			}
			continue
		}
		// A leader whose clock lags gives a certificate that is due again by this
		// board's: that must not become a loop that wears the card.
		pause := time.Second
		if m.renewAt().Before(m.board.clock.Now()) {
			pause, lag = lag, min(2*lag, renewLag)
		} else {
			lag = renewLook
		}
		if !sleep(ctx, pause) {
			return nil
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
	// The other key by which peers know this board is as old.
	if err := m.board.parts.Network.TurnKey(); err != nil {
		m.logger.Warn("key of encrypted networks is not turned", "err", err)
	}
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
