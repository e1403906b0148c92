package control

import (
	"errors"
	"slices"
	"testing"

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
