package containerd

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/containerd/containerd/v2/contrib/seccomp"
	"github.com/containerd/containerd/v2/pkg/cap"
	kernelseccomp "github.com/containerd/containerd/v2/pkg/seccomp"
	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/edgeswarm/edgeswarm/api"
	"github.com/edgeswarm/edgeswarm/runtime"
)

// capabilities of a root process, Docker's.
var capabilities = []string{
	"CAP_AUDIT_WRITE", "CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FOWNER", "CAP_FSETID", "CAP_KILL", "CAP_MKNOD",
	"CAP_NET_BIND_SERVICE", "CAP_NET_RAW", "CAP_SETFCAP", "CAP_SETGID", "CAP_SETPCAP", "CAP_SETUID", "CAP_SYS_CHROOT",
}

// What of /proc and /sys tells too much of the board or can harm it; Docker's.
var (
	maskedPaths = []string{
		"/proc/acpi", "/proc/asound", "/proc/interrupts", "/proc/kcore", "/proc/keys", "/proc/latency_stats",
		"/proc/sched_debug", "/proc/scsi", "/proc/timer_list", "/proc/timer_stats", "/sys/devices/virtual/powercap", "/sys/firmware",
	}
	readonlyPaths = []string{"/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"}
)

// capabilitiesOf are those that a container's root has. Dropping ALL leaves
// what is added, and adding ALL is all but what is dropped, as in Docker; all
// are those that this process has.
func capabilitiesOf(o api.ContainerOptions) ([]string, error) {
	all, err := cap.Current()
	if err != nil {
		return nil, fmt.Errorf("read own capabilities: %w", err)
	}
	var set []string
	switch {
	case o.Privileged:
		return all, nil
	case slices.Contains(o.CapabilityAdd, api.AllCapabilities):
		set = without(all, o.CapabilityDrop)
	case slices.Contains(o.CapabilityDrop, api.AllCapabilities):
		set = slices.Clone(o.CapabilityAdd)
	default:
		set = append(without(capabilities, o.CapabilityDrop), o.CapabilityAdd...)
	}
	slices.Sort(set)
	return slices.Compact(set), nil
}

func without(list, dropped []string) []string {
	return slices.DeleteFunc(slices.Clone(list), func(c string) bool { return slices.Contains(dropped, c) })
}

// runAs sets the process's user. A user other than root has no capability at
// hand, but a set-user-ID program may regain the bounded ones, as after execve.
func runAs(p *specs.Process, u specs.User, bounding []string) {
	p.User = u
	p.Capabilities = &specs.LinuxCapabilities{Bounding: slices.Clone(bounding)}
	if u.UID == 0 {
		p.Capabilities.Permitted, p.Capabilities.Effective = slices.Clone(bounding), slices.Clone(bounding)
	}
}

// confine adds what keeps the process in, or lets it out; the user and its
// capabilities come first, for the filter on system calls rests on them.
func (d *Driver) confine(s *specs.Spec, c runtime.Container) error {
	devices, rules, err := containerDevices(c)
	if err != nil {
		return err
	}
	s.Linux.Devices = devices
	s.Linux.Resources.Devices = append(s.Linux.Resources.Devices, rules...)
	if c.Spec.OomScoreAdj != 0 {
		adj := int(c.Spec.OomScoreAdj)
		s.Process.OOMScoreAdj = &adj
	}
	if c.NetNS != "" {
		// A namespace of its own has no ports to keep from others, as in Docker.
		s.Linux.Sysctl = map[string]string{"net.ipv4.ip_unprivileged_port_start": "0", "net.ipv4.ping_group_range": "0 2147483647"}
	}
	for name, value := range c.Spec.Sysctls {
		if s.Linux.Sysctl == nil {
			s.Linux.Sysctl = map[string]string{}
		}
		s.Linux.Sysctl[name] = value
	}
	if c.Spec.Privileged {
		return nil
	}
	s.Linux.MaskedPaths, s.Linux.ReadonlyPaths = slices.Clone(maskedPaths), slices.Clone(readonlyPaths)
	if kernelseccomp.IsEnabled() {
		s.Linux.Seccomp = seccomp.DefaultProfile(s)
	}
	return nil
}

// rlimits are the container's over the driver's own.
func (d *Driver) rlimits(limits []api.Ulimit) []specs.POSIXRlimit {
	all := []specs.POSIXRlimit{{Type: "RLIMIT_NOFILE", Soft: min(softFiles, d.maxFiles), Hard: d.maxFiles}}
	for _, u := range limits {
		l := specs.POSIXRlimit{Type: "RLIMIT_" + strings.ToUpper(u.Name), Soft: bound(u.Soft), Hard: bound(u.Hard)}
		if l.Type == all[0].Type {
			all[0] = l
		} else {
			all = append(all, l)
		}
	}
	return all
}

// bound is a resource limit as the kernel has it: all ones is none.
func bound(n int64) uint64 {
	if n < 0 {
		return math.MaxUint64
	}
	return uint64(n)
}

// initTarget is where a container sees the program that reaps for it: on a
// tmpfs, so that the image needs no place for it and may be read-only.
const initTarget = "/dev/init"

// withInit puts the reaping program before the command, if that is wished.
func (d *Driver) withInit(s *specs.Spec, c runtime.Container) error {
	if c.Spec.Init == nil || !*c.Spec.Init {
		return nil
	}
	if len(d.cfg.Init) == 0 {
		return invalid("this board has no init program to put before the command")
	}
	s.Mounts = append(s.Mounts, specs.Mount{Destination: initTarget, Type: "bind", Source: d.cfg.Init[0], Options: []string{"bind", "rprivate", "ro"}})
	s.Process.Args = slices.Concat([]string{initTarget}, d.cfg.Init[1:], []string{"--"}, s.Process.Args)
	return nil
}
