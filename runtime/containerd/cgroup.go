package containerd

import (
	"bufio"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// cgroups is the board's control group hierarchy: one tree on version 2, a
// tree for each controller on version 1 and the hybrid of both.
type cgroups struct {
	root string
	v2   bool
}

func mountedCgroups() cgroups {
	const root = "/sys/fs/cgroup"
	var fs unix.Statfs_t
	err := unix.Statfs(root, &fs)
	return cgroups{root: root, v2: err == nil && fs.Type == unix.CGROUP2_SUPER_MAGIC}
}

// has reports whether the kernel can limit by the controller. A Raspberry Pi
// boots without "memory" unless its command line asks for it.
func (c cgroups) has(controller string) bool {
	if !c.v2 {
		_, err := os.Stat(filepath.Join(c.root, controller))
		return err == nil
	}
	list, err := os.ReadFile(filepath.Join(c.root, "cgroup.controllers"))
	return err == nil && slices.Contains(strings.Fields(string(list)), controller)
}

// limitsSwap reports whether memory and swap can be limited together.
func (c cgroups) limitsSwap() bool {
	if c.v2 {
		return true // runc passes over a missing memory.swap.max
	}
	_, err := os.Stat(filepath.Join(c.root, "memory", "memory.memsw.limit_in_bytes"))
	return err == nil
}

// oomKilled reports whether the kernel killed a process of the group for want
// of memory. The group outlives its processes until the task is deleted, so
// this can be asked late, and by another process than the one that started it.
func (c cgroups) oomKilled(group string) bool {
	path := filepath.Join(c.root, group, "memory.events")
	if !c.v2 {
		path = filepath.Join(c.root, "memory", group, "memory.oom_control")
	}
	f, err := os.Open(path)
	if err != nil {
		return false
	}
	defer f.Close()
	for scan := bufio.NewScanner(f); scan.Scan(); {
		key, value, _ := strings.Cut(scan.Text(), " ")
		if n, err := strconv.ParseUint(value, 10, 64); key == "oom_kill" && err == nil {
			return n > 0
		}
	}
	return false
}
