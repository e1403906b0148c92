package agent

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/edgeswarm/edgeswarm/api"
	"github.com/edgeswarm/edgeswarm/runtime"
)

// Labels that every container of a task has, beside the user's.
const (
	LabelNode    = "edgeswarm.node.id"
	LabelService = "edgeswarm.service.id"
	LabelName    = "edgeswarm.service.name"
	LabelTask    = "edgeswarm.task.id"
)

// container decides all of a task's next container but where its output goes.
// Its spec has no templates left. An error wraps runtime.ErrInvalid if no other
// try will cure it.
func (w *worker) container(spec api.ContainerSpec, image api.ImageID, at Attachment) (runtime.Container, error) {
	c := runtime.Container{
		ID: runtime.ContainerID(w.id, w.rec.Attempt), Task: w.id, Attempt: w.rec.Attempt,
		Image: image, Spec: spec, Hostname: spec.Hostname,
		Limits: w.limits(), NetNS: at.NetNS, CgroupParent: w.a.cfg.CgroupParent,
		Labels: map[string]string{},
	}
	c.Spec.Env = slices.Concat(spec.Env, api.GenericEnv(w.task.GenericResources))
	if c.Hostname == "" {
		c.Hostname = api.ShortID(w.id)
	}
	for k, v := range spec.Labels {
		c.Labels[k] = v
	}
	c.Labels[LabelNode], c.Labels[LabelTask] = string(w.a.cfg.Node), string(w.id)
	c.Labels[LabelService], c.Labels[LabelName] = string(w.task.ServiceID), w.task.ServiceName

	if r := w.task.Spec.Resources; r != nil {
		c.SwapBytes = r.SwapBytes
	}
	var err error
	if c.Devices, err = w.devices(spec.Devices); err != nil {
		return runtime.Container{}, err
	}
	taken := map[string]bool{}
	for _, m := range spec.Mounts {
		if m.Type == api.MountVolume {
			dir, err := w.volume(m.Source)
			if err != nil {
				return runtime.Container{}, err
			}
			m.Type, m.Source = api.MountBind, dir
		}
		taken[filepath.Clean(m.Target)] = true
		c.Mounts = append(c.Mounts, m)
	}
	for _, own := range []struct{ source, target string }{
		{at.ResolvConf, "/etc/resolv.conf"}, {at.Hosts, "/etc/hosts"}, {at.HostnameFile, "/etc/hostname"},
	} {
		if own.source != "" && !taken[own.target] {
			c.Mounts = append(c.Mounts, api.Mount{Type: api.MountBind, Source: own.source, Target: own.target})
		}
	}
	return c, nil
}

// expanded is the task with the templates of its spec filled in, by what is
// known of this board now.
func (w *worker) expanded() (*api.Task, error) {
	spec, err := w.task.Spec.ContainerSpec.Expand(w.task.Facts(w.a.cfg.Node, w.a.cfg.Describe()))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", runtime.ErrInvalid, err)
	}
	t := *w.task
	t.Spec.ContainerSpec = spec
	return &t, nil
}

// devices names all by path: those of a class are what the board has of it now.
func (w *worker) devices(wanted []api.Device) ([]api.Device, error) {
	var named []api.Device
	for _, d := range wanted {
		if d.Class == "" {
			named = append(named, d)
			continue
		}
		paths, err := w.a.cfg.Devices(d.Class)
		if err != nil {
			return nil, err
		}
		if len(paths) == 0 {
			return nil, fmt.Errorf("%w: this board has no %s device", runtime.ErrInvalid, d.Class)
		}
		for _, path := range paths {
			named = append(named, api.Device{PathOnHost: path, PathInContainer: path, CgroupPermissions: d.CgroupPermissions})
		}
	}
	return named, nil
}

func (w *worker) limits() api.Resources {
	if r := w.task.Spec.Resources; r != nil && r.Limits != nil {
		return *r.Limits
	}
	return api.Resources{}
}

// volume finds or makes the folder of a named volume; a volume without a name
// is the task's own, and goes with it.
func (w *worker) volume(name string) (string, error) {
	if name != "" {
		return w.a.volumes.use(name)
	}
	dir := filepath.Join(w.a.cfg.VolumesDir, w.scratch())
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", fmt.Errorf("make volume: %w", err)
	}
	return dir, nil
}

func (w *worker) scratch() string { return ".task-" + string(w.id) }

func (w *worker) removeScratch() error {
	return os.RemoveAll(filepath.Join(w.a.cfg.VolumesDir, w.scratch()))
}
