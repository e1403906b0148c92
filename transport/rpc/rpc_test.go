package rpc_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/edgeswarm/edgeswarm/api"
	"github.com/edgeswarm/edgeswarm/identity"
	"github.com/edgeswarm/edgeswarm/transport"
	"github.com/edgeswarm/edgeswarm/transport/mem"
	"github.com/edgeswarm/edgeswarm/transport/quic"
	"github.com/edgeswarm/edgeswarm/transport/rpc"
)

// site is a fleet on a LAN in memory, each node serving a desk.
type site struct {
	lan *mem.Network
	ca  identity.CA
}

type node struct {
	*identity.Keeper
	*quic.Endpoint
	addr netip.AddrPort
	desk *desk
	stop func()
}

func newSite(t *testing.T) *site {
	ca, err := identity.NewCA(api.NewID[api.FleetID](), time.Now())
	if err != nil {
		t.Fatal(err)
	}
	return &site{lan: mem.New(1), ca: ca}
}

func (s *site) node(t *testing.T, n int, extra ...net.Listener) *node {
	t.Helper()
	keeper, err := identity.Open(identity.Config{Dir: filepath.Join(t.TempDir(), "id"), Now: time.Now})
	if err != nil {
		t.Fatal(err)
	}
	csr, err := keeper.CSR()
	if err != nil {
		t.Fatal(err)
	}
	creds, err := s.ca.Sign(csr, keeper.Node(), time.Now(), time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	if err := keeper.Adopt(creds); err != nil {
		t.Fatal(err)
	}
	return s.start(t, &node{Keeper: keeper, addr: netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, 0, byte(n)}), 2377)}, extra...)
}

// start opens the node's endpoint and serves its desk until the test ends.
func (s *site) start(t *testing.T, n *node, extra ...net.Listener) *node {
	t.Helper()
	host, err := s.lan.Host(n.addr)
	if err != nil {
		t.Fatal(err)
	}
	if n.Endpoint, err = quic.New(quic.Config{PacketConn: host, Identity: n.Keeper}); err != nil {
		t.Fatal(err)
	}
	l, err := n.Listen(transport.RPC)
	if err != nil {
		t.Fatal(err)
	}
	n.desk = &desk{}
	server := rpc.NewServer()
	server.RegisterService(&deskDesc, n.desk)
	ctx, cancel := context.WithCancel(t.Context())
	var done sync.WaitGroup
	done.Go(func() {
		if err := rpc.Serve(ctx, server, append(extra, rpc.Streams(l))...); err != nil {
			t.Errorf("Serve: %v", err)
		}
	})
	n.stop = func() {
		cancel()
		done.Wait()
		_ = n.Close()
	}
	t.Cleanup(n.stop)
	return n
}

func (n *node) calls(t *testing.T, to *node) *api.BoardClient {
	t.Helper()
	n.Learn(to.Node(), to.addr)
	cc, err := rpc.Dial(n.Endpoint, to.Node())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cc.Close() })
	return api.NewBoardClient(cc)
}

// desk answers calls. It serves only what the tests call.
type desk struct {
	api.BoardServer
	peer    atomic.Value // transport.Peer
	waiting sync.WaitGroup
}

var deskDesc = api.BoardDesc

func (d *desk) GetBoard(ctx context.Context, _ *api.Empty) (*api.BoardStatus, error) {
	peer, isNode := rpc.PeerOf(ctx)
	d.peer.Store(peer)
	message := "a node"
	if !isNode {
		message = "not a node"
	}
	if rpc.IsLocal(ctx) {
		message += ", local"
	}
	return &api.BoardStatus{NodeID: peer.ID, Message: message}, nil
}

func (d *desk) Init(context.Context, *api.InitRequest) (*api.InitResponse, error) {
	return nil, &api.Error{Kind: api.NotLeader, Op: "init", Leader: "n7", Err: errors.New("ask another")}
}

func (d *desk) Join(ctx context.Context, _ *api.JoinRequest) (*api.Empty, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}

func (d *desk) Exec(s grpc.BidiStreamingServer[api.ExecInput, api.ExecOutput]) error {
	for {
		in, err := s.Recv()
		if err == io.EOF {
			return api.Errorf(api.Conflict, "exec", "no task runs here")
		}
		if err != nil {
			return err
		}
		if err := s.Send(&api.ExecOutput{Data: in.Data}); err != nil {
			return err
		}
	}
}

func TestUnaryCallsKnowTheirPeer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		a, b := s.node(t, 1), s.node(t, 2)
		got, err := a.calls(t, b).GetBoard(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		peer := b.desk.peer.Load().(transport.Peer)
		if got.NodeID != a.Node() || got.Message != "a node" || peer.Fleet != s.ca.Fleet() || !bytes.Equal(peer.Key, a.PublicKey()) {
			t.Errorf("%+v, peer %s of %s", got, peer.ID, peer.Fleet)
		}
		_, err = a.calls(t, b).Init(t.Context(), &api.InitRequest{})
		var e *api.Error
		if !errors.As(err, &e) || e.Kind != api.NotLeader || e.Leader != "n7" || e.Error() != "init: ask another" {
			t.Errorf("error came as %#v", err)
		}
	})
}

