package node

import (
	"context"
	"fmt"
	"net/netip"

	"github.com/vishvananda/netlink"
)

// addrs are where this board may be reached now.
func (b *board) addrs() []netip.AddrPort {
	found, err := ownAddrs(*b.advertised.Load(), b.endpoint.Port())
	if err != nil {
		b.cfg.Logger.Warn("own addresses unknown", "err", err)
	}
	return found
}

// watchAddrs tells the agent when an interface gains or loses an address, so
// that the leader, and through it every member, hears of it.
func (b *board) watchAddrs(ctx context.Context) error {
	updates := make(chan netlink.AddrUpdate, 16)
	if err := netlink.AddrSubscribeWithOptions(updates, ctx.Done(), netlink.AddrSubscribeOptions{
		ErrorCallback: func(err error) { b.cfg.Logger.Debug("address watch", "err", err) },
	}); err != nil {
		return fmt.Errorf("watch addresses: %w", err)
	}
	for {
		select {
		case _, ok := <-updates:
			if !ok {
				if ctx.Err() != nil {
					return nil
				}
				return fmt.Errorf("watch addresses: the kernel ended the subscription")
			}
			select {
			case b.readdressed <- struct{}{}:
			default: // it has yet to look for the last change
			}
		case <-ctx.Done():
			return nil
		}
	}
}
