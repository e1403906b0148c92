package store

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/edgeswarm/edgeswarm/api"
)

var epoch = time.Date(2025, 6, 1, 12, 0, 0, 0, time.UTC)

// chain is a log that applies each entry at once to its stores.
type chain struct {
	mu      sync.Mutex
	stores  []*Store
	index   uint64
	entries [][]byte
	lose    error // given instead of the answer, once, after committing
}

// Propose implements Proposer.
func (c *chain) Propose(ctx context.Context, entry []byte) (uint64, any, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.index++
	c.entries = append(c.entries, entry)
	var first any
	for i, s := range c.stores {
		value, err := s.Apply(c.index, entry)
		if err != nil {
			return 0, nil, err
		}
		if i == 0 {
			first = value
		}
	}
	if err := c.lose; err != nil {
		c.lose = nil
		return 0, nil, err
	}
	return c.index, first, nil
}

// bench is one store with a log, a writer and a clock to set.
type bench struct {
	*Store
	t      testing.TB
	log    *chain
	writer *Writer
	now    time.Time
}

func newBench(t testing.TB) *bench {
	b := &bench{Store: New(Config{}), t: t, now: epoch}
	b.log = &chain{stores: []*Store{b.Store}}
	b.writer = NewWriter(b.Store, b.log, func() time.Time { return b.now })
	return b
}

func (b *bench) try(op Op, fn func(*Tx)) (Result, error) {
	return b.writer.Update(context.Background(), op, func(tx *Tx) error { fn(tx); return nil })
}

func (b *bench) do(op Op, fn func(*Tx)) Result {
	b.t.Helper()
	r, err := b.try(op, fn)
	if err != nil {
		b.t.Fatal(err)
	}
	return r
}

func (b *bench) put(objects ...api.Object) Result {
	b.t.Helper()
	return b.do(Op{}, func(tx *Tx) { tx.Put(objects...) })
}

func (b *bench) snapshot() []byte { return snapshotOf(b.t, b.Store) }

type fataler interface {
	Helper()
	Fatal(...any)
}

func snapshotOf(t fataler, s *Store) []byte {
	t.Helper()
	write, err := s.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	var buf bytes.Buffer
	if err := write(&buf); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

func service(id, name string) *api.Service {
	return &api.Service{ID: api.ServiceID(id), Spec: api.ServiceSpec{Annotations: api.Annotations{Name: name}}}
}

func cluster() *api.Cluster {
	return &api.Cluster{ID: "fleet", FoundedAt: epoch, Level: 1, Epoch: 1}
}

// task is one of realistic size.
func task(i int) *api.Task {
	grace, limit := 10*time.Second, int64(64<<20)
	return &api.Task{
		ID: api.IDFromBytes[api.TaskID]([16]byte{byte(i * 37), byte(i >> 8), byte(i), 7, byte(i * 11), 1}), ServiceID: api.ServiceID(fmt.Sprintf("service%d", i%50)),
		ServiceName: fmt.Sprintf("web-%d", i%50), Slot: i, NodeID: api.NodeID(fmt.Sprintf("node%d", i%100)), SpecVersion: 3, DesiredState: api.TaskRunning,
		Spec: api.TaskSpec{ContainerSpec: api.ContainerSpec{
			Image: "docker.io/library/web:1@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef",
			Env:   []string{"MODE=production", "PORT=8080"}, StopGracePeriod: &grace, Args: []string{"serve", "--verbose"},
		}, Resources: &api.ResourceRequirements{Limits: &api.Resources{MemoryBytes: limit}}},
		Status: api.TaskStatus{State: api.TaskRunning, Attempt: 1, Timestamp: epoch, ContainerID: "0123456789abcdef", PID: i},
		Ports:  []api.PortConfig{{Protocol: api.TCP, TargetPort: 8080, PublishedPort: 8080, PublishMode: api.PublishHost}},
	}
}

func wantKind(t testing.TB, err error, kind api.Kind, words string) {
	t.Helper()
	var e *api.Error
	if !errors.As(err, &e) || e.Kind != kind || !bytes.Contains([]byte(err.Error()), []byte(words)) {
		t.Errorf("got %v, want a %s with %q", err, kind, words)
	}
}
