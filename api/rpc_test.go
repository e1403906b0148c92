package api

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/test/bufconn"
)

// failing answers every call with one error.
type failing struct {
	BoardServer
	err error
}

func (f *failing) GetBoard(context.Context, *Empty) (*BoardStatus, error) { return nil, f.err }

func (f *failing) Logs(_ *LogsRequest, s grpc.ServerStreamingServer[LogLine]) error {
	if err := s.Send(&LogLine{Data: []byte("one")}); err != nil {
		return err
	}
	return f.err
}

func (f *failing) Exec(s grpc.BidiStreamingServer[ExecInput, ExecOutput]) error { return f.err }

func connect(t *testing.T, srv BoardServer) *BoardClient {
	t.Helper()
	l := bufconn.Listen(1 << 16)
	server := grpc.NewServer(ServerOptions()...)
	server.RegisterService(&BoardDesc, srv)
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = server.Serve(l)
	}()
	cc, err := grpc.NewClient("passthrough:///test", append(DialOptions(), grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return l.DialContext(ctx) }))...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cc.Close()
		server.Stop()
		<-done
	})
	return NewBoardClient(cc)
}

func TestErrorsCrossTheWire(t *testing.T) {
	inner := Errorf(Conflict, "create service", "the name %q is in use", "web")
	for _, c := range []struct {
		name     string
		err      error
		kind     Kind
		op, text string
		leader   NodeID
	}{
		{name: "with kind and op", err: inner, kind: Conflict, op: "create service", text: `create service: the name "web" is in use`},
		{name: "wrapped", err: fmt.Errorf("board2: %w", inner), kind: Conflict, text: `board2: create service: the name "web" is in use`},
		{name: "with leader", err: &Error{Kind: NotLeader, Leader: "n3", Err: errors.New("ask n3")}, kind: NotLeader, text: "ask n3", leader: "n3"},
		{name: "of no kind", err: errors.New("disk on fire"), kind: Internal, text: "disk on fire"},
		{name: "of an unknown kind", err: &Error{Kind: "made up", Op: "x", Err: errors.New("y")}, kind: Internal, op: "x", text: "x: y"},
		{name: "without text", err: &Error{Kind: Denied}, kind: Denied, text: "denied"},
		{name: "without text but op", err: &Error{Kind: Denied, Op: "leave"}, kind: Denied, op: "leave", text: "leave: denied"},
		{name: "not ASCII", err: &Error{Kind: Invalid, Op: "größe", Err: errors.New("100 % 😀\nsecond line")}, kind: Invalid, op: "größe", text: "größe: 100 % 😀\nsecond line"},
		{name: "gRPC's own", err: status.Error(codes.NotFound, "no such thing"), kind: NotFound, text: "no such thing"},
		{name: "every kind", err: &Error{Kind: Unavailable, Err: errors.New("later")}, kind: Unavailable, text: "later"},
	} {
		t.Run(c.name, func(t *testing.T) {
			client := connect(t, &failing{err: c.err})
			check := func(how string, err error) {
				t.Helper()
				var e *Error
				if !errors.As(err, &e) {
					t.Fatalf("%s: %#v is no *Error", how, err)
				}
				if e.Kind != c.kind || e.Op != c.op || e.Leader != c.leader || e.Error() != c.text {
					t.Errorf("%s: kind %q, op %q, leader %q, text %q", how, e.Kind, e.Op, e.Leader, e.Error())
				}
			}
			_, err := client.GetBoard(t.Context())
			check("unary", err)
			logs, err := client.Logs(t.Context(), &LogsRequest{})
			if err != nil {
				t.Fatal(err)
			}
			if line, err := logs.Recv(); err != nil || string(line.Data) != "one" {
				t.Fatalf("first line %v, %v", line, err)
			}
			_, err = logs.Recv()
			check("download", err)
			exec, err := client.Exec(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			_, err = exec.Recv()
			check("duplex", err)
		})
	}
}

func TestEndOfStreamAndOfContextAreThemselves(t *testing.T) {
	client := connect(t, &failing{})
	logs, err := client.Logs(t.Context(), &LogsRequest{})
	if err != nil {
		t.Fatal(err)
	}
	_, _ = logs.Recv()
	if _, err := logs.Recv(); err != io.EOF {
		t.Errorf("end of stream: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := client.GetBoard(ctx); !errors.Is(err, context.Canceled) || KindOf(err) != Unavailable {
		t.Errorf("cancelled: %v", err)
	}
	ctx, cancel = context.WithDeadline(t.Context(), time.Now().Add(-time.Second))
	defer cancel()
	if _, err := client.GetBoard(ctx); !errors.Is(err, context.DeadlineExceeded) || KindOf(err) != Unavailable {
		t.Errorf("late: %v", err)
	}
}

func TestNobodyThereIsUnavailable(t *testing.T) {
	cc, err := grpc.NewClient("passthrough:///nobody", append(DialOptions(), grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(context.Context, string) (net.Conn, error) { return nil, errors.New("no route") }))...)
	if err != nil {
		t.Fatal(err)
	}
	defer cc.Close()
	if _, err := NewBoardClient(cc).GetBoard(t.Context()); KindOf(err) != Unavailable {
		t.Errorf("unary: %v", err)
	}
	if _, err := NewBoardClient(cc).Logs(t.Context(), &LogsRequest{}); KindOf(err) != Unavailable {
		t.Errorf("stream: %v", err)
	}
}

// What a server can't read or won't hold is an error to the caller and nothing
// to the handler, and the next call works.
func TestUnreadableRequestsAreRefused(t *testing.T) {
	client := connect(t, &failing{err: Errorf(Denied, "", "the handler was reached")})
	garbled := &struct{ Force, Service string }{"yes", "web"}
	large := &Chunk{Data: make([]byte, MaxMessage+1)}
	for name, req := range map[string]any{"garbled": garbled, "too large": large} {
		if _, err := invoke[Empty](t.Context(), client.cc, board+"Leave", req); KindOf(err) != Internal {
			t.Errorf("%s: %q, %v", name, KindOf(err), err)
		}
	}
	logs, err := openDownload[struct{ Tail string }, LogLine](t.Context(), client.cc, grpc.StreamDesc{ServerStreams: true}, board+"Logs", &struct{ Tail string }{"ten"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := logs.Recv(); KindOf(err) != Internal {
		t.Errorf("download: %q, %v", KindOf(err), err)
	}
	if _, err := client.GetBoard(t.Context()); KindOf(err) != Denied {
		t.Errorf("the next call: %v", err)
	}
}

func FuzzErrorFromStatus(f *testing.F) {
	f.Add(uint32(codes.Aborted), "text", "conflict", "op", "n1")
	f.Add(uint32(99), "", "ok", "", "")
	f.Fuzz(func(t *testing.T, code uint32, text, kind, op, leader string) {
		md := metadata.MD{trailerKind: {kind}, trailerOp: {op}, trailerLeader: {leader}}
		err := errorFromStatus(status.Error(codes.Code(code), text), md)
		if codes.Code(code) == codes.OK {
			if err != nil {
				t.Fatal("success became an error")
			}
			return
		}
		var e *Error
		if !errors.As(err, &e) {
			t.Fatalf("%v is no *Error", err)
		}
		if _, known := codeOf[e.Kind]; !known {
			t.Fatalf("a kind that nobody knows: %q", e.Kind)
		}
		_ = e.Error()
		if back, st := statusFromError(err); status.Code(st) == codes.OK || len(back) == 0 && !errors.Is(err, context.Canceled) {
			t.Fatalf("%v would be answered as success", err)
		}
	})
}
