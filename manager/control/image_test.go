package control

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/edgeswarm/edgeswarm/api"
	"github.com/edgeswarm/edgeswarm/store"
)

func (b *bench) register(image *api.Image) (*api.RegisterImageResponse, error) {
	return b.server.RegisterImage(b.ctx, &api.RegisterImageRequest{RequestID: api.NewID[api.RequestID](), Image: *image, Holder: "a"})
}

func TestRegisterImageAnswersAtTwoCopies(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bench) {
		b.images.refuse["b"] = errors.New("disk is full")
		resp, err := b.register(image(idTwo, "app:1"))
		if err != nil || !slices.Equal(resp.Copies, []api.NodeID{"a", "c"}) {
			t.Fatalf("%+v, %v", resp, err)
		}
		if kept := b.View().ImageByName("docker.io/library/app:1"); kept == nil || kept.ID != idTwo {
			t.Errorf("kept as %+v", kept)
		}
		b.images.refuse["c"] = errors.New("unreachable")
		_, err = b.register(image(idTwo, "app:2"))
		refused(t, err, api.Unavailable, "one board only", "disk is full", "unreachable")

		for _, id := range []api.NodeID{"b", "c"} {
			b.Change(t, func(tx *store.Tx) {
				node := *tx.Node(id)
				node.Status.State = api.NodeDown
				tx.Put(&node)
			})
		}
		resp, err = b.register(image(idTwo, "app:3"))
		if err != nil || !slices.Equal(resp.Copies, []api.NodeID{"a"}) {
			t.Errorf("on a fleet of one board: %+v, %v", resp, err)
		}
	})
}

// What is on one board only is not used: a service of it would be lost with it.
func TestImageIsRecordedAtTwoCopies(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bench) {
		b.images.registry["docker.io/library/app:1"] = image(idTwo)
		b.images.refuse["b"], b.images.refuse["c"] = errors.New("disk is full"), errors.New("unreachable")
		_, err := b.register(image(idTwo, "app:1"))
		refused(t, err, api.Unavailable, "one board only")
		for _, try := range []api.RequestID{"first", "again"} {
			_, err = b.server.CreateService(b.ctx, &api.CreateServiceRequest{RequestID: try, Spec: spec("web", "app:1", 1)})
			refused(t, err, api.Unavailable, "one board only")
		}
		if b.View().Image(idTwo) != nil || b.View().Services.Len() != 0 {
			t.Fatal("an image of one copy was recorded, or used")
		}
		clear(b.images.refuse)
		if _, err := b.server.CreateService(b.ctx, &api.CreateServiceRequest{RequestID: "last", Spec: spec("web", "app:1", 1)}); err != nil {
			t.Error(err)
		}
		if !slices.Equal(b.images.copied, []api.NodeID{"b"}) {
			t.Errorf("copied to %v", b.images.copied)
		}
	})
}

// meanwhile is a server whose first change is decided before something else
// happens, and proposed after it.
func (b *bench) meanwhile(t *testing.T, something func()) *Server {
	t.Helper()
	cfg, once := b.server.cfg, sync.Once{}
	cfg.Writer = store.NewWriter(b.Store, b.Log, func() time.Time {
		once.Do(something)
		return time.Now()
	})
	server := New(cfg)
	ctx, cancel := context.WithCancel(b.ctx)
	ended := make(chan error, 1)
	go func() { ended <- server.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-ended })
	synctest.Wait()
	return server
}

