package api

import (
	"context"
	"errors"
	"io"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

// Codec carries the fleet's encoding in gRPC frames. It is forced on servers
// and connections rather than registered by name, so nothing global changes.
type Codec struct{}

var _ encoding.CodecV2 = Codec{}

// Name is the gRPC content subtype.
func (Codec) Name() string { return "cbor" }

// Marshal implements encoding.CodecV2.
func (Codec) Marshal(v any) (mem.BufferSlice, error) {
	raw, err := Encode(v)
	if err != nil {
		return nil, err
	}
	return mem.BufferSlice{mem.SliceBuffer(raw)}, nil
}

// Unmarshal implements encoding.CodecV2.
func (Codec) Unmarshal(data mem.BufferSlice, v any) error { return Decode(data.Materialize(), v) }

// MaxMessage is the largest message either side accepts, in bytes. Bulk data
// goes in chunks on streams of its own.
const MaxMessage = 4 << 20

// ServerOptions are what every gRPC server of the fleet is made with.
func ServerOptions() []grpc.ServerOption {
	return []grpc.ServerOption{
		grpc.ForceServerCodecV2(Codec{}), grpc.MaxRecvMsgSize(MaxMessage),
		grpc.UnaryInterceptor(unaryErrors), grpc.StreamInterceptor(streamErrors),
	}
}

// DialOptions are what every gRPC connection of the fleet is made with.
func DialOptions() []grpc.DialOption {
	return []grpc.DialOption{
		grpc.WithDefaultCallOptions(grpc.ForceCodecV2(Codec{}), grpc.MaxCallRecvMsgSize(MaxMessage)),
		grpc.WithDisableServiceConfig(),
	}
}

// Empty is a message without content.
type Empty struct{}

// unary describes a method of S that takes one message and answers one.
func unary[S, Req, Resp any](name string, call func(S, context.Context, *Req) (*Resp, error)) grpc.MethodDesc {
	return grpc.MethodDesc{
		MethodName: name,
		Handler: func(srv any, ctx context.Context, dec func(any) error, intercept grpc.UnaryServerInterceptor) (any, error) {
			req := new(Req)
			if err := dec(req); err != nil {
				return nil, err // answered by gRPC already, as Internal
			}
			handle := func(ctx context.Context, req any) (any, error) { return call(srv.(S), ctx, req.(*Req)) }
			if intercept == nil {
				return handle(ctx, req)
			}
			return intercept(ctx, req, &grpc.UnaryServerInfo{Server: srv, FullMethod: fullMethod(ctx, name)}, handle)
		},
	}
}

func fullMethod(ctx context.Context, name string) string {
	if full, ok := grpc.Method(ctx); ok {
		return full
	}
	return name
}

// download describes a method of S that takes one message and answers many.
func download[S, Req, Resp any](name string, call func(S, *Req, grpc.ServerStreamingServer[Resp]) error) grpc.StreamDesc {
	return grpc.StreamDesc{
		StreamName: name, ServerStreams: true,
		Handler: func(srv any, stream grpc.ServerStream) error {
			req := new(Req)
			if err := stream.RecvMsg(req); err != nil {
				return err
			}
			return call(srv.(S), req, &grpc.GenericServerStream[Req, Resp]{ServerStream: stream})
		},
	}
}

// duplex describes a method of S that takes many messages and answers many.
// It serves for one answer too: the stream is ended behind it.
func duplex[S, Req, Resp any](name string, call func(S, grpc.BidiStreamingServer[Req, Resp]) error) grpc.StreamDesc {
	return grpc.StreamDesc{
		StreamName: name, ServerStreams: true, ClientStreams: true,
		Handler: func(srv any, stream grpc.ServerStream) error {
			return call(srv.(S), &grpc.GenericServerStream[Req, Resp]{ServerStream: stream})
		},
	}
}

// invoke calls a unary method and gives the error its kind back.
func invoke[Resp any](ctx context.Context, cc grpc.ClientConnInterface, method string, req any) (*Resp, error) {
	resp := new(Resp)
	var trailer metadata.MD
	if err := cc.Invoke(ctx, method, req, resp, grpc.Trailer(&trailer)); err != nil {
		return nil, errorFromStatus(err, trailer)
	}
	return resp, nil
}

// open starts a streaming method; errors of the stream get their kind back.
func open[Req, Resp any](ctx context.Context, cc grpc.ClientConnInterface, desc grpc.StreamDesc, method string) (*grpc.GenericClientStream[Req, Resp], error) {
	desc.Handler = nil
	stream, err := cc.NewStream(ctx, &desc, method)
	if err != nil {
		return nil, errorFromStatus(err, nil)
	}
	return &grpc.GenericClientStream[Req, Resp]{ClientStream: kindStream{stream}}, nil
}

// openDownload starts a streaming method whose one request is known.
func openDownload[Req, Resp any](ctx context.Context, cc grpc.ClientConnInterface, desc grpc.StreamDesc, method string, req *Req) (grpc.ServerStreamingClient[Resp], error) {
	stream, err := open[Req, Resp](ctx, cc, desc, method)
	if err != nil {
		return nil, err
	}
	if err := stream.SendMsg(req); err != nil && err != io.EOF { // the reader learns why it ended
		return nil, err
	}
	if err := stream.CloseSend(); err != nil {
		return nil, errorFromStatus(err, nil)
	}
	return stream, nil
}

// kindStream gives a stream's errors their kind back. SendMsg's io.EOF stays:
// it says that RecvMsg has the reason.
type kindStream struct{ grpc.ClientStream }

func (s kindStream) SendMsg(m any) error {
	if err := s.ClientStream.SendMsg(m); err != nil {
		return errorFromStatus(err, nil)
	}
	return nil
}

func (s kindStream) RecvMsg(m any) error {
	if err := s.ClientStream.RecvMsg(m); err != nil {
		return errorFromStatus(err, s.Trailer())
	}
	return nil
}

// Trailer keys that carry an Error beside gRPC's own code.
const (
	trailerKind   = "edge-kind"
	trailerOp     = "edge-op-bin" // -bin: any bytes
	trailerLeader = "edge-leader-bin"
)

var codeOf = map[Kind]codes.Code{
	NotFound: codes.NotFound, Conflict: codes.Aborted, NotLeader: codes.FailedPrecondition, Unavailable: codes.Unavailable,
	Invalid: codes.InvalidArgument, Denied: codes.PermissionDenied, Internal: codes.Internal,
}

func unaryErrors(ctx context.Context, req any, _ *grpc.UnaryServerInfo, handle grpc.UnaryHandler) (any, error) {
	resp, err := handle(ctx, req)
	if err == nil {
		return resp, nil
	}
	trailer, st := statusFromError(err)
	_ = grpc.SetTrailer(ctx, trailer)
	return nil, st
}

func streamErrors(srv any, stream grpc.ServerStream, _ *grpc.StreamServerInfo, handle grpc.StreamHandler) error {
	err := handle(srv, stream)
	if err == nil {
		return nil
	}
	trailer, st := statusFromError(err)
	stream.SetTrailer(trailer)
	return st
}

// statusFromError splits an error into gRPC's status and our trailer. What was
// wrapped around an Error stays in its text.
func statusFromError(err error) (metadata.MD, error) {
	var e *Error
	if !errors.As(err, &e) {
		if _, ok := status.FromError(err); ok {
			return nil, err
		}
		if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
			return nil, status.FromContextError(err).Err()
		}
		e = &Error{Kind: Internal, Err: err}
	}
	code, known := codeOf[e.Kind]
	if !known {
		e, code = &Error{Kind: Internal, Op: e.Op, Leader: e.Leader, Err: e.Err}, codes.Internal
	}
	op, text := e.Op, string(e.Kind)
	if whole := err.Error(); whole != e.Error() {
		op, text = "", whole
	} else if e.Err != nil {
		text = e.Err.Error()
	}
	return metadata.Pairs(trailerKind, string(e.Kind), trailerOp, op, trailerLeader, string(e.Leader)), status.Error(code, text)
}

// errorFromStatus is the inverse of statusFromError. A failure of the
// connection itself is Unavailable, and so is the end of the caller's context,
// which it wraps. Any other error than gRPC's, such as io.EOF, passes unchanged.
func errorFromStatus(err error, trailer metadata.MD) error {
	st, ok := status.FromError(err)
	if !ok || err == nil {
		return err
	}
	switch st.Code() {
	case codes.Canceled:
		return &Error{Kind: Unavailable, Err: context.Canceled}
	case codes.DeadlineExceeded:
		return &Error{Kind: Unavailable, Err: context.DeadlineExceeded}
	}
	e := &Error{Kind: Internal, Err: errors.New(st.Message())}
	for kind, code := range codeOf {
		if st.Code() == code {
			e.Kind = kind
		}
	}
	if _, known := codeOf[Kind(first(trailer, trailerKind))]; known {
		e.Kind = Kind(first(trailer, trailerKind))
		e.Op, e.Leader = first(trailer, trailerOp), NodeID(first(trailer, trailerLeader))
	}
	return e
}

func first(md metadata.MD, key string) string {
	if v := md.Get(key); len(v) == 1 {
		return v[0]
	}
	return ""
}