func TestStreamsCarryMuchAndEndWithTheirError(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		a, b := s.node(t, 1), s.node(t, 2)
		stream, err := a.calls(t, b).Exec(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		chunk := bytes.Repeat([]byte{7}, 256<<10)
		for range 20 {
			if err := stream.Send(&api.ExecInput{Data: chunk}); err != nil {
				t.Fatal(err)
			}
			out, err := stream.Recv()
			if err != nil || !bytes.Equal(out.Data, chunk) {
				t.Fatal(err)
			}
		}
		if err := stream.CloseSend(); err != nil {
			t.Fatal(err)
		}
		if _, err := stream.Recv(); api.KindOf(err) != api.Conflict || err.Error() != "exec: no task runs here" {
			t.Errorf("the stream ended with %v", err)
		}
	})
}

func TestACallFailsWhenThePeerDies(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		a, b := s.node(t, 1), s.node(t, 2)
		client := a.calls(t, b)
		if _, err := client.GetBoard(t.Context()); err != nil {
			t.Fatal(err)
		}
		failed := make(chan error, 1)
		go func() {
			_, err := client.Join(context.Background(), &api.JoinRequest{})
			failed <- err
		}()
		time.AfterFunc(time.Second, func() { s.lan.Crash(b.addr) })
		start := time.Now()
		err := <-failed
		if took := time.Since(start) - time.Second; api.KindOf(err) != api.Unavailable || took > 7*time.Second {
			t.Errorf("%v after %v", err, took)
		}

		// Its successor is found by the same client.
		b.stop()
		next := s.start(t, &node{Keeper: b.Keeper, addr: b.addr})
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		for {
			if _, err = client.GetBoard(ctx); err == nil || ctx.Err() != nil {
				break
			}
			<-time.After(50 * time.Millisecond)
		}
		if err != nil || next.desk.peer.Load() == nil {
			t.Errorf("the successor: %v", err)
		}
	})
}

func TestACallEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		a, b := s.node(t, 1), s.node(t, 2)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		start := time.Now()
		_, err := a.calls(t, b).Join(ctx, &api.JoinRequest{})
		if took := time.Since(start); !errors.Is(err, context.DeadlineExceeded) || took > 1100*time.Millisecond {
			t.Errorf("%v after %v", err, took)
		}
	})
}

func TestAnUnknownNodeFailsAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newSite(t).node(t, 1)
		cc, err := rpc.Dial(a.Endpoint, "nobody")
		if err != nil {
			t.Fatal(err)
		}
		defer cc.Close()
		start := time.Now()
		if _, err := api.NewBoardClient(cc).GetBoard(t.Context()); api.KindOf(err) != api.Unavailable {
			t.Errorf("%v", err)
		}
		if took := time.Since(start); took > 100*time.Millisecond {
			t.Errorf("took %v", took)
		}
	})
}

// pipes is a listener in memory, as a local socket is one on disk.
type pipes struct {
	conns chan net.Conn
	once  sync.Once
	done  chan struct{}
}

func newPipes() *pipes { return &pipes{conns: make(chan net.Conn), done: make(chan struct{})} }

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.done:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error   { p.once.Do(func() { close(p.done) }); return nil }
func (p *pipes) Addr() net.Addr { return &net.UnixAddr{Name: "pipes", Net: "unix"} }

func (p *pipes) client(t *testing.T) *api.BoardClient {
	t.Helper()
	cc, err := grpc.NewClient("passthrough:///local", append(api.DialOptions(), grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) {
			ours, theirs := net.Pipe()
			select {
			case p.conns <- theirs:
				return ours, nil
			case <-ctx.Done():
				return nil, ctx.Err()
			}
		}))...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cc.Close() })
	return api.NewBoardClient(cc)
}

func TestTheLocalSocketIsNoNode(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPipes()
		newSite(t).node(t, 1, rpc.Local(p))
		got, err := p.client(t).GetBoard(t.Context())
		if err != nil || got.Message != "not a node, local" || got.NodeID != "" {
			t.Errorf("%+v, %v", got, err)
		}
	})
}

// A listener that nobody vouched for must not be taken for the local socket.
func TestAnUnmarkedListenerIsNotServed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPipes()
		n := newSite(t).node(t, 1, p)
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		if got, err := p.client(t).GetBoard(ctx); err == nil {
			t.Errorf("answered: %+v", got)
		}
		if n.desk.peer.Load() != nil {
			t.Error("the handler was reached")
		}
	})
}

func TestPeerOfAForeignContext(t *testing.T) {
	if _, ok := rpc.PeerOf(context.Background()); ok || rpc.IsLocal(context.Background()) {
		t.Error("a context that is no handler's has a caller")
	}
}
