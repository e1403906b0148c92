package node

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"

	"github.com/edgeswarm/edgeswarm/api"
	"github.com/edgeswarm/edgeswarm/transport/rpc"
)

// serveLocal answers edgectl at the board's own socket, which root alone may
// open: whoever can is an operator of the fleet.
func (b *board) serveLocal(ctx context.Context) error {
	path := b.cfg.Socket()
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("take over %s: %w", path, err)
	}
	listener, err := net.Listen("unix", path)
	if err != nil {
		return fmt.Errorf("listen for edgectl: %w", err)
	}
	if err := os.Chmod(path, 0o600); err != nil {
		return errors.Join(fmt.Errorf("listen for edgectl: %w", err), listener.Close())
	}
	server := rpc.NewServer()
	server.RegisterService(ptr(api.RelayDesc(api.ControlDesc, b.routeControl)), nil)
	server.RegisterService(&api.BoardDesc, boardServer{b})
	return rpc.Serve(ctx, server, rpc.Local(listener))
}

func (b *board) routeControl(ctx context.Context, method string) (api.Target, error) {
	if m := b.member.Load(); m != nil {
		return m.routeControl(ctx, method)
	}
	return api.Target{}, errNoFleet("")
}
