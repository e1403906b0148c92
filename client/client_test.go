package client

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"

	"github.com/edgeswarm/edgeswarm/api"
)

// proxyVariable makes the test binary behave as ssh with edgectl behind it.
const proxyVariable = "EDGE_TEST_PROXY"

func TestMain(m *testing.M) {
	switch socket := os.Getenv(proxyVariable); socket {
	case "":
		os.Exit(m.Run())
	case "refuse":
		fmt.Fprintln(os.Stderr, "pi@board1: Permission denied (publickey).")
		os.Exit(255)
	default:
		if err := Proxy(context.Background(), socket, os.Stdin, os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
}

// node is a node with just enough of an answer.
type node struct {
	api.ControlServer
	api.BoardServer
	watches atomic.Int32
	watch   func(call int, stream grpc.ServerStreamingServer[api.ServiceProgress]) error
	streams atomic.Int32
	events  func(call int, r *api.EventsRequest, stream grpc.ServerStreamingServer[api.EventsPage]) error
}

func (n *node) GetBoard(context.Context, *api.Empty) (*api.BoardStatus, error) {
	return &api.BoardStatus{Hostname: "board1", Membership: api.MembershipMember}, nil
}

func (n *node) WatchService(_ *api.GetServiceRequest, stream grpc.ServerStreamingServer[api.ServiceProgress]) error {
	return n.watch(int(n.watches.Add(1)), stream)
}

func (n *node) WatchEvents(r *api.EventsRequest, stream grpc.ServerStreamingServer[api.EventsPage]) error {
	return n.events(int(n.streams.Add(1)), r, stream)
}

// serve runs a node on a socket of its own until the test ends.
func serve(t *testing.T, n *node) (socket string) {
	t.Helper()
	dir, err := os.MkdirTemp("", "edge") // t.TempDir may be too long for a socket's name
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	socket = filepath.Join(dir, "s")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer(api.ServerOptions()...)
	server.RegisterService(&api.ControlDesc, n)
	server.RegisterService(&api.BoardDesc, n)
	done := make(chan struct{})
	go func() { defer close(done); _ = server.Serve(l) }()
	t.Cleanup(func() { server.Stop(); <-done })
	return socket
}

func TestDialOverTheSocket(t *testing.T) {
	c, err := Dial(t.Context(), "unix://"+serve(t, &node{}))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	status, err := c.Board().GetBoard(t.Context())
	if err != nil || status.Hostname != "board1" {
		t.Errorf("status = %+v, %v", status, err)
	}
}

func TestDialThroughSSH(t *testing.T) {
	t.Setenv(proxyVariable, "unix://"+serve(t, &node{}))
	c, err := New(t.Context(), Config{Target: "ssh://pi@board1", SSH: []string{os.Args[0]}})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	status, err := c.Board().GetBoard(t.Context())
	if err != nil || status.Hostname != "board1" {
		t.Errorf("status = %+v, %v", status, err)
	}
}

func TestSSHThatFailsSaysWhatSSHSaid(t *testing.T) {
	t.Setenv(proxyVariable, "refuse")
	_, err := New(t.Context(), Config{Target: "ssh://pi@board1", SSH: []string{os.Args[0]}})
	if err == nil || !strings.Contains(err.Error(), "Permission denied (publickey)") || strings.Contains(err.Error(), "\n") {
		t.Errorf("err = %v", err)
	}
	t.Setenv(proxyVariable, "/nowhere/edged.sock")
	_, err = New(t.Context(), Config{Target: "ssh://pi@board1", SSH: []string{os.Args[0]}})
	if err == nil || !strings.Contains(err.Error(), "/nowhere/edged.sock") {
		t.Errorf("err = %v; want the other side's words", err)
	}
	_, err = New(t.Context(), Config{Target: "ssh://pi@board1", SSH: []string{"no-such-program-anywhere"}})
	if err == nil || !strings.Contains(err.Error(), "not installed") {
		t.Errorf("err = %v", err)
	}
}

func TestDialWhereNothingListens(t *testing.T) {
	dir := t.TempDir()
	stale := filepath.Join(dir, "stale")
	l, err := net.Listen("unix", stale)
	if err != nil {
		t.Fatal(err)
	}
	l.(*net.UnixListener).SetUnlinkOnClose(false)
	_ = l.Close()
	for path, say := range map[string]string{
		filepath.Join(dir, "absent"): "does not exist",
		stale:                        "nothing listens",
	} {
		begun := time.Now()
		_, err := Dial(t.Context(), path)
		if api.KindOf(err) != api.Unavailable || !strings.Contains(err.Error(), say) || !strings.Contains(err.Error(), path) {
			t.Errorf("Dial(%s) = %v; want %q", path, err, say)
		}
		if time.Since(begun) > 3*time.Second {
			t.Errorf("Dial(%s) took %v to see that nothing listens", path, time.Since(begun))
		}
	}
}

func progress(index uint64) *api.ServiceProgress {
	return &api.ServiceProgress{Service: &api.Service{ID: "s", Meta: api.Meta{Version: api.Version{Index: index}}}}
}

func TestWatchOutlivesItsLeader(t *testing.T) {
	n := &node{watch: func(call int, stream grpc.ServerStreamingServer[api.ServiceProgress]) error {
		switch call {
		case 1:
			_ = stream.Send(progress(1))
			return api.Errorf(api.NotLeader, "watch service", "this node leads no more")
		case 2:
			return api.Errorf(api.Unavailable, "watch service", "no leader")
		case 3:
			_ = stream.Send(progress(2))
			return nil
		default:
			_ = stream.Send(progress(3))
			return stream.Send(&api.ServiceProgress{})
		}
	}}
	c, err := Dial(t.Context(), serve(t, n))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	var seen []uint64
	err = c.Watch(t.Context(), "web", func(p *api.ServiceProgress) error {
		if p.Service != nil {
			seen = append(seen, p.Service.Version.Index)
		}
		return nil
	})
	if err != nil || fmt.Sprint(seen) != "[1 2 3]" || n.watches.Load() != 4 {
		t.Errorf("seen %v, err %v after %d watches", seen, err, n.watches.Load())
	}
}

func TestWatchEndsForItsCallersReason(t *testing.T) {
	n := &node{watch: func(_ int, stream grpc.ServerStreamingServer[api.ServiceProgress]) error {
		_ = stream.Send(progress(1))
		<-stream.Context().Done()
		return nil
	}}
	c, err := Dial(t.Context(), serve(t, n))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	// An error of the caller's that looks as if it could be repeated is not.
	own := api.Errorf(api.Unavailable, "", "update paused")
	if err := c.Watch(t.Context(), "web", func(*api.ServiceProgress) error { return own }); !errors.Is(err, own) || n.watches.Load() != 1 {
		t.Errorf("err = %v after %d watches", err, n.watches.Load())
	}
	if err := c.Watch(t.Context(), "web", func(*api.ServiceProgress) error { return ErrStop }); err != nil {
		t.Errorf("ErrStop gave %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	if err := c.Watch(ctx, "web", func(*api.ServiceProgress) error { cancel(); return nil }); !errors.Is(err, context.Canceled) {
		t.Errorf("err = %v, want canceled", err)
	}
}

func TestWatchOfAnUnknownService(t *testing.T) {
	n := &node{watch: func(int, grpc.ServerStreamingServer[api.ServiceProgress]) error {
		return api.Errorf(api.NotFound, "watch service", "no service web")
	}}
	c, err := Dial(t.Context(), serve(t, n))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.Watch(t.Context(), "web", func(*api.ServiceProgress) error { return nil }); api.KindOf(err) != api.NotFound {
		t.Errorf("err = %v", err)
	}
}
