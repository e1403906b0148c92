package agent

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/edgeswarm/edgeswarm/api"
	"github.com/edgeswarm/edgeswarm/internal/host"
	"github.com/edgeswarm/edgeswarm/runtime"
)

// volumes are the folders of this board's named volumes. Which there are is
// read once and then remembered, so that telling it costs no disk.
type volumes struct {
	dir     string
	changed func() // there is another one, or one less

	mu    sync.Mutex
	names []string // in order
}

// doomed begins the name of a volume on its way out. No volume is called so.
const doomed = ".removed-"

func openVolumes(dir string, changed func()) (*volumes, error) {
	v := &volumes{dir: dir, changed: changed}
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return v, nil
	}
	if err != nil {
		return nil, fmt.Errorf("look for volumes: %w", err)
	}
	for _, e := range entries { // in order of name
		switch {
		case strings.HasPrefix(e.Name(), doomed): // a crash came between
			if err := os.RemoveAll(filepath.Join(dir, e.Name())); err != nil {
				return nil, fmt.Errorf("remove a volume: %w", err)
			}
		case e.IsDir() && !strings.HasPrefix(e.Name(), "."):
			v.names = append(v.names, e.Name())
		}
	}
	return v, nil
}

// list is what the board reports of its volumes.
func (v *volumes) list() []string {
	v.mu.Lock()
	defer v.mu.Unlock()
	size := 0
	for i, name := range v.names {
		if size += len(name); size > api.MaxVolumes {
			return slices.Clone(v.names[:i])
		}
	}
	return slices.Clone(v.names)
}

func (v *volumes) path(name string) string { return filepath.Join(v.dir, name) }

// use finds or makes a volume.
func (v *volumes) use(name string) (path string, err error) {
	if name == "" || strings.ContainsRune(name, '/') || !filepath.IsLocal(name) || strings.HasPrefix(name, ".") {
		return "", fmt.Errorf("volume %q: %w: a name has no slash and no leading dot", name, runtime.ErrInvalid)
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	if err := os.MkdirAll(v.path(name), 0o755); err != nil {
		return "", fmt.Errorf("make volume: %w", err)
	}
	if at, known := slices.BinarySearch(v.names, name); !known {
		v.names = slices.Insert(v.names, at, name)
		v.changed()
	}
	return v.path(name), nil
}

// remove deletes a volume unless used, asked while none can be taken into use,
// says why not.
func (v *volumes) remove(name string, used func() error) error {
	gone, err := v.moveAway(name, used)
	if err != nil {
		return err
	}
	v.changed()
	if err := os.RemoveAll(gone); err != nil {
		return fmt.Errorf("remove volume %s: %w", name, err)
	}
	return nil
}

// moveAway gives a volume a name that is no volume's: it is gone at once,
// however long its files take.
func (v *volumes) moveAway(name string, used func() error) (to string, err error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	at, known := slices.BinarySearch(v.names, name)
	if !known {
		return "", api.Errorf(api.NotFound, "", "this board holds no volume %q", name)
	}
	if err := used(); err != nil {
		return "", err
	}
	to = filepath.Join(v.dir, doomed+string(api.NewID[api.RequestID]()))
	if err := os.Rename(v.path(name), to); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("remove volume %s: %w", name, err)
	}
	v.names = slices.Delete(v.names, at, at+1)
	return to, nil
}

// Volumes are what this board knows of the volumes it holds, by name: of the
// named ones, or with none of all.
func (a *Agent) Volumes(names []string) map[string]api.VolumeDetail {
	a.volumes.mu.Lock()
	held := slices.Clone(a.volumes.names)
	a.volumes.mu.Unlock()
	out := map[string]api.VolumeDetail{}
	for _, name := range held {
		if len(names) == 0 || slices.Contains(names, name) {
			path := a.volumes.path(name)
			out[name] = api.VolumeDetail{Mountpoint: path, CreatedAt: host.Birth(path), Tasks: a.usersOf(name)}
		}
	}
	return out
}

// RemoveVolume deletes a volume with all that is in it. An error is an
// *api.Error: NotFound, or Conflict while a task of this board uses it.
func (a *Agent) RemoveVolume(name string) error {
	return a.volumes.remove(name, func() error {
		users := a.usersOf(name)
		if len(users) == 0 {
			return nil
		}
		var words []string
		for _, t := range users {
			words = append(words, fmt.Sprintf("%s.%d (%s)", t.ServiceName, t.Slot, api.ShortID(t.ID)))
		}
		return api.Errorf(api.Conflict, "", "volume %s is in use by %s; end them first, as with `edgectl service scale` or `edgectl service rm`", name, strings.Join(words, ", "))
	})
}

// usersOf are the tasks of this board that a volume is mounted into, or will be.
func (a *Agent) usersOf(volume string) []api.TaskBrief {
	a.mu.Lock()
	tasks := a.set.tasks()
	a.mu.Unlock()
	d := a.cfg.Describe()
	var out []api.TaskBrief
	for _, t := range tasks {
		spec, err := t.Spec.ContainerSpec.Expand(t.Facts(a.cfg.Node, d))
		if err != nil || !slices.ContainsFunc(spec.Mounts, func(m api.Mount) bool { return m.Type == api.MountVolume && m.Source == volume }) {
			continue
		}
		now := *t
		brief := a.brief(t)
		now.Status = brief.Status
		if !now.Over() {
			out = append(out, brief)
		}
	}
	slices.SortFunc(out, func(a, b api.TaskBrief) int { return strings.Compare(string(a.ID), string(b.ID)) })
	return out
}
