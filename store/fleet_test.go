package store_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/edgeswarm/edgeswarm/api"
	"github.com/edgeswarm/edgeswarm/consensus"
	"github.com/edgeswarm/edgeswarm/consensus/mem"
	"github.com/edgeswarm/edgeswarm/store"
)

// board is a manager: its log and its state.
type board struct {
	id    string
	node  *consensus.Node
	state *store.Store
	stop  context.CancelFunc
	ran   chan error

	mu     sync.Mutex
	writer *store.Writer // while it leads
}

func (b *board) leads() *store.Writer {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.writer
}

func (b *board) setWriter(w *store.Writer) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.writer = w
}

// fleet is three boards in memory, on files.
type fleet struct {
	t   *testing.T
	hub *mem.Hub
	dir string

	mu     sync.Mutex
	boards map[string]*board

	troubles int // read when trouble has ended
}

func (f *fleet) open(id string) *board {
	f.t.Helper()
	b := &board{id: id, state: store.New(store.Config{}), ran: make(chan error, 1)}
	node, err := consensus.Open(consensus.Config{
		ID: id, Dir: filepath.Join(f.dir, id), Network: f.hub.Join(id), Machine: b.state,
		SnapshotBytes: 32 << 10, TrailingEntries: 20, // snapshots come often
	})
	if err != nil {
		f.t.Fatal(err)
	}
	b.node = node
	ctx, cancel := context.WithCancel(context.Background())
	b.stop = cancel
	go func() {
		b.ran <- node.Run(ctx, func(ctx context.Context) error {
			b.setWriter(store.NewWriter(b.state, node, time.Now))
			defer b.setWriter(nil)
			<-ctx.Done()
			return nil
		})
	}()
	f.mu.Lock()
	defer f.mu.Unlock()
	f.boards[id] = b
	return b
}

func (f *fleet) close(id string) {
	f.mu.Lock()
	b := f.boards[id]
	delete(f.boards, id)
	f.mu.Unlock()
	b.stop()
	if err := errors.Join(<-b.ran, b.node.Close()); err != nil {
		f.t.Errorf("close %s: %v", id, err)
	}
}

// kill takes a board off the air in the middle of what it does.
func (f *fleet) kill(id string) {
	f.hub.Cut(id)
	f.close(id)
	f.hub.Mend(id)
}

func (f *fleet) leader() (*board, *store.Writer) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, b := range f.boards {
		if w := b.leads(); w != nil {
			return b, w
		}
	}
	return nil, nil
}

func (f *fleet) found() {
	f.t.Helper()
	a := f.open("a")
	if err := a.node.Bootstrap(); err != nil {
		f.t.Fatal(err)
	}
	for a.leads() == nil {
		time.Sleep(10 * time.Millisecond)
	}
	for _, id := range []string{"b", "c"} {
		f.open(id)
		if err := errors.Join(a.node.AddNonvoter(f.t.Context(), id), a.node.Promote(f.t.Context(), id)); err != nil {
			f.t.Fatal(err)
		}
	}
}

// update tries a request, with one request ID, until some leader says it is done.
func (f *fleet) update(request api.RequestID, fn func(*store.Tx) error) (r store.Result, tries int) {
	for {
		if _, w := f.leader(); w != nil {
			tries++
			ctx, cancel := context.WithTimeout(context.Background(), 3*time.Second)
			r, err := w.Update(ctx, store.Op{Request: request, User: true}, fn)
			cancel()
			if err == nil {
				return r, tries
			}
		}
		time.Sleep(7 * time.Millisecond)
	}
}

// Clients write to one object and to objects of their own while leaders are
// killed, cut off and handed over under them, and the whole fleet loses power.
// Each request is done exactly once, whatever its client was told meanwhile.
func TestEveryRequestIsDoneExactlyOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fleet{t: t, hub: mem.NewHub(), dir: t.TempDir(), boards: map[string]*board{}}
		f.found()
		f.update("founding", func(tx *store.Tx) error {
			tx.Put(&api.Cluster{ID: "fleet", Level: 1}, &api.Service{ID: "shared"})
			return nil
		})
		const clients, requests = 4, 150
		stop := make(chan struct{})
		var trouble, work sync.WaitGroup
		trouble.Go(func() { f.trouble(stop) })
		var mu sync.Mutex
		retried := 0
		for c := range clients {
			work.Go(func() {
				for i := range requests {
					_, tries := f.request(fmt.Sprintf("c%d-%d", c, i))
					mu.Lock()
					retried += tries - 1
					mu.Unlock()
					time.Sleep(time.Duration(1+i%20) * 20 * time.Millisecond)
				}
			})
		}
		work.Wait()
		close(stop)
		trouble.Wait()
		t.Logf("%d requests took %d retries over %d troubles", clients*requests, retried, f.troubles)
		if retried < 20 || f.troubles < 8 {
			t.Error("it was too quiet to prove anything")
		}
		f.judge(clients, requests)
		for _, id := range []string{"a", "b", "c"} {
			f.close(id)
		}
	})
}

