package containerd

import (
	"cmp"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/edgeswarm/edgeswarm/api"
	"github.com/edgeswarm/edgeswarm/runtime"
)

// systemMounts are what every container sees, as in Docker.
func systemMounts(o api.ContainerOptions) []specs.Mount {
	shm := o.ShmSize
	if shm == 0 {
		shm = api.DefaultShmSize
	}
	shmSize := "size=" + strconv.FormatInt(shm, 10)
	access := "ro"
	if o.Privileged {
		access = "rw"
	}
	return []specs.Mount{
		{Destination: "/proc", Type: "proc", Source: "proc", Options: []string{"nosuid", "noexec", "nodev"}},
		{Destination: "/dev", Type: "tmpfs", Source: "tmpfs", Options: []string{"nosuid", "strictatime", "mode=755", "size=65536k"}},
		{Destination: "/dev/pts", Type: "devpts", Source: "devpts", Options: []string{"nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"}},
		{Destination: "/dev/shm", Type: "tmpfs", Source: "shm", Options: []string{"nosuid", "noexec", "nodev", "mode=1777", shmSize}},
		{Destination: "/dev/mqueue", Type: "mqueue", Source: "mqueue", Options: []string{"nosuid", "noexec", "nodev"}},
		{Destination: "/sys", Type: "sysfs", Source: "sysfs", Options: []string{"nosuid", "noexec", "nodev", access}},
		{Destination: "/sys/fs/cgroup", Type: "cgroup", Source: "cgroup", Options: []string{"nosuid", "noexec", "nodev", access}},
	}
}

// mounts renders the container's mounts over the system's, outer ones first,
// so that one does not hide another.
func (d *Driver) mounts(c runtime.Container) ([]specs.Mount, error) {
	own := make([]specs.Mount, 0, len(c.Mounts))
	for _, m := range c.Mounts {
		if !path.IsAbs(m.Target) || path.Clean(m.Target) == "/" {
			return nil, invalid("mount target %q is not an absolute path below /", m.Target)
		}
		made, err := mountOf(m)
		if err != nil {
			return nil, err
		}
		own = append(own, made)
	}
	slices.SortStableFunc(own, func(a, b specs.Mount) int {
		return cmp.Compare(strings.Count(a.Destination, "/"), strings.Count(b.Destination, "/"))
	})
	system := slices.DeleteFunc(systemMounts(c.Spec.ContainerOptions), func(m specs.Mount) bool {
		return slices.ContainsFunc(own, func(o specs.Mount) bool { return o.Destination == m.Destination })
	})
	return append(system, own...), nil
}

func mountOf(m api.Mount) (specs.Mount, error) {
	target := path.Clean(m.Target)
	switch m.Type {
	case api.MountBind:
		if !path.IsAbs(m.Source) {
			return specs.Mount{}, invalid("mount source %q is not an absolute path", m.Source)
		}
		if _, err := os.Stat(m.Source); err != nil {
			return specs.Mount{}, invalid("mount source %s is not on this board: %v", m.Source, err)
		}
		options := []string{"rbind", "rprivate"}
		if m.ReadOnly {
			options = append(options, "ro")
		}
		return specs.Mount{Destination: target, Type: "bind", Source: m.Source, Options: options}, nil
	case api.MountTmpfs:
		options := []string{"nosuid", "noexec", "nodev"}
		mode := uint32(0o1777)
		if o := m.TmpfsOptions; o != nil {
			if o.Mode != 0 {
				mode = o.Mode
			}
			if o.SizeBytes > 0 {
				options = append(options, "size="+strconv.FormatInt(o.SizeBytes, 10))
			}
		}
		if m.ReadOnly {
			options = append(options, "ro")
		}
		options = append(options, "mode="+strconv.FormatUint(uint64(mode), 8))
		return specs.Mount{Destination: target, Type: "tmpfs", Source: "tmpfs", Options: options}, nil
	default:
		return specs.Mount{}, invalid("mount %s: type %q is not for a container", m.Target, m.Type)
	}
}
