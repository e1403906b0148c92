package control

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/edgeswarm/edgeswarm/api"
	"github.com/edgeswarm/edgeswarm/consensus"
	"github.com/edgeswarm/edgeswarm/manager/managertest"
	"github.com/edgeswarm/edgeswarm/store"
)

const (
	idOne = "sha256:1111111111111111111111111111111111111111111111111111111111111111"
	idTwo = "sha256:2222222222222222222222222222222222222222222222222222222222222222"
)

// servers adapts the scripted membership.
type servers struct{ *managertest.Raft }

func (s servers) Servers() []consensus.Server {
	list, _ := s.Raft.Servers()
	return list
}

// live knows what a test tells it.
type live struct {
	state    *managertest.State
	raft     *managertest.Raft
	mu       sync.Mutex
	statuses map[api.TaskID]api.TaskStatus
	heard    chan struct{}
}

func (l *live) Status(t *api.Task) api.TaskStatus {
	l.mu.Lock()
	defer l.mu.Unlock()
	if s, ok := l.statuses[t.ID]; ok {
		return s
	}
	return t.Status
}

func (l *live) say(id api.TaskID, state api.TaskState) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.statuses[id] = api.TaskStatus{State: state, Attempt: 1}
	select {
	case l.heard <- struct{}{}:
	default:
	}
}

func (l *live) Subscribe() (<-chan struct{}, func()) { return l.heard, func() {} }

func (l *live) Expel(ctx context.Context, _ string, how store.Op, id api.NodeID) error {
	if err := l.raft.Remove(ctx, string(id)); err != nil {
		return err
	}
	_, err := l.state.Writer.Update(ctx, how, func(tx *store.Tx) error {
		if node := tx.Node(id); node != nil {
			tx.Delete(node)
		}
		return nil
	})
	return err
}

// images is a registry and the boards' stores.
type images struct {
	mu       sync.Mutex
	registry map[string]*api.Image
	refuse   map[api.NodeID]error
	copied   []api.NodeID
	pulls    int
}

func (i *images) Replicate(_ context.Context, _ *api.Image, _, to api.NodeID) error {
	i.mu.Lock()
	defer i.mu.Unlock()
	if err := i.refuse[to]; err != nil {
		return err
	}
	i.copied = append(i.copied, to)
	return nil
}

func (i *images) Holds(context.Context, *api.Image, api.NodeID) (bool, error) { return true, nil }

func (i *images) Pull(_ context.Context, ref string) (*api.Image, error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.pulls++
	if image := i.registry[ref]; image != nil {
		return image, nil
	}
	return nil, errors.New("connection refused")
}

type bench struct {
	*managertest.State
	server  *Server
	raft    *managertest.Raft
	live    *live
	images  *images
	planned atomic.Uint64
	ctx     context.Context
}

func image(id api.ImageID, names ...string) *api.Image {
	return &api.Image{ID: id, Names: names, Manifests: []api.ImageManifest{{Digest: string(id), Platform: managertest.Platform, Size: 10}}, Size: 10}
}

// inBubble runs a test against the control side of a term of three nodes, of
// which "a" and "b" vote, with one image.
func inBubble(t *testing.T, test func(*testing.T, *bench)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		b := &bench{raft: managertest.NewRaft("a", "b"), images: &images{registry: map[string]*api.Image{}, refuse: map[api.NodeID]error{}}, ctx: t.Context()}
		b.State = managertest.Found(t, time.Now, managertest.Node("a", "one"), managertest.Node("b", "two"), managertest.Node("c", "two"),
			image(idOne, "docker.io/library/web:1"))
		b.live = &live{state: b.State, raft: b.raft, statuses: map[api.TaskID]api.TaskStatus{}, heard: make(chan struct{}, 1)}
		b.server = New(Config{
			Self: "a", Store: b.Store, Writer: b.Writer, Raft: servers{b.raft}, Live: b.live, Images: b.images,
			Planned: b.planned.Load, Caller: managertest.Caller, Clock: time.Now, Logger: slog.New(slog.DiscardHandler),
		})
		ctx, end := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() { _ = b.server.Run(ctx); close(ended) }()
		synctest.Wait()
		test(t, b)
		end()
		<-ended
	})
}

