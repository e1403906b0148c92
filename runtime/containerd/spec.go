package containerd

import (
	"errors"
	"math"
	"path"
	"slices"
	"strings"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/edgeswarm/edgeswarm/api"
	"github.com/edgeswarm/edgeswarm/runtime"
)

// specVersion is the newest that every runc on a supported board knows.
const specVersion = "1.0.2"

// Open files of a process: systemd's limits, as in Docker. The soft one is few
// enough for programs that close every number there could be, and a program
// may ask for more, up to the hard one.
const (
	softFiles = 1024
	hardFiles = 524288
)

// openFiles is the hard limit, but no more than this process has itself: where
// root may not raise it, runc may not either.
func openFiles() uint64 {
	var own unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &own); err != nil {
		return hardFiles
	}
	return min(hardFiles, own.Max)
}

const defaultPath = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// spec writes the OCI specification of a container.
func (d *Driver) spec(c runtime.Container, image ocispec.ImageConfig, id identity) (*specs.Spec, error) {
	args, err := arguments(c.Spec, image)
	if err != nil {
		return nil, err
	}
	mounts, err := d.mounts(c)
	if err != nil {
		return nil, err
	}
	bounding, err := capabilitiesOf(c.Spec.ContainerOptions)
	if err != nil {
		return nil, err
	}
	dir := firstOf(c.Spec.Dir, image.WorkingDir, "/")
	if !path.IsAbs(dir) {
		return nil, invalid("working directory %q is not an absolute path", dir)
	}
	s := &specs.Spec{
		Version:  specVersion,
		Root:     &specs.Root{Path: "rootfs", Readonly: c.Spec.ReadOnly},
		Hostname: c.Hostname,
		Process: &specs.Process{
			Args: args, Cwd: path.Clean(dir), Env: environment(c, image, id.home),
			Rlimits: d.rlimits(c.Spec.Ulimits), Terminal: c.Spec.TTY,
		},
		Mounts: mounts,
		Linux: &specs.Linux{
			CgroupsPath: d.cgroupPath(c), Resources: d.resources(c), Namespaces: d.namespaces(c),
		},
	}
	runAs(s.Process, id.user, bounding)
	return s, errors.Join(d.withInit(s, c), d.confine(s, c))
}

// arguments puts command line together as Docker does: a command of the
// container's own discards the image's arguments too.
func arguments(c api.ContainerSpec, image ocispec.ImageConfig) ([]string, error) {
	command, args := c.Command, c.Args
	if len(command) == 0 {
		command = image.Entrypoint
		if len(args) == 0 {
			args = image.Cmd
		}
	}
	all := slices.Concat(command, args)
	if len(all) == 0 || all[0] == "" {
		return nil, invalid("neither the image nor the service says which command to run")
	}
	return all, nil
}

// environment is the image's under the container's own, which may also unset:
// a name without "=" takes a variable away.
func environment(c runtime.Container, image ocispec.ImageConfig, home string) []string {
	env := []string{defaultPath}
	if c.Hostname != "" {
		env = append(env, "HOSTNAME="+c.Hostname)
	}
	if home != "" {
		env = append(env, "HOME="+home)
	}
	if c.Spec.TTY {
		env = append(env, "TERM=xterm")
	}
	return overlayEnv(env, image.Env, c.Spec.Env)
}

func overlayEnv(env []string, layers ...[]string) []string {
	env = slices.Clone(env)
	for _, entry := range slices.Concat(layers...) {
		name, _, assigns := strings.Cut(entry, "=")
		at := slices.IndexFunc(env, func(e string) bool { return strings.HasPrefix(e, name+"=") })
		switch {
		case !assigns && at >= 0:
			env = slices.Delete(env, at, at+1)
		case assigns && at >= 0:
			env[at] = entry
		case assigns:
			env = append(env, entry)
		}
	}
	return env
}

func (d *Driver) namespaces(c runtime.Container) []specs.LinuxNamespace {
	all := []specs.LinuxNamespace{
		{Type: specs.IPCNamespace}, {Type: specs.UTSNamespace}, {Type: specs.MountNamespace},
	}
	if c.Spec.PidMode != api.PidHost {
		all = append(all, specs.LinuxNamespace{Type: specs.PIDNamespace})
	}
	if c.NetNS != "" {
		all = append(all, specs.LinuxNamespace{Type: specs.NetworkNamespace, Path: c.NetNS})
	}
	if d.cgroups.v2 { // as in Docker: version 1 shares the board's
		all = append(all, specs.LinuxNamespace{Type: specs.CgroupNamespace})
	}
	return all
}

func (d *Driver) cgroupPath(c runtime.Container) string {
	return path.Join("/", firstOf(c.CgroupParent, d.cfg.CgroupRoot), c.ID)
}

// cpuPeriod in microseconds: the kernel's default.
const cpuPeriod = 100_000

// resources limits what the kernel can limit. What it can't is left out, as
// Docker does: a task without its limit is worth more than none.
func (d *Driver) resources(c runtime.Container) *specs.LinuxResources {
	r := &specs.LinuxResources{Devices: []specs.LinuxDeviceCgroup{{Allow: false, Access: "rwm"}}}
	discard := func(what string) {
		d.log.Warn("limit discarded: the kernel has no such controller", "limit", what, "task", c.Task)
	}
	if n := c.Limits.MemoryBytes; n > 0 {
		if d.cgroups.has("memory") {
			r.Memory = &specs.LinuxMemory{Limit: &n}
			if d.cgroups.limitsSwap() {
				r.Memory.Swap = memoryAndSwap(n, c.SwapBytes)
			}
		} else {
			discard("memory")
		}
	}
	if n := c.Limits.NanoCPUs; n > 0 {
		if d.cgroups.has("cpu") {
			period, quota := uint64(cpuPeriod), max(n*cpuPeriod/1e9, 1000) // the kernel takes no less
			r.CPU = &specs.LinuxCPU{Period: &period, Quota: &quota}
		} else {
			discard("cpu")
		}
	}
	n := d.cfg.PidsLimit
	if c.Limits.Pids > 0 {
		n = c.Limits.Pids
	}
	if n > 0 && d.cgroups.has("pids") {
		r.Pids = &specs.LinuxPids{Limit: &n}
	}
	return r
}

// memoryAndSwap is the bound on both together: unless told otherwise, none of
// it is swap.
func memoryAndSwap(memory int64, swap *int64) *int64 {
	switch {
	case swap == nil:
		return &memory
	case *swap < 0 || *swap > math.MaxInt64-memory:
		unbounded := int64(-1)
		return &unbounded
	default:
		sum := memory + *swap
		return &sum
	}
}

func firstOf(values ...string) string {
	for _, v := range values {
		if v != "" {
			return v
		}
	}
	return ""
}
