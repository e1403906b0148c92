package api

import (
	"context"
	"errors"
	"io"

	"github.com/fxamacker/cbor/v2"
	"google.golang.org/grpc"
)

// RelayDesc returns a service of the same methods that passes every call on,
// message by message and unread, over the connection that route answers for
// it. A node that does not decide something forwards it so. Errors keep their
// kind; route's own are answered as they are. The context that route returns
// bounds the call: it ends when the call should be given up.
func RelayDesc(desc grpc.ServiceDesc, route Route) grpc.ServiceDesc {
	relay := grpc.ServiceDesc{ServiceName: desc.ServiceName, HandlerType: (*any)(nil)}
	for _, m := range desc.Methods {
		relay.Methods = append(relay.Methods, relayMethod(desc.ServiceName, m, route))
	}
	for _, s := range desc.Streams {
		relay.Streams = append(relay.Streams, relayStream(desc.ServiceName, s, route))
	}
	return relay
}

// Route says where a call goes: to local, an implementation of the service in
// this process, or over cc. Done is called when the call has ended.
type Route func(ctx context.Context, method string) (Target, error)

// Target is where a call goes.
type Target struct {
	Ctx   context.Context
	Done  func()
	Local any // set: call it
	Conn  grpc.ClientConnInterface
}

func relayMethod(service string, m grpc.MethodDesc, route Route) grpc.MethodDesc {
	full := "/" + service + "/" + m.MethodName
	handler := func(_ any, ctx context.Context, dec func(any) error, intercept grpc.UnaryServerInterceptor) (any, error) {
		work := func(ctx context.Context, _ any) (any, error) {
			to, err := route(ctx, full)
			if err != nil {
				return nil, err
			}
			defer to.Done()
			if to.Local != nil {
				return m.Handler(to.Local, to.Ctx, dec, nil)
			}
			var req cbor.RawMessage
			if err := dec(&req); err != nil {
				return nil, err
			}
			resp, err := invoke[cbor.RawMessage](to.Ctx, to.Conn, full, req)
			return resp, givenUp(ctx, to.Ctx, err)
		}
		return intercept(ctx, nil, &grpc.UnaryServerInfo{FullMethod: full}, work)
	}
	return grpc.MethodDesc{MethodName: m.MethodName, Handler: handler}
}

func relayStream(service string, desc grpc.StreamDesc, route Route) grpc.StreamDesc {
	full := "/" + service + "/" + desc.StreamName
	local := desc.Handler
	desc.Handler = func(_ any, down grpc.ServerStream) error {
		to, err := route(down.Context(), full)
		if err != nil {
			return err
		}
		defer to.Done()
		if to.Local != nil {
			return local(to.Local, boundStream{down, to.Ctx})
		}
		return givenUp(down.Context(), to.Ctx, pump(to.Ctx, to.Conn, desc, full, down))
	}
	return desc
}

// givenUp is the error of a relayed call: if it was the relay that gave it up,
// why it did.
func givenUp(caller, relayed context.Context, err error) error {
	if err != nil && caller.Err() == nil && relayed.Err() != nil {
		return context.Cause(relayed)
	}
	return err
}

// boundStream is a stream whose context ends sooner.
type boundStream struct {
	grpc.ServerStream
	ctx context.Context
}

func (s boundStream) Context() context.Context { return s.ctx }

// pump passes messages both ways until the far side ends the call. What it
// reads ahead is bounded by gRPC's flow control on either side.
func pump(ctx context.Context, cc grpc.ClientConnInterface, desc grpc.StreamDesc, full string, down grpc.ServerStream) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	up, err := open[cbor.RawMessage, cbor.RawMessage](ctx, cc, desc, full)
	if err != nil {
		return err
	}
	// This goroutine ends with the call: RecvMsg on down fails once the handler
	// has returned, and SendMsg on up once ctx is cancelled.
	go func() {
		for {
			var msg cbor.RawMessage
			if err := down.RecvMsg(&msg); err != nil {
				if errors.Is(err, io.EOF) {
					_ = up.CloseSend()
				} else {
					cancel()
				}
				return
			}
			if up.SendMsg(msg) != nil {
				return // the receiving side below learns why
			}
		}
	}()
	for {
		var msg cbor.RawMessage
		if err := up.RecvMsg(&msg); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		if err := down.SendMsg(msg); err != nil {
			return err
		}
	}
}