func spec(name, image string, replicas uint64) api.ServiceSpec {
	return api.ServiceSpec{
		Annotations:  api.Annotations{Name: name},
		TaskTemplate: api.TaskSpec{ContainerSpec: api.ContainerSpec{Image: image}},
		Mode:         api.ServiceMode{Replicated: &api.ReplicatedService{Replicas: &replicas}},
	}
}

func (b *bench) create(t *testing.T, name string) *api.Service {
	t.Helper()
	resp, err := b.server.CreateService(b.ctx, &api.CreateServiceRequest{RequestID: api.NewID[api.RequestID](), Spec: spec(name, "web:1", 2)})
	if err != nil {
		t.Fatal(err)
	}
	return resp.Service
}

// refused checks that an error is of a kind, is one line, and says what it should.
func refused(t *testing.T, err error, kind api.Kind, words ...string) {
	t.Helper()
	if api.KindOf(err) != kind {
		t.Errorf("got %q (%s), want %s", err, api.KindOf(err), kind)
		return
	}
	for _, w := range words {
		if !strings.Contains(err.Error(), w) {
			t.Errorf("%q does not say %q", err, w)
		}
	}
	if strings.Contains(err.Error(), "\n") {
		t.Errorf("%q is more than one line", err)
	}
}

func TestCreateService(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bench) {
		req := &api.CreateServiceRequest{RequestID: "r1", Spec: spec("web", "web:1", 3)}
		resp, err := b.server.CreateService(b.ctx, req)
		if err != nil {
			t.Fatal(err)
		}
		s := resp.Service
		if got := s.Spec.TaskTemplate.ContainerSpec.Image; got != "web:1@"+idOne {
			t.Errorf("pinned as %s", got)
		}
		if p := s.Spec.TaskTemplate.Placement; p == nil || len(p.Platforms) != 1 || p.Platforms[0] != managertest.Platform {
			t.Errorf("placement %+v", p)
		}
		if len(resp.Warnings) != 0 || !b.View().Cluster().Touched || b.images.pulls != 0 {
			t.Errorf("warnings %q, touched %v, %d pulls", resp.Warnings, b.View().Cluster().Touched, b.images.pulls)
		}
		again, err := b.server.CreateService(b.ctx, req)
		if err != nil || again.Service.ID != s.ID || again.Service.Version != s.Version || b.View().Services.Len() != 1 {
			t.Errorf("the same request again made %+v, %v", again, err)
		}
		_, err = b.server.CreateService(b.ctx, &api.CreateServiceRequest{RequestID: "r2", Spec: spec("web", "web:1", 3)})
		refused(t, err, api.Conflict, "web", "in use")
	})
}

func TestCreateServiceRefused(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bench) {
		before := b.Log.Commits()
		try := func(s api.ServiceSpec) error {
			_, err := b.server.CreateService(b.ctx, &api.CreateServiceRequest{RequestID: api.NewID[api.RequestID](), Spec: s})
			return err
		}
		refused(t, try(spec("Not_a_label", "web:1", 1)), api.Invalid, "DNS label")
		refused(t, try(spec("web", "web:1", 1<<40)), api.Invalid, "Replicas")
		refused(t, try(spec("web", "UPPER CASE", 1)), api.Invalid, "image")
		refused(t, try(spec("web", "unknown:7", 1)), api.NotFound, "unknown:7", "docker.io", "connection refused", "edgectl image load")
		refused(t, try(spec("web", "localhost:5000/x@"+idTwo, 1)), api.NotFound, "localhost:5000")
		if b.Log.Commits() != before || b.View().Services.Len() != 0 || b.View().Cluster().Touched {
			t.Errorf("refused requests left %d commits", b.Log.Commits()-before)
		}
	})
}

