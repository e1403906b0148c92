package containerd

import (
	"context"
	"fmt"
	"iter"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/edgeswarm/edgeswarm/api"
	"github.com/edgeswarm/edgeswarm/runtime"
)

// Usage implements runtime.Driver. It reads the kernel's files, which costs
// less than asking the daemon for the same.
func (d *Driver) Usage(ctx context.Context, id string) (api.Usage, error) {
	const op = "read usage of container"
	rec, s, err := d.find(ctx, op, id)
	if err != nil {
		return api.Usage{}, err
	}
	if s.State != runtime.Running {
		return api.Usage{}, fmt.Errorf("%s %s: %w", op, id, runtime.ErrNotRunning)
	}
	u := d.cgroups.usage(rec.Labels[labelCgroup])
	u.NetReceived, u.NetSent = traffic("/proc", s.PID)
	return u, nil
}

// usage sums up a group. What the kernel does not count stays as api.Usage says.
func (c cgroups) usage(group string) api.Usage {
	u := api.Usage{Up: sinceBoot(), Memory: -1, Pids: -1}
	if c.v2 {
		c.usageV2(&u, filepath.Join(c.root, group))
		return u
	}
	file := func(controller, name string) string { return filepath.Join(c.root, controller, group, name) }
	if n, ok := number(file("cpuacct", "cpuacct.usage")); ok {
		u.CPU = time.Duration(n)
	}
	if n, ok := number(file("memory", "memory.usage_in_bytes")); ok {
		u.Memory = max(0, n-field(file("memory", "memory.stat"), "total_inactive_file"))
	}
	if n, ok := number(file("memory", "memory.limit_in_bytes")); ok && n < unlimited {
		u.MemoryLimit = n
	}
	countPids(&u, file("pids", ""))
	u.BlockRead, u.BlockWritten = blocksV1(file("blkio", "blkio.throttle.io_service_bytes_recursive"))
	return u
}

// unlimited is about what version 1 says of a group without a memory limit: the
// largest whole page.
const unlimited = 1 << 62

func (c cgroups) usageV2(u *api.Usage, dir string) {
	u.CPU = time.Duration(field(filepath.Join(dir, "cpu.stat"), "usage_usec")) * time.Microsecond
	if n, ok := number(filepath.Join(dir, "memory.current")); ok {
		u.Memory = max(0, n-field(filepath.Join(dir, "memory.stat"), "inactive_file"))
	}
	u.MemoryLimit, _ = number(filepath.Join(dir, "memory.max")) // "max" is none
	countPids(u, dir)
	u.BlockRead, u.BlockWritten = blocksV2(filepath.Join(dir, "io.stat"))
}

// countPids reads files that are the same in both versions.
func countPids(u *api.Usage, dir string) {
	if n, ok := number(filepath.Join(dir, "pids.current")); ok {
		u.Pids = n
	}
	u.PidsLimit, _ = number(filepath.Join(dir, "pids.max"))
}

// blocksV1 sums up lines such as "8:0 Read 4096".
func blocksV1(path string) (read, written int64) {
	for words := range lines(path) {
		if len(words) != 3 {
			continue
		}
		n, _ := strconv.ParseInt(words[2], 10, 64)
		switch words[1] {
		case "Read":
			read += n
		case "Write":
			written += n
		}
	}
	return read, written
}

// blocksV2 sums up lines such as "8:0 rbytes=4096 wbytes=0 rios=1".
func blocksV2(path string) (read, written int64) {
	for words := range lines(path) {
		for _, word := range words {
			key, value, _ := strings.Cut(word, "=")
			n, _ := strconv.ParseInt(value, 10, 64)
			switch key {
			case "rbytes":
				read += n
			case "wbytes":
				written += n
			}
		}
	}
	return read, written
}

// traffic is what went over the links of a process's network, but for the
// loopback. Of one in this process's own network there is nothing to tell.
func traffic(proc string, pid int) (received, sent int64) {
	dir := filepath.Join(proc, strconv.Itoa(pid))
	own, err := os.Readlink(filepath.Join(proc, "self", "ns", "net"))
	theirs, err2 := os.Readlink(filepath.Join(dir, "ns", "net"))
	if err != nil || err2 != nil || own == theirs {
		return 0, 0
	}
	const sentColumn = 9 // of "eth0: bytes packets errs drop fifo frame compressed multicast bytes …"
	for words := range lines(filepath.Join(dir, "net", "dev")) {
		if len(words) <= sentColumn || !strings.HasSuffix(words[0], ":") || words[0] == "lo:" {
			continue
		}
		r, _ := strconv.ParseInt(words[1], 10, 64)
		s, _ := strconv.ParseInt(words[sentColumn], 10, 64)
		received, sent = received+r, sent+s
	}
	return received, sent
}

// lines yields the words of each line of a kernel's file; nothing if it can't
// be read.
func lines(path string) iter.Seq[[]string] {
	return func(yield func([]string) bool) {
		raw, err := os.ReadFile(path)
		if err != nil {
			return
		}
		for line := range strings.Lines(string(raw)) {
			if !yield(strings.Fields(line)) {
				return
			}
		}
	}
}

// number reads a file that holds one.
func number(path string) (n int64, ok bool) {
	raw, err := os.ReadFile(path)
	if err != nil {
		return 0, false
	}
	n, err = strconv.ParseInt(strings.TrimSpace(string(raw)), 10, 64)
	return n, err == nil
}

// field reads a number from a file of lines such as "key 1"; 0 if it isn't there.
func field(path, key string) int64 {
	for words := range lines(path) {
		if len(words) == 2 && words[0] == key {
			n, _ := strconv.ParseInt(words[1], 10, 64)
			return n
		}
	}
	return 0
}

// sinceBoot is the board's time since its start.
func sinceBoot() time.Duration {
	var t unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &t); err != nil {
		return 0 // the kernel always has it
	}
	return time.Duration(t.Nano())
}
