// Package doctor judges whether a board can do its part in a fleet, from facts
// that package host gathers: what is well, what is amiss, why that matters and
// how to mend it, to the line to write.
//
// It is pure: it looks at nothing and changes nothing.
package doctor

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/edgeswarm/edgeswarm/api"
	"github.com/edgeswarm/edgeswarm/internal/host"
)

// Names of checks that depend on what comes about only after a board has
// started: the board's own log leaves them out.
const (
	CheckContainerd = "containerd"
	CheckClock      = "clock"
)

// Examine judges a board. The time of build is the earliest that it can be.
func Examine(f host.Facts, build time.Time) []api.Finding {
	var all []api.Finding
	for _, part := range [][]api.Finding{
		memoryCgroup(f), otherCgroups(f.Cgroup), kernel(f.Kernel), containerd(f), {dataPath(f)},
		{clock(f.Clock, f.System, build)}, disk(f.Disk, f.System), swap(f.Disk), power(f.Power), network(f.Network),
	} {
		all = append(all, part...)
	}
	return all
}

func ok(check, format string, args ...any) api.Finding {
	return api.Finding{Check: check, Level: api.FindingOK, What: fmt.Sprintf(format, args...)}
}

func warning(check, what, why, mend string) api.Finding {
	return api.Finding{Check: check, Level: api.FindingWarning, What: what, Why: why, Mend: mend}
}

func bad(check, what, why, mend string) api.Finding {
	return api.Finding{Check: check, Level: api.FindingBad, What: what, Why: why, Mend: mend}
}

func memoryCgroup(f host.Facts) []api.Finding {
	const check, why = "memory limits", "a task's memory limit is not kept, and one that runs wild takes the board with it"
	c := f.Cgroup
	switch {
	case c.Version == 0:
		return []api.Finding{bad(check, "no control groups are mounted", "no task can run", "mount them: mount -t cgroup2 none /sys/fs/cgroup")}
	case slices.Contains(c.Controllers, "memory"):
		return []api.Finding{ok(check, "control groups version %d limit memory", c.Version)}
	case slices.Contains(strings.Fields(c.CommandLine), "cgroup_enable=memory"):
		return []api.Finding{bad(check, "the kernel does not limit memory, though its command line asks for it", why,
			"use a kernel of your distribution, such as Debian's; in a kernel of your own, set CONFIG_MEMCG=y")}
	case c.CommandLineFile == "" && !strings.HasPrefix(f.Model, "Raspberry Pi"):
		return []api.Finding{bad(check, "the kernel does not limit memory", why,
			`add cgroup_enable=memory to GRUB_CMDLINE_LINUX in /etc/default/grub (or to your boot loader's kernel command line), run update-grub, and reboot`)}
	default:
		file := c.CommandLineFile
		if file == "" {
			file = "/boot/firmware/cmdline.txt"
		}
		return []api.Finding{bad(check, "the kernel does not limit memory: Raspberry Pi OS turns that off", why,
			fmt.Sprintf("add to the end of the one line in %s: cgroup_enable=memory cgroup_memory=1 — with `sed -i '1s/$/ cgroup_enable=memory cgroup_memory=1/' %s` — and reboot", file, file))}
	}
}

func otherCgroups(c host.CgroupFacts) (all []api.Finding) {
	for _, need := range []struct{ controller, check, why string }{
		{"cpu", "CPU limits", "a task's CPU limit and reservation are not kept"},
		{"pids", "process limits", "a fork bomb is not kept inside its task"},
	} {
		if c.Version == 0 || slices.Contains(c.Controllers, need.controller) {
			continue
		}
		all = append(all, warning(need.check, fmt.Sprintf("the kernel has no %s control group", need.controller), need.why,
			"use a kernel of your distribution, such as Debian's; in a kernel of your own, set CONFIG_CGROUP_"+map[string]string{"cpu": "SCHED", "pids": "PIDS"}[need.controller]+"=y"))
	}
	return all
}

// kernel judges what tasks can't do without; networks are dataPath's.
func kernel(k host.KernelFacts) (all []api.Finding) {
	for _, need := range []struct {
		check  string
		has    host.Answer
		module string
		why    string
	}{
		{"overlayfs", k.Overlayfs, "overlay", "containerd can't make a task's file system, so no task can run"},
		{"nftables", k.Nftables, "nf_tables", "tasks reach no network, and no port can be published"},
	} {
		switch need.has {
		case host.Yes:
			all = append(all, ok(need.check, "the kernel has it"))
		case host.No:
			all = append(all, bad(need.check, fmt.Sprintf("kernel %s has no %s", k.Release, need.check), need.why,
				fmt.Sprintf("try `modprobe %s`; after an upgrade of the kernel, reboot: the modules of the one that runs may be gone", need.module)))
		}
	}
	return all
}

func containerd(f host.Facts) (all []api.Finding) {
	r := f.Runtime
	keeper := "the system's"
	if r.Managed {
		keeper = "kept by edged"
	}
	switch {
	case r.Error != "" && r.Managed:
		all = append(all, bad(CheckContainerd, r.Error, "no task can be started on this board", "see containerd's own words: `journalctl -u edged-containerd`, or the file log in /run/edgeswarm/containerd"))
	case r.Error != "":
		all = append(all, bad(CheckContainerd, r.Error, "no task can be started on this board",
			"start it: `systemctl start containerd`; or let edged keep one: write `containerd: managed` to /etc/edgeswarm/edge.yaml and reboot"))
	case r.Name != "":
		all = append(all, ok(CheckContainerd, "%s, %s", r.Name, keeper))
	}
	if f.Runtime.Runc == host.No {
		all = append(all, bad("runc", "neither runc nor crun is installed", "containerd can't start any container", "install one: `apt-get install runc`"))
	}
	return all
}

// dataPath says how networks between boards will reach this one.
func dataPath(f host.Facts) api.Finding {
	const check, why = "mesh networks", "networks between boards go through WireGuard"
	const mend = "install your distribution's kernel, which has it as a module, and try `modprobe wireguard`"
	switch k := f.Kernel; {
	case k.WireGuard == host.Yes:
		return ok(check, "through the kernel's WireGuard")
	case k.TUN == host.Yes && f.Memory >= host.WireGuardMemory:
		return warning(check, "through WireGuard in a process of its own: the kernel has none", "it takes more memory, and is slower than the kernel's", mend)
	case k.TUN == host.Yes && k.VXLAN == host.Yes:
		return warning(check, fmt.Sprintf("VXLAN only, in plain and when asked for: the kernel has no WireGuard, and %d MiB of memory are too few for one outside of it", f.Memory>>20), why, mend)
	case k.VXLAN == host.Yes:
		return warning(check, "VXLAN only, in plain and when asked for: the kernel has neither WireGuard nor TUN", why, mend+"; or `modprobe tun`")
	case k.WireGuard == host.Unknown:
		return ok(check, "not known: only root can ask the kernel")
	default:
		return warning(check, "none: the kernel has neither WireGuard nor TUN nor VXLAN", why+"; tasks here can only publish ports of this board", mend)
	}
}