// request adds a token to the shared object and makes an object of its own, in
// one entry.
func (f *fleet) request(token string) (store.Result, int) {
	r, tries := f.update(api.RequestID(token), func(tx *store.Tx) error {
		shared := *tx.Service("shared")
		shared.Spec.TaskTemplate.ContainerSpec.Args = append(append([]string(nil), shared.Spec.TaskTemplate.ContainerSpec.Args...), token)
		made := &api.Service{ID: api.NewID[api.ServiceID](), Spec: api.ServiceSpec{Annotations: api.Annotations{Name: token}}}
		tx.Put(&shared, made)
		tx.About(made)
		return nil
	})
	b, _ := f.leader()
	if b != nil && r.Index <= b.state.View().Index { // else that leader has not caught up
		if s := b.state.View().ServiceByName(token); s == nil || string(s.ID) != r.Key {
			f.t.Errorf("%s was answered with %+v, the state has %v", token, r, s)
		}
	}
	return r, tries
}

// trouble befalls the fleet until stop.
func (f *fleet) trouble(stop <-chan struct{}) {
	rng := rand.New(rand.NewPCG(1, 2))
	for round := 0; ; round++ {
		select {
		case <-stop:
			return
		case <-time.After(time.Duration(50+rng.IntN(1500)) * time.Millisecond):
		}
		b, _ := f.leader()
		if b == nil {
			continue
		}
		f.troubles++
		switch round % 4 {
		case 0:
			f.kill(b.id)
			f.open(b.id)
		case 1: // cut off, it goes on for a while believing that it leads
			f.hub.Cut(b.id)
			time.Sleep(3 * time.Second)
			f.hub.Mend(b.id)
		case 2:
			_ = b.node.Transfer(context.Background(), "")
		case 3:
			for _, id := range []string{"a", "b", "c"} {
				f.hub.Cut(id)
			}
			for _, id := range []string{"a", "b", "c"} {
				f.kill(id)
				f.open(id)
			}
		}
	}
}

func (f *fleet) judge(clients, requests int) {
	f.t.Helper()
	f.update("last", func(tx *store.Tx) error {
		tx.Put(&api.Service{ID: "last", Spec: api.ServiceSpec{Annotations: api.Annotations{Name: "last"}}})
		return nil
	})
	var first []byte
	for id, b := range f.boards {
		for range 3000 {
			if b.state.View().Service("last") != nil {
				break
			}
			time.Sleep(10 * time.Millisecond)
		}
		v := b.state.View()
		seen := map[string]int{}
		for _, token := range v.Service("shared").Spec.TaskTemplate.ContainerSpec.Args {
			seen[token]++
		}
		for c := range clients {
			for i := range requests {
				if token := fmt.Sprintf("c%d-%d", c, i); seen[token] != 1 || v.ServiceByName(token) == nil {
					f.t.Errorf("%s: request %s was done %d times", id, token, seen[token])
				}
			}
		}
		if len(seen) != clients*requests || v.Services.Len() != clients*requests+2 {
			f.t.Errorf("%s: %d tokens, %d services", id, len(seen), v.Services.Len())
		}
		write, err := b.state.Snapshot()
		var buf bytes.Buffer
		if err := errors.Join(err, write(&buf)); err != nil {
			f.t.Fatal(err)
		}
		if first == nil {
			first = buf.Bytes()
		} else if !bytes.Equal(first, buf.Bytes()) {
			f.t.Errorf("%s holds another state", id)
		}
	}
}

// A writer outlives its term: what it then says is that it does not lead, or no more.
func TestWriterOfAnEndedTerm(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fleet{t: t, hub: mem.NewHub(), dir: t.TempDir(), boards: map[string]*board{}}
		f.found()
		b, w := f.leader()
		if err := b.node.Transfer(t.Context(), ""); err != nil {
			t.Fatal(err)
		}
		_, err := w.Update(t.Context(), store.Op{}, func(tx *store.Tx) error { tx.Put(&api.Service{ID: "s"}); return nil })
		// It may not have heard of the other's term yet.
		if !errors.Is(err, consensus.ErrNotLeader) && !errors.Is(err, consensus.ErrLeadershipLost) || !strings.HasPrefix(err.Error(), "commit change: ") {
			t.Errorf("got %v", err)
		}
		for _, id := range []string{"a", "b", "c"} {
			f.close(id)
		}
	})
}
