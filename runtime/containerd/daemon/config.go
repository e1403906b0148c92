package daemon

import (
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
)

// Plugins of containerd that no task here needs. Those of another version than
// the one that runs are unknown to it, and passed over.
var unused = []string{
	// Kubernetes' ways in.
	"io.containerd.grpc.v1.cri", "io.containerd.cri.v1.images", "io.containerd.cri.v1.runtime",
	"io.containerd.podsandbox.controller.v1.podsandbox", "io.containerd.nri.v1.nri",
	// We restart tasks, and fetch and verify images.
	"io.containerd.internal.v1.restart", "io.containerd.monitor.container.v1.restart",
	"io.containerd.image-verifier.v1.bindir", "io.containerd.internal.v1.opt",
	// All snapshots are overlayfs's.
	"io.containerd.snapshotter.v1.aufs", "io.containerd.snapshotter.v1.blockfile", "io.containerd.snapshotter.v1.btrfs",
	"io.containerd.snapshotter.v1.devmapper", "io.containerd.snapshotter.v1.erofs", "io.containerd.snapshotter.v1.native",
	"io.containerd.snapshotter.v1.zfs", "io.containerd.differ.v1.erofs",
	// Tracing.
	"io.containerd.tracing.processor.v1.otlp", "io.containerd.internal.v1.tracing",
	"io.containerd.ttrpc.v1.otelttrpc",
}

// configuration is the file for a daemon of that major version. Version 2 of
// the format is read by 1.6 and all later ones; 2.x has one of its own.
func (c Config) configuration(major int) string {
	format := 2
	if major >= 2 {
		format = 3
	}
	quoted := make([]string, len(unused))
	for i, id := range unused {
		quoted[i] = strconv.Quote(id)
	}
	return fmt.Sprintf(`# Written by edged each time it starts containerd.
version = %d
root = %q
state = %q
oom_score = -999
disabled_plugins = [%s]

[grpc]
  address = %q

[debug]
  level = "warn"

# A shim that does not answer a containerd that starts within this time (else 5s)
# is taken for dead, and its task is killed. Boards that boot answer late.
[timeouts]
  "io.containerd.timeout.shim.load" = "1m"
  "io.containerd.timeout.task.state" = "10s"
`, format, c.Root, filepath.Join(c.Dir, "state"), strings.Join(quoted, ", "), c.Socket())
}

// majorOf reads what `containerd --version` prints, such as
// "containerd github.com/containerd/containerd 1.6.20~ds1 1.6.20~ds1-1"; 1 if
// it says nothing that can be read.
func majorOf(printed string) int {
	fields := strings.Fields(printed)
	if len(fields) < 3 {
		return 1
	}
	major, _, _ := strings.Cut(strings.TrimPrefix(fields[2], "v"), ".")
	n, err := strconv.Atoi(major)
	if err != nil {
		return 1
	}
	return n
}
