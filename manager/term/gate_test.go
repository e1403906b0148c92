package term

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"

	"github.com/edgeswarm/edgeswarm/api"
)

func TestGateCancelsAndWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var g Gate
		if _, _, err := g.Enter(t.Context()); api.KindOf(err) != api.NotLeader {
			t.Fatalf("before the term: %v", err)
		}
		ctx, end := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() { _ = g.Run(ctx); close(ended) }()
		synctest.Wait()

		inner, leave, err := g.Enter(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		end()
		<-inner.Done()
		if !errors.Is(context.Cause(inner), ErrOver) {
			t.Errorf("cause %v", context.Cause(inner))
		}
		if err := Over(inner, inner.Err()); api.KindOf(err) != api.NotLeader {
			t.Errorf("a call cut off by the term's end says %v", err)
		}
		synctest.Wait()
		select {
		case <-ended:
			t.Fatal("the term ended with a call still inside")
		default:
		}
		leave()
		<-ended
		if _, _, err := g.Enter(t.Context()); api.KindOf(err) != api.NotLeader {
			t.Fatalf("after the term: %v", err)
		}
	})
}

func TestGateKeepsTheCallersOwnEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var g Gate
		ctx, end := context.WithCancel(t.Context())
		go func() { _ = g.Run(ctx) }()
		synctest.Wait()
		call, cancel := context.WithCancel(t.Context())
		inner, leave, err := g.Enter(call)
		if err != nil {
			t.Fatal(err)
		}
		cancel()
		<-inner.Done()
		if err := Over(inner, inner.Err()); !errors.Is(err, context.Canceled) {
			t.Errorf("got %v", err)
		}
		leave()
		end()
	})
}
