package manager

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/edgeswarm/edgeswarm/api"
	"github.com/edgeswarm/edgeswarm/manager/managertest"
	"github.com/edgeswarm/edgeswarm/store"
)

// fleet is the state of a fleet, scripted agents, and one term at a time.
type fleet struct {
	t *testing.T
	*managertest.State
	raft   *managertest.Raft
	agents map[api.NodeID]*managertest.Agent
	kills  map[api.NodeID]context.CancelFunc
	ctx    context.Context

	mu   sync.Mutex
	term *Term
	end  func()
}

type noImages struct{}

func (noImages) Replicate(context.Context, *api.Image, api.NodeID, api.NodeID) error { return nil }
func (noImages) Holds(context.Context, *api.Image, api.NodeID) (bool, error)         { return true, nil }
func (noImages) Pull(context.Context, string) (*api.Image, error) {
	return nil, errors.New("offline")
}

const (
	digestOne = "sha256:1111111111111111111111111111111111111111111111111111111111111111"
	digestTwo = "sha256:2222222222222222222222222222222222222222222222222222222222222222"
)

// inFleet runs a test in a fleet of nodes a, b and c that all vote, in a's first term.
func inFleet(t *testing.T, test func(*testing.T, *fleet)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		f := &fleet{t: t, raft: managertest.NewRaft("a", "b", "c"), agents: map[api.NodeID]*managertest.Agent{}, kills: map[api.NodeID]context.CancelFunc{}, ctx: ctx}
		image := func(id api.ImageID, name string) *api.Image {
			return &api.Image{ID: id, Names: []string{name}, Manifests: []api.ImageManifest{{Digest: string(id), Platform: managertest.Platform}}}
		}
		f.State = managertest.Found(t, time.Now, managertest.Node("a", "a"), managertest.Node("b", "b"), managertest.Node("c", "c"),
			image(digestOne, "docker.io/library/web:1"), image(digestTwo, "docker.io/library/web:2"))
		f.lead(time.Now)
		for _, id := range []api.NodeID{"a", "b", "c"} {
			f.agents[id] = &managertest.Agent{ID: id, Name: string(id), Starts: 300 * time.Millisecond, Stops: 200 * time.Millisecond}
			f.boot(id)
		}
		f.pass(2 * time.Second)
		test(t, f)
		f.resign()
	})
}

// lead begins a term on a board with its own idea of the time.
func (f *fleet) lead(clock func() time.Time) {
	f.t.Helper()
	term := New(Config{
		Self: "a", Store: f.Store, Writer: store.NewWriter(f.Store, f.Log, clock), Raft: f.raft, Images: noImages{}, Caller: managertest.Caller,
		Clock: clock, Logger: slog.New(slog.DiscardHandler),
	})
	ctx, cancel := context.WithCancel(f.ctx)
	ended := make(chan error, 1)
	go func() { ended <- term.Run(ctx) }()
	synctest.Wait()
	f.mu.Lock()
	defer f.mu.Unlock()
	f.term = term
	f.end = func() {
		cancel()
		if err := <-ended; err != nil {
			f.t.Errorf("the term ended with %v", err)
		}
	}
}

// resign ends the term and waits for all of it.
func (f *fleet) resign() {
	f.mu.Lock()
	end := f.end
	f.term, f.end = nil, func() {}
	f.mu.Unlock()
	end()
}

func (f *fleet) dispatch() api.DispatchServer {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.term == nil {
		return nil
	}
	return f.term.Dispatch()
}

func (f *fleet) boot(id api.NodeID) {
	ctx, kill := context.WithCancel(f.ctx)
	f.kills[id] = kill
	go f.agents[id].Run(ctx, f.dispatch)
}

func (f *fleet) kill(id api.NodeID) { f.kills[id]() }

// pass lets time go by.
func (f *fleet) pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

// within waits until a condition holds, at most for d, and tells how long it took.
func (f *fleet) within(d time.Duration, what string, holds func() bool) time.Duration {
	f.t.Helper()
	began := time.Now()
	for {
		synctest.Wait()
		if holds() {
			return time.Since(began)
		}
		if time.Since(began) >= d {
			f.t.Fatalf("not %s within %v", what, d)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

func serviceSpec(replicas uint64, update *api.UpdateConfig) api.ServiceSpec {
	return api.ServiceSpec{
		Annotations:  api.Annotations{Name: "web"},
		TaskTemplate: api.TaskSpec{ContainerSpec: api.ContainerSpec{Image: "web:1"}},
		Mode:         api.ServiceMode{Replicated: &api.ReplicatedService{Replicas: &replicas}}, UpdateConfig: update,
	}
}

func (f *fleet) create(spec api.ServiceSpec) *api.Service {
	f.t.Helper()
	resp, err := f.term.Control().CreateService(f.ctx, &api.CreateServiceRequest{RequestID: api.NewID[api.RequestID](), Spec: spec})
	if err != nil {
		f.t.Fatal(err)
	}
	return resp.Service
}

func (f *fleet) update(patch api.ServicePatch) *api.Service {
	f.t.Helper()
	resp, err := f.term.Control().UpdateService(f.ctx, &api.UpdateServiceRequest{RequestID: api.NewID[api.RequestID](), Service: "web", Patch: patch})
	if err != nil {
		f.t.Fatal(err)
	}
	return resp.Service
}

// running counts the tasks that the boards say they run, by version of the
// spec, on boards that are alive.
func (f *fleet) running(version uint64) (n int) {
	for _, agent := range f.agents {
		statuses := agent.Statuses()
		for _, item := range agent.Items() {
			if item.Task != nil && item.Task.SpecVersion == version && statuses[item.Task.ID].State == api.TaskRunning {
				n++
			}
		}
	}
	return n
}

// seen counts the tasks that a user sees running.
func (f *fleet) seen() uint64 {
	list, err := f.term.Control().ListServices(f.ctx, &api.ListServicesRequest{})
	if err != nil || len(list.Services) == 0 {
		return 0
	}
	return list.Services[0].Running
}

func (f *fleet) service() *api.Service { return f.View().ServiceByName("web") }

func (f *fleet) idle() {
	f.t.Helper()
	f.pass(10 * time.Second) // what can wait is committed
	before := f.Log.Commits()
	f.pass(5 * time.Minute)
	if after := f.Log.Commits(); after != before {
		f.t.Errorf("%d commits in five idle minutes", after-before)
	}
}
