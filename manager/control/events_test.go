package control

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"

	"github.com/edgeswarm/edgeswarm/api"
	"github.com/edgeswarm/edgeswarm/manager/managertest"
)

// listener reads a stream of events.
type listener struct {
	grpc.ServerStream
	ctx context.Context
	out chan *api.EventsPage
}

func (l *listener) Context() context.Context { return l.ctx }

func (l *listener) Send(p *api.EventsPage) error {
	select {
	case l.out <- p:
		return nil
	case <-l.ctx.Done():
		return l.ctx.Err()
	}
}

// listen asks for events; the error is what the call ends with.
func (b *bench) listen(ctx context.Context, r *api.EventsRequest) (<-chan *api.EventsPage, <-chan error) {
	l, ended := &listener{ctx: ctx, out: make(chan *api.EventsPage)}, make(chan error, 1)
	go func() {
		err := b.server.WatchEvents(r, l)
		close(l.out)
		ended <- err
	}()
	return l.out, ended
}

// all is what a request that does not follow is answered.
func (b *bench) all(r *api.EventsRequest) (pages []*api.EventsPage, events []api.Event, err error) {
	out, ended := b.listen(b.ctx, r)
	for p := range out {
		pages = append(pages, p)
		events = append(events, p.Events...)
	}
	return pages, events, <-ended
}

func index(n uint64) *uint64 { return &n }

func TestEventsFromAnIndex(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bench) {
		before := b.View().Index
		b.create(t, "one")
		time.Sleep(time.Minute)
		between := b.View().Time.Add(30 * time.Second)
		b.create(t, "two")
		pages, events, err := b.all(&api.EventsRequest{After: &before})
		if err != nil || len(events) < 2 || pages[0].Index != before || len(pages[0].Events) != 0 || pages[0].Fleet != b.View().Cluster().ID {
			t.Fatalf("%+v, %v", pages, err)
		}
		last := pages[len(pages)-1].Index
		if last != b.View().Index || events[0].Actor.Attributes["name"] == "" {
			t.Errorf("the last page is of %d, and the fleet at %d", last, b.View().Index)
		}
		if _, again, err := b.all(&api.EventsRequest{After: &last}); err != nil || len(again) != 0 {
			t.Errorf("behind the last: %+v, %v", again, err)
		}
		if _, all, err := b.all(&api.EventsRequest{}); err != nil || len(all) <= len(events) {
			t.Errorf("all that is kept: %d events, %v", len(all), err)
		}
		_, late, err := b.all(&api.EventsRequest{Since: between})
		if err != nil || len(late) == 0 || len(late) >= len(events) || late[len(late)-1].Actor.Attributes["name"] != "two" && late[0].Actor.Attributes["name"] != "two" {
			t.Errorf("since: %+v, %v", late, err)
		}
		if _, _, err := b.all(&api.EventsRequest{After: index(last + 1)}); api.KindOf(err) != api.Invalid || !strings.Contains(err.Error(), fmt.Sprint("the fleet is at ", last)) {
			t.Errorf("what has not happened: %v", err)
		}
	})
}

// Events that are gone are said to be, whoever asks: a latecomer at once, a
// follower that is too slow when it comes to the gap. Nobody is held up by it.
func TestEventsThatAreGone(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bench) {
		first := b.View().Index
		ctx, cancel := context.WithCancel(b.ctx)
		defer cancel()
		out, ended := b.listen(ctx, &api.EventsRequest{After: &first, Follow: true})
		if p := <-out; p.Index != first {
			t.Fatalf("%+v", p)
		}
		for i := range 3000 { // the history keeps 1024
			b.Put(t, &api.Config{ID: api.ConfigID(fmt.Sprintf("c%06d", i)), Spec: api.DataSpec{Annotations: api.Annotations{Name: fmt.Sprint("c", i)}}})
		}
		seen := first
		for p := range out {
			for _, e := range p.Events {
				if e.Index != seen+1 {
					t.Fatalf("event %d follows %d", e.Index, seen)
				}
				seen = e.Index
			}
		}
		if err := <-ended; api.KindOf(err) != api.NotFound || !strings.Contains(err.Error(), fmt.Sprintf("behind index %d are gone", seen)) || seen-first > 200 {
			t.Errorf("after %d events: %v", seen-first, err)
		}
		gone, _ := b.Gone()
		if _, _, err := b.all(&api.EventsRequest{After: &first}); api.KindOf(err) != api.NotFound || !strings.Contains(err.Error(), fmt.Sprint("--since ", gone)) {
			t.Errorf("a latecomer: %v", err)
		}
		pages, events, err := b.all(&api.EventsRequest{After: &gone})
		if err != nil || len(events) != 1024 || pages[0].Gone != 0 {
			t.Errorf("what is left: %d events, %v", len(events), err)
		}
		if pages, events, err = b.all(&api.EventsRequest{Since: time.Now().Add(-time.Hour)}); err != nil || len(events) != 1024 || pages[0].Gone != gone {
			t.Errorf("since a time: %d events, gone %d, %v", len(events), pages[0].Gone, err)
		}
	})
}

// A large entry comes in parts, and counts as told only with the last.
func TestEventsOfALargeEntry(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bench) {
		before := b.View().Index
		var many []api.Object
		for i := range 5000 {
			many = append(many, &api.Config{ID: api.ConfigID(fmt.Sprintf("c%06d", i)), Spec: api.DataSpec{Annotations: api.Annotations{Name: fmt.Sprint("c", i), Labels: map[string]string{"l": strings.Repeat("x", 200)}}}})
		}
		b.Put(t, many...)
		pages, events, err := b.all(&api.EventsRequest{After: &before})
		if err != nil || len(events) != 5000 || len(pages) < 4 {
			t.Fatalf("%d pages, %d events, %v", len(pages), len(events), err)
		}
		for i, p := range pages[1:] {
			want := before
			if i == len(pages)-2 {
				want++
			}
			if p.Index != want {
				t.Errorf("page %d is of %d", i+1, p.Index)
			}
		}
		for i, e := range events {
			if e.Part != i || e.Index != before+1 {
				t.Fatalf("event %d is %d.%d", i, e.Index, e.Part)
			}
		}
	})
}

// What is stuck with a reader that does not read ends with the term.
func TestEventsEndWithTheTerm(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		state := managertest.Found(t, time.Now)
		server := New(Config{Store: state.Store, Writer: state.Writer, Raft: servers{managertest.NewRaft("a")}, Planned: func() uint64 { return 0 }, Clock: time.Now})
		term, end := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() { _ = server.Run(term); close(ended) }()
		synctest.Wait()
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		told := make(chan error, 1)
		go func() {
			told <- server.WatchEvents(&api.EventsRequest{Follow: true}, &listener{ctx: ctx, out: make(chan *api.EventsPage)})
		}()
		synctest.Wait()
		end()
		<-ended
		if err := <-told; api.KindOf(err) != api.NotLeader {
			t.Errorf("%v", err)
		}
	})
}
