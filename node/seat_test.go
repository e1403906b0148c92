package node

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/edgeswarm/edgeswarm/admission"
	"github.com/edgeswarm/edgeswarm/api"
	"github.com/edgeswarm/edgeswarm/transport"
)

// lonely is an endpoint that reaches nobody.
type lonely struct{ transport.Endpoint }

func (lonely) Listen(transport.Protocol) (transport.Listener, error) {
	return silent{make(chan struct{})}, nil
}

func (lonely) Dial(context.Context, api.NodeID, transport.Protocol) (transport.Conn, error) {
	return nil, transport.ErrUnknownNode
}

type silent struct{ closed chan struct{} }

func (s silent) Accept() (transport.Conn, error) {
	<-s.closed
	return nil, net.ErrClosed
}

func (s silent) Close() error {
	close(s.closed)
	return nil
}

// newSeat is a seat of a node on a state directory.
func newSeat(t *testing.T, dir string, woken *atomic.Int32) *seat {
	t.Helper()
	state, err := openStateDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = state.Close() })
	return &seat{
		self: "a", dir: state, endpoint: lonely{}, compass: newCompass(), trust: &trust{self: "a", fleet: "f"}, wake: func() { woken.Add(1) },
		folder: func(func(context.Context, api.FleetID) error) (*admission.Folder, bool) { return nil, false },
		logger: slog.New(slog.DiscardHandler), wanted: make(chan bool, 1),
	}
}

// A voter whose share of the log can't be read must not begin with an empty
// one: it has forgotten what it promised, and could help elect a leader that
// lacks what was acknowledged. Only once the fleet has let it go it may.
func TestAVoterWithADamagedLogWaitsForItsDismissal(t *testing.T) {
	for name, spoil := range map[string]struct {
		file, text, says string
	}{
		"damaged": {"raft.db", strings.Repeat("x", 8192), "damaged"},
		"newer":   {"VERSION", "999\n", "newer"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				dir := t.TempDir()
				var woken atomic.Int32
				s := newSeat(t, dir, &woken)
				path := filepath.Join(s.dir.room(raftRoom), spoil.file)
				if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(path, []byte(spoil.text), 0o600); err != nil {
					t.Fatal(err)
				}
				ctx, cancel := context.WithCancel(t.Context())
				ended := make(chan error, 1)
				go func() { ended <- s.Run(ctx) }()

				untouched := func(when string) {
					t.Helper()
					synctest.Wait()
					if raw, err := os.ReadFile(path); err != nil || string(raw) != spoil.text {
						t.Fatalf("%s: the log was touched: %v", when, err)
					}
					if s.present.Load() != nil || !strings.Contains(s.Trouble(), spoil.says) || !strings.Contains(s.Trouble(), "node demote") {
						t.Errorf("%s: present %v, trouble %q", when, s.present.Load(), s.Trouble())
					}
				}
				untouched("at the start")
				if woken.Load() != 1 {
					t.Errorf("the leader is told %d times", woken.Load())
				}
				s.Want(true) // as the fleet that knows of nothing says
				untouched("while it is wanted")

				s.Want(false)
				synctest.Wait()
				if s.dir.has(raftRoom) || s.Trouble() != "" || woken.Load() != 2 {
					t.Errorf("let go: log kept %v, trouble %q, told %d times", s.dir.has(raftRoom), s.Trouble(), woken.Load())
				}
				s.Want(true)
				synctest.Wait()
				if s.present.Load() == nil {
					t.Error("it does not begin anew")
				}
				cancel()
				if err := <-ended; err != nil && ctx.Err() == nil {
					t.Error(err)
				}
			})
		})
	}
}

func TestTheLatestWishCounts(t *testing.T) {
	s := &seat{wanted: make(chan bool, 1)}
	for i := range 5 {
		s.Want(i%2 == 0)
	}
	if got := fmt.Sprint(<-s.wanted, len(s.wanted)); got != "true 0" {
		t.Errorf("it is wanted: %s", got)
	}
}