func TestImageIsPulledWhereTheFleetHasNone(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bench) {
		b.images.registry["localhost:5000/app:latest"] = image(idTwo)
		resp, err := b.server.CreateService(b.ctx, &api.CreateServiceRequest{RequestID: "r", Spec: spec("app", "localhost:5000/app", 1)})
		if err != nil {
			t.Fatal(err)
		}
		if got := resp.Service.Spec.TaskTemplate.ContainerSpec.Image; got != "localhost:5000/app:latest@"+idTwo {
			t.Errorf("pinned as %s", got)
		}
		if kept := b.View().ImageByName("localhost:5000/app:latest"); kept == nil || kept.ID != idTwo || len(b.images.copied) != 1 {
			t.Errorf("kept as %+v, copied to %v", kept, b.images.copied)
		}
		// By digest, with no registry asked.
		b.images.registry = nil
		resp, err = b.server.CreateService(b.ctx, &api.CreateServiceRequest{RequestID: "r2", Spec: spec("old", "web@"+idOne, 1)})
		if err != nil || resp.Service.Spec.TaskTemplate.ContainerSpec.Image != "web@"+idOne {
			t.Errorf("by digest: %v", err)
		}
	})
}

func TestUpdateService(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bench) {
		s := b.create(t, "web")
		b.Put(t, image(idTwo, "docker.io/library/web:2"))
		update := func(id api.RequestID, version api.Version, patch api.ServicePatch) (*api.Service, error) {
			resp, err := b.server.UpdateService(b.ctx, &api.UpdateServiceRequest{RequestID: id, Service: "web", Version: version, Patch: patch})
			if err != nil {
				return nil, err
			}
			return resp.Service, nil
		}
		scaled, err := update("u1", api.Version{}, api.ServicePatch{Replicas: new(uint64(5))})
		if err != nil || scaled.SpecVersion != 1 || scaled.Spec.Replicas() != 5 {
			t.Fatalf("scaling: %v %+v", err, scaled)
		}
		_, err = update("u2", s.Version, api.ServicePatch{Replicas: new(uint64(9))})
		refused(t, err, api.Conflict, "has changed")
		next, err := update("u3", scaled.Version, api.ServicePatch{Image: new("web:2"), EnvAdd: []string{"A=1"}})
		if err != nil {
			t.Fatal(err)
		}
		if next.SpecVersion != 2 || next.Spec.TaskTemplate.ContainerSpec.Image != "web:2@"+idTwo || next.Spec.Replicas() != 5 {
			t.Errorf("updated to %+v", next.Spec)
		}
		again, err := update("u3", scaled.Version, api.ServicePatch{Image: new("web:2"), EnvAdd: []string{"A=1"}})
		if err != nil || again.Version != next.Version {
			t.Errorf("the same request again: %v, %v", again, err)
		}
		_, err = update("u4", api.Version{}, api.ServicePatch{Image: new("web:3")})
		refused(t, err, api.NotFound, "web:3")

		back, err := b.server.RollbackService(b.ctx, &api.RollbackServiceRequest{RequestID: "u5", Service: "web"})
		if err != nil {
			t.Fatal(err)
		}
		if s := back.Service; s.Spec.TaskTemplate.ContainerSpec.Image != "web:1@"+idOne || s.SpecVersion != 3 || s.Rollout == nil || !s.Rollout.Rollback {
			t.Errorf("rolled back to %+v", s)
		}
	})
}

func TestRemoveService(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bench) {
		s := b.create(t, "web")
		if _, err := b.server.RollbackService(b.ctx, &api.RollbackServiceRequest{RequestID: "r0", Service: "web"}); api.KindOf(err) != api.Conflict {
			t.Errorf("rolled back to nothing: %v", err)
		}
		for range 2 {
			if _, err := b.server.RemoveService(b.ctx, &api.RemoveServiceRequest{RequestID: "r1", Service: "web"}); err != nil {
				t.Fatal(err)
			}
		}
		if !b.View().Service(s.ID).PendingDelete {
			t.Error("it is not on its way out")
		}
		_, err := b.server.UpdateService(b.ctx, &api.UpdateServiceRequest{RequestID: "r2", Service: "web"})
		refused(t, err, api.Conflict, "being removed")
		_, err = b.server.RemoveService(b.ctx, &api.RemoveServiceRequest{RequestID: "r3", Service: "nope"})
		refused(t, err, api.NotFound, "nope", "edgectl service ls")
	})
}
