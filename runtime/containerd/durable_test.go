package containerd

import (
	"context"
	"errors"
	"slices"
	"testing"

	"github.com/containerd/containerd/v2/core/diff"
	"github.com/containerd/containerd/v2/core/mount"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// applier notes what is done to it.
type applier struct {
	log *[]string
	err error
}

func (a applier) Apply(context.Context, ocispec.Descriptor, []mount.Mount, ...diff.ApplyOpt) (ocispec.Descriptor, error) {
	*a.log = append(*a.log, "apply")
	return ocispec.Descriptor{Size: 7}, a.err
}

// TestLayersAreSynced: a layer is synced once it is unpacked, where it was
// unpacked; what could not be is no layer. That the snapshot is committed only then is containerd's
// word; that a fleet's tasks run after a power cut is tested on emulated boards.
func TestLayersAreSynced(t *testing.T) {
	broken := errors.New("broken")
	overlay := []mount.Mount{{Type: "overlay", Source: "overlay", Options: []string{"index=off", "workdir=/s/2/work", "upperdir=/s/2/fs", "lowerdir=/s/1/fs"}}}
	first := []mount.Mount{{Type: "bind", Source: "/s/1/fs", Options: []string{"rw", "rbind"}}}
	for name, c := range map[string]struct {
		mounts         []mount.Mount
		applies, syncs error
		want           []string
	}{
		"first layer":      {mounts: first, want: []string{"apply", "sync /s/1/fs"}},
		"later layer":      {mounts: overlay, want: []string{"apply", "sync /s/2/fs"}},
		"unpacking fails":  {mounts: first, applies: broken, want: []string{"apply"}},
		"the card fails":   {mounts: first, syncs: broken, want: []string{"apply", "sync /s/1/fs"}},
		"nothing to write": {want: []string{"apply"}},
	} {
		var log []string
		a := durable{applier{&log, c.applies}, func(path string) error {
			log = append(log, "sync "+path)
			return c.syncs
		}}
		got, err := a.Apply(t.Context(), ocispec.Descriptor{}, c.mounts)
		if !slices.Equal(log, c.want) {
			t.Errorf("%s: %q, %v", name, log, err)
		}
		if fails := c.applies != nil || c.syncs != nil; fails != errors.Is(err, broken) || !fails && err != nil || got.Size != 7 {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
	for _, path := range []string{t.TempDir(), "/nonexistent/folder"} {
		if err := syncFS(path); err != nil {
			t.Error(err)
		}
	}
	if err := syncFS("/dev/null/folder"); err == nil {
		t.Error("what is no folder is synced")
	}
}
