package client

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
)

// Proxy joins a pair of streams to the socket of the node on this machine
// until either side ends: it is the far end of an ssh target.
func Proxy(ctx context.Context, target string, in io.Reader, out io.Writer) error {
	t, err := parseTarget(target)
	if err != nil {
		return err
	}
	if t.ssh != nil {
		return fmt.Errorf("%s is another machine: only a local socket can be passed on", t)
	}
	var nd net.Dialer
	conn, err := nd.DialContext(ctx, "unix", t.socket)
	if err != nil {
		return t.explain(err)
	}
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer stop()
	defer func() { _ = conn.Close() }()
	go func() {
		// Ends with the reader, which is the process's own standard input.
		_, _ = io.Copy(conn, in)
		_ = conn.(*net.UnixConn).CloseWrite()
	}()
	if _, err := io.Copy(out, conn); err != nil && !errors.Is(err, net.ErrClosed) {
		return fmt.Errorf("copy from %s: %w", t, err)
	}
	return nil
}
