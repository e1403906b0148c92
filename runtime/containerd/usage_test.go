package containerd

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/edgeswarm/edgeswarm/api"
)

// write makes files below a folder.
func write(t *testing.T, dir string, files map[string]string) {
	t.Helper()
	for name, text := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

func TestUsageInBothVersionsOfCgroups(t *testing.T) {
	want := api.Usage{
		CPU: 1500 * time.Millisecond, Memory: 7 << 20, MemoryLimit: 64 << 20, Pids: 3, PidsLimit: 100, BlockRead: 8192 + 512, BlockWritten: 4096,
	}
	v2 := t.TempDir()
	write(t, filepath.Join(v2, "edgeswarm/a.1"), map[string]string{
		"cpu.stat":       "usage_usec 1500000\nuser_usec 1000000\nsystem_usec 500000\n",
		"memory.current": "8388608\n", "memory.stat": "anon 1\ninactive_file 1048576\nactive_file 5\n", "memory.max": "67108864\n",
		"pids.current": "3\n", "pids.max": "100\n",
		"io.stat": "8:0 rbytes=8192 wbytes=4096 rios=2 wios=1 dbytes=0 dios=0\n179:0 rbytes=512 wbytes=0 rios=1 wios=0 dbytes=9 dios=9\n",
	})
	v1 := t.TempDir()
	write(t, v1, map[string]string{
		"cpuacct/edgeswarm/a.1/cpuacct.usage":                           "1500000000\n",
		"memory/edgeswarm/a.1/memory.usage_in_bytes":                    "8388608\n",
		"memory/edgeswarm/a.1/memory.stat":                              "inactive_file 7\ntotal_inactive_file 1048576\n",
		"memory/edgeswarm/a.1/memory.limit_in_bytes":                    "67108864\n",
		"pids/edgeswarm/a.1/pids.current":                               "3\n",
		"pids/edgeswarm/a.1/pids.max":                                   "100\n",
		"blkio/edgeswarm/a.1/blkio.throttle.io_service_bytes_recursive": "8:0 Read 8192\n8:0 Write 4096\n8:0 Total 12288\n179:0 Read 512\nTotal 12800\n",
	})
	for name, c := range map[string]cgroups{"2": {root: v2, v2: true}, "1": {root: v1}} {
		got := c.usage("/edgeswarm/a.1")
		if got.Up <= 0 {
			t.Errorf("version %s: no moment", name)
		}
		got.Up = 0
		if got != want {
			t.Errorf("version %s:\ngot  %+v\nwant %+v", name, got, want)
		}
	}

	write(t, filepath.Join(v2, "edgeswarm/b.1"), map[string]string{"cpu.stat": "usage_usec 1\n", "memory.current": "1", "memory.max": "max\n", "pids.max": "max\n"})
	write(t, v1, map[string]string{"memory/edgeswarm/b.1/memory.usage_in_bytes": "1", "memory/edgeswarm/b.1/memory.limit_in_bytes": "9223372036854771712\n"})
	for name, c := range map[string]cgroups{"2": {root: v2, v2: true}, "1": {root: v1}} {
		if u := c.usage("/edgeswarm/b.1"); u.Memory != 1 || u.MemoryLimit != 0 || u.Pids != -1 || u.PidsLimit != 0 {
			t.Errorf("version %s without limits: %+v", name, u)
		}
		if u := c.usage("/edgeswarm/none"); u.Memory != -1 || u.Pids != -1 {
			t.Errorf("version %s of a kernel that does not count: %+v", name, u)
		}
	}
}

func TestTrafficIsOfTheContainersOwnLinks(t *testing.T) {
	proc := t.TempDir()
	const dev = `Inter-|   Receive                                                |  Transmit
 face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed
    lo:    1000      10    0    0    0     0          0         0     1000      10    0    0    0     0       0          0
  eth0:     500       5    0    0    0     0          0         0       70       1    0    0    0     0       0          0
  eth1:       5       1    0    0    0     0          0         0        7       1    0    0    0     0       0          0
`
	for pid, ns := range map[string]string{"self": "net:[1]", "7": "net:[2]", "8": "net:[1]"} {
		write(t, filepath.Join(proc, pid), map[string]string{"net/dev": dev})
		if err := os.MkdirAll(filepath.Join(proc, pid, "ns"), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(ns, filepath.Join(proc, pid, "ns", "net")); err != nil {
			t.Fatal(err)
		}
	}
	for pid, want := range map[int]string{7: "505 77", 8: "0 0", 9: "0 0"} {
		received, sent := traffic(proc, pid)
		if got := fmt.Sprint(received, " ", sent); got != want {
			t.Errorf("process %s: %s, want %s", strconv.Itoa(pid), got, want)
		}
	}
}
