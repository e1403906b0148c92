package clustertest_test

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/edgeswarm/edgeswarm/api"
	"github.com/edgeswarm/edgeswarm/internal/clustertest"
)

// record follows a board's events, each stream behind the last page of the one
// before it, until ctx ends.
type record struct {
	mu      sync.Mutex
	events  []api.Event
	streams int
	err     error
}

func (r *record) follow(ctx context.Context, b *clustertest.Board, after uint64) {
	for ctx.Err() == nil {
		stream, err := b.Control().WatchEvents(ctx, &api.EventsRequest{After: &after, Follow: true})
		for err == nil {
			var page *api.EventsPage
			if page, err = stream.Recv(); err == nil {
				r.mu.Lock()
				r.events = append(r.events, page.Events...)
				r.mu.Unlock()
				after = page.Index
			}
		}
		r.mu.Lock()
		r.streams++
		if kind := api.KindOf(err); ctx.Err() == nil && kind != api.NotLeader && kind != api.Unavailable {
			r.err = err
			r.mu.Unlock()
			return
		}
		r.mu.Unlock()
		select {
		case <-time.After(50 * time.Millisecond):
		case <-ctx.Done():
		}
	}
}

func (r *record) told() ([]string, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	var out []string
	for _, e := range r.events {
		out = append(out, fmt.Sprint(e.Index, ".", e.Part, " ", e.Type, " ", e.Action, " ", e.Actor.ID))
	}
	return out, r.err
}

// TestNoEventIsMissed: through the deaths of leaders, all followers are told the
// same, once and in order, which is what the last leader tells of it all.
func TestNoEventIsMissed(t *testing.T) {
	for seed := range uint64(3) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			formed(t, 5, seed, func(t *testing.T, f *clustertest.Fleet) {
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				var after uint64
				f.Within(10*time.Second, "told where the log is", func() error {
					stream, err := f.Boards[0].Control().WatchEvents(soon(t), &api.EventsRequest{Follow: true})
					if err != nil {
						return err
					}
					page, err := stream.Recv()
					if err == nil {
						after = page.Index
					}
					return err
				})
				// Boards that are not killed: two that do not lead.
				steady := f.Others(f.Leader())[:2]
				records := make([]record, len(steady))
				var following sync.WaitGroup
				for i, b := range steady {
					following.Go(func() { records[i].follow(ctx, b, after) })
				}
				at := steady[0]
				do := func(name string, p api.ServicePatch) {
					t.Helper()
					id := api.NewID[api.RequestID]()
					f.Within(20*time.Second, "accepted", func() error { _, err := patch(at, id, name, p); return err })
				}
				create(t, at, "web", 4)
				f.Within(20*time.Second, "running", f.Converged(at, "web", 4))
				for round := range uint64(3) {
					do("web", scale(3+round))
					if leader := f.Leader(); leader != nil && !slices.Contains(steady, leader) {
						if round%2 == 0 {
							leader.Kill()
						} else {
							leader.Cut()
						}
						do("web", image(fmt.Sprint("web:", 2+round)))
						leader.Start()
					}
					f.Within(2*time.Minute, "at rest", f.Converged(at, "web", int(3+round)))
				}
				f.Pass(10 * time.Second)
				stream, err := at.Control().WatchEvents(soon(t), &api.EventsRequest{After: &after})
				if err != nil {
					t.Fatal(err)
				}
				var whole record
				for page, err := stream.Recv(); err == nil; page, err = stream.Recv() {
					whole.events = append(whole.events, page.Events...)
				}
				cancel()
				following.Wait()
				want, _ := whole.told()
				if len(want) < 30 {
					t.Errorf("%d events in all", len(want))
				}
				for i := range records {
					got, err := records[i].told()
					if err != nil || !slices.Equal(got, want) {
						t.Errorf("%s was told, %v:\n%q\nand not:\n%q", steady[i].Name, err, got, want)
					}
					if records[i].streams < 2 {
						t.Errorf("%s: no stream was cut", steady[i].Name)
					}
				}
			})
		})
	}
}
