package qemutests

import (
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/edgeswarm/edgeswarm/qemu-tests/board"
)

const (
	// rest is how long a board is left alone before its memory is looked at:
	// edged trims itself 30 s after its start.
	rest = 90 * time.Second
	// headroom is what a board is to have left for caches, in kB: with less, it
	// reads its programs from the card again and again.
	headroom = 64 << 10
	step     = 5 // tasks more at a time
)

// TestMemory says what a board of 512 MB has its memory for, and how many
// sleeping tasks fit. Its lines are those of docs/benchmarks.md.
func TestMemory(t *testing.T) {
	f := newFleet(t)
	b := f.plug(board.Virt, f.card(board.Virt))
	f.power(b)
	f.up(b)
	f.whole(booting, b)
	time.Sleep(rest)
	t.Logf("idle: %s", f.memory(b))
	f.busybox(b)
	f.must(b, "service", "create", "--detach", "--name", "idle", "--replicas", "1", "busybox:1")
	f.runs(b, "idle", 1)
	tasks := 1
	for ; f.available(b) > headroom; tasks += step {
		f.must(b, "service", "scale", "--detach", fmt.Sprintf("idle=%d", tasks+step))
		f.runs(b, "idle", tasks+step)
		t.Logf("%d tasks: %d kB available", tasks+step, f.available(b))
	}
	time.Sleep(rest)
	t.Logf("%d sleeping tasks: %s", tasks, f.memory(b))
	if tasks < 10 {
		t.Errorf("only %d sleeping tasks fit", tasks)
	}
}

// available is what the kernel says a board could still give to programs, in kB.
func (f *fleet) available(b *member) int {
	f.t.Helper()
	kb, err := strconv.Atoi(f.shell(b, "awk '$1 == \"MemAvailable:\" { print $2 }' /proc/meminfo"))
	f.do(err)
	return kb
}

// memory is the resident memory of a board's programs, and its proportional
// share where pages are shared, by name.
func (f *fleet) memory(b *member) string {
	f.t.Helper()
	return strings.ReplaceAll(f.shell(b, `
for p in /proc/[0-9]*; do
	read name <$p/comm && [ -r $p/smaps_rollup ] && awk -v name="$name" '
		$1 == "Rss:" { rss = $2 } $1 == "Pss:" { pss = $2 } END { if (rss) print name, rss, pss }' $p/smaps_rollup
done 2>/dev/null | awk '
	{ n[$1]++; rss[$1] += $2; pss[$1] += $3 }
	END { for (name in n) if (rss[name] > 1500) printf "%s x%d: RSS %.1f MB, PSS %.1f MB\n", name, n[name], rss[name] / 1024, pss[name] / 1024 }' | sort
awk '$1 ~ /^(MemTotal|MemAvailable|Shmem|Slab):$/ { printf "%s %.1f MB\n", $1, $2 / 1024 }' /proc/meminfo`), "\n", "; ")
}
