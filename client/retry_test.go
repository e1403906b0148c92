package client

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/edgeswarm/edgeswarm/api"
)

// script is a connection that fails with each error in turn, then answers.
type script struct {
	grpc.ClientConnInterface
	errs []error
	ids  []api.RequestID
}

func (s *script) Invoke(_ context.Context, _ string, req, _ any, opts ...grpc.CallOption) error {
	if id := requestID(req); id != nil {
		s.ids = append(s.ids, *id)
	} else {
		s.ids = append(s.ids, "")
	}
	if len(s.errs) == 0 {
		return nil
	}
	err := s.errs[0]
	s.errs = s.errs[1:]
	if status.Code(err) == codes.FailedPrecondition {
		for _, o := range opts {
			if t, ok := o.(grpc.TrailerCallOption); ok {
				*t.TrailerAddr = metadata.Pairs("edge-kind", string(api.NotLeader))
			}
		}
	}
	return err
}

func unavailable() error { return status.Error(codes.Unavailable, "no leader") }

func TestAWriteIsRepeatedWithItsRequestID(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &script{errs: []error{unavailable(), status.Error(codes.FailedPrecondition, "not leader"), unavailable()}}
		c := api.NewControlClient(&retrier{next: s, patience: DefaultPatience})
		req := &api.UpdateServiceRequest{Service: "web"}
		if _, err := c.UpdateService(t.Context(), req); err != nil {
			t.Fatal(err)
		}
		if len(s.ids) != 4 || s.ids[0] == "" || s.ids[0] != req.RequestID {
			t.Fatalf("sent with IDs %q, request has %q", s.ids, req.RequestID)
		}
		for _, id := range s.ids {
			if id != s.ids[0] {
				t.Errorf("a retry changed the request ID: %q", s.ids)
			}
		}
	})
}

func TestPatienceEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &script{}
		for range 1000 {
			s.errs = append(s.errs, unavailable())
		}
		begun := time.Now()
		_, err := api.NewControlClient(&retrier{next: s, patience: 15 * time.Second}).ListNodes(t.Context(), &api.ListNodesRequest{})
		if api.KindOf(err) != api.Unavailable || !strings.Contains(err.Error(), "tried for 15s") {
			t.Errorf("err = %v (%s)", err, api.KindOf(err))
		}
		if took := time.Since(begun); took < 13*time.Second || took > 15*time.Second {
			t.Errorf("tried for %v, want about 15 s", took)
		}
		if n := len(s.ids); n < 15 || n > 40 {
			t.Errorf("%d calls in 15 s: want a pause of about a second between them", n)
		}
	})
}

func TestOtherErrorsAreFinal(t *testing.T) {
	for _, code := range []codes.Code{codes.NotFound, codes.Aborted, codes.InvalidArgument, codes.PermissionDenied, codes.Internal} {
		s := &script{errs: []error{status.Error(code, "no")}}
		_, err := api.NewControlClient(&retrier{next: s, patience: DefaultPatience}).GetService(t.Context(), &api.GetServiceRequest{})
		if err == nil || len(s.ids) != 1 {
			t.Errorf("%v: err = %v after %d calls, want an error after one", code, err, len(s.ids))
		}
	}
}

func TestFoundingAFleetIsNeverRepeated(t *testing.T) {
	s := &script{errs: []error{unavailable()}}
	_, err := api.NewBoardClient(&retrier{next: s, patience: DefaultPatience}).Init(t.Context(), &api.InitRequest{})
	if api.KindOf(err) != api.Unavailable || len(s.ids) != 1 {
		t.Errorf("err = %v after %d calls", err, len(s.ids))
	}
}

func TestAHopelessCallSaysWhy(t *testing.T) {
	s := &script{errs: []error{unavailable(), unavailable()}}
	asked := 0
	r := &retrier{next: s, patience: DefaultPatience, hopeless: func(context.Context) error {
		asked++
		return NotMember(&api.BoardStatus{Membership: api.MembershipNone})
	}}
	_, err := api.NewControlClient(r).ListNodes(t.Context(), &api.ListNodesRequest{})
	if api.KindOf(err) != api.Conflict || !strings.Contains(err.Error(), "edgectl init") || len(s.ids) != 1 || asked != 1 {
		t.Errorf("err = %v (%s) after %d calls", err, api.KindOf(err), len(s.ids))
	}
}

func TestAnOldTrailerDoesNotColourANewFailure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &script{errs: []error{status.Error(codes.FailedPrecondition, "not leader"), status.Error(codes.NotFound, "gone")}}
		_, err := api.NewControlClient(&retrier{next: s, patience: DefaultPatience}).GetService(t.Context(), &api.GetServiceRequest{})
		if api.KindOf(err) != api.NotFound {
			t.Errorf("kind = %s, want not found (%v)", api.KindOf(err), err)
		}
	})
}

func TestTheCallerEndsTheWaiting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &script{}
		for range 1000 {
			s.errs = append(s.errs, unavailable())
		}
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		defer cancel()
		begun := time.Now()
		_, err := api.NewControlClient(&retrier{next: s, patience: DefaultPatience}).ListNodes(ctx, &api.ListNodesRequest{})
		if err == nil || errors.Is(err, context.Canceled) || time.Since(begun) > 2*time.Second {
			t.Errorf("err = %v after %v", err, time.Since(begun))
		}
	})
}
