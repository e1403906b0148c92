package transporttest

import (
	"context"
	"errors"
	"io"
	"sync"
	"testing"
	"time"

	"github.com/edgeswarm/edgeswarm/api"
	"github.com/edgeswarm/edgeswarm/transport"
)

var errRemoved = errors.New("the node was removed from the fleet")

// serve accepts streams until the endpoint or the listener closes.
func serve(t *testing.T, ep transport.Endpoint, p transport.Protocol, handle func(transport.Conn)) transport.Listener {
	t.Helper()
	l, err := ep.Listen(p)
	if err != nil {
		t.Fatal(err)
	}
	var streams sync.WaitGroup
	streams.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			streams.Go(func() {
				defer c.Close()
				handle(c)
			})
		}
	})
	t.Cleanup(func() {
		_ = ep.Close()
		streams.Wait()
	})
	return l
}

func echo(c transport.Conn) { _, _ = io.Copy(c, c) }

func dial(t *testing.T, s *suite, from *node, to api.NodeID, p transport.Protocol) transport.Conn {
	t.Helper()
	c, err := from.Dial(s.ctx, to, p)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	_ = c.SetDeadline(time.Now().Add(20 * time.Second))
	return c
}

func say(t *testing.T, c transport.Conn, text string) {
	t.Helper()
	if _, err := io.WriteString(c, text); err != nil {
		t.Fatalf("say %q: %v", text, err)
	}
}

func hear(t *testing.T, c transport.Conn, want string) {
	t.Helper()
	got := make([]byte, len(want))
	if _, err := io.ReadFull(c, got); err != nil || string(got) != want {
		t.Fatalf("heard %q, %v; want %q", got, err, want)
	}
}

// works says and hears something on a new stream.
func works(t *testing.T, s *suite, from *node, to api.NodeID) {
	t.Helper()
	c := dial(t, s, from, to, transport.RPC)
	say(t, c, "ping")
	hear(t, c, "ping")
	_ = c.Close()
}

// ping is works for a peer that may not answer.
func ping(ctx context.Context, from *node, to api.NodeID) error {
	c, err := from.Dial(ctx, to, transport.RPC)
	if err != nil {
		return err
	}
	defer c.Close()
	if at, ok := ctx.Deadline(); ok {
		_ = c.SetDeadline(at)
	}
	if _, err := io.WriteString(c, "ping"); err != nil {
		return err
	}
	_, err = io.ReadFull(c, make([]byte, 4))
	return err
}

// ends waits until reading fails, and answers how and after how long.
func ends(t *testing.T, c transport.Conn) (error, time.Duration) {
	t.Helper()
	start := time.Now()
	_ = c.SetDeadline(start.Add(20 * time.Second))
	for buf := make([]byte, 1024); ; {
		if _, err := c.Read(buf); err != nil {
			return err, time.Since(start)
		}
	}
}

// soon is a context for what must fail by itself long before.
func soon(s *suite) (context.Context, context.CancelFunc) {
	return context.WithTimeout(s.ctx, 15*time.Second)
}

// liar believes every certificate, to get past its own check and at the other's.
type liar struct {
	Member
	claims func(chain [][]byte) (api.NodeID, api.FleetID)
}

func (l liar) Verify(chain [][]byte) (api.NodeID, api.FleetID, error) {
	node, fleet := l.claims(chain)
	return node, fleet, nil
}