func TestImageIsNotForgottenWhileAServiceIsMadeOfIt(t *testing.T) {
	const idThree = "sha256:3333333333333333333333333333333333333333333333333333333333333333"
	create := &api.CreateServiceRequest{RequestID: "r", Spec: spec("app", "app:1", 1)}
	inBubble(t, func(t *testing.T, b *bench) {
		if _, err := b.register(image(idTwo, "app:1")); err != nil {
			t.Fatal(err)
		}
		server := b.meanwhile(t, func() {
			if _, err := b.register(image(idThree, "app:1")); err != nil {
				t.Error(err)
			}
		})
		_, err := server.CreateService(b.ctx, create)
		refused(t, err, api.Unavailable, "given way")
		resp, err := server.CreateService(b.ctx, create)
		if err != nil || resp.Service.Spec.TaskTemplate.ContainerSpec.Image != "app:1@"+idThree {
			t.Errorf("asked again: %+v, %v", resp, err)
		}
	})
	inBubble(t, func(t *testing.T, b *bench) {
		if _, err := b.register(image(idTwo, "app:1")); err != nil {
			t.Fatal(err)
		}
		server := b.meanwhile(t, func() {
			if _, err := b.server.CreateService(b.ctx, create); err != nil {
				t.Error(err)
			}
		})
		if _, err := server.RegisterImage(b.ctx, &api.RegisterImageRequest{RequestID: "i", Image: *image(idThree, "app:1"), Holder: "a"}); err != nil {
			t.Fatal(err)
		}
		if kept := b.View().Image(idTwo); kept == nil || len(kept.Names) != 0 {
			t.Errorf("the image that a service was just made of is %+v", kept)
		}
	})
}

func TestNamesMoveToTheNewerImage(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bench) {
		b.create(t, "web") // of idOne
		before := b.Log.Commits()
		if _, err := b.server.RegisterImage(b.ctx, &api.RegisterImageRequest{Image: *image(idOne, "web:1"), Holder: "a"}); err != nil || b.Log.Commits() != before {
			t.Errorf("what is known already: %v, %d commits", err, b.Log.Commits()-before)
		}
		if _, err := b.register(image(idTwo, "web:1", "web:2")); err != nil {
			t.Fatal(err)
		}
		if kept := b.View().ImageByName("docker.io/library/web:1"); kept == nil || kept.ID != idTwo {
			t.Errorf("the name is still of %+v", kept)
		}
		if old := b.View().Image(idOne); old == nil || len(old.Names) != 0 {
			t.Errorf("the image in use is %+v", old)
		}
		third := image("sha256:3333333333333333333333333333333333333333333333333333333333333333", "web:1", "web:2")
		if _, err := b.register(third); err != nil || b.View().Image(idTwo) != nil {
			t.Errorf("an image that nothing names or uses is kept (%v)", err)
		}
	})
}

func TestRegisterImageRefused(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bench) {
		_, err := b.register(image("sha256:12", "app:1"))
		refused(t, err, api.Invalid, "sha256:12")
		_, err = b.register(&api.Image{ID: idTwo})
		refused(t, err, api.Invalid, "no manifest")
		_, err = b.register(image(idTwo, slices.Repeat([]string{"docker.io/library/app:1"}, 20000)...))
		refused(t, err, api.Invalid, "too many names")
		_, err = b.register(image(idTwo, "Bad Name"))
		refused(t, err, api.Invalid, "Bad Name")
		_, err = b.server.RegisterImage(b.ctx, &api.RegisterImageRequest{Image: *image(idTwo), Holder: "nobody"})
		refused(t, err, api.NotFound, "nobody")
		if b.View().Images.Len() != 1 {
			t.Error("a refused image was kept")
		}
	})
}

func TestWarnings(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bench) {
		other := image(idTwo, "docker.io/library/amd:1")
		other.Manifests[0].Platform = api.Platform{OS: "linux", Architecture: "amd64"}
		b.Put(t, other)
		resp, err := b.server.CreateService(b.ctx, &api.CreateServiceRequest{RequestID: "r", Spec: spec("amd", "amd:1", 1)})
		if err != nil || len(resp.Warnings) != 1 {
			t.Fatalf("%+v %v", resp, err)
		}
		s := spec("zoned", "web:1", 1)
		s.TaskTemplate.Placement = &api.Placement{Constraints: []string{"node.labels.zone==attic"}}
		resp, err = b.server.CreateService(b.ctx, &api.CreateServiceRequest{RequestID: "r2", Spec: s})
		if err != nil || len(resp.Warnings) != 1 {
			t.Fatalf("%+v %v", resp, err)
		}
		s = spec("managed", "web:1", 1)
		s.TaskTemplate.Placement = &api.Placement{Constraints: []string{"node.role==manager"}}
		resp, err = b.server.CreateService(b.ctx, &api.CreateServiceRequest{RequestID: "r3", Spec: s})
		if err != nil || len(resp.Warnings) != 0 {
			t.Errorf("%+v %v", resp, err)
		}
	})
}
