package qemutests

import (
	"fmt"
	"strings"
	"testing"

	"github.com/edgeswarm/edgeswarm/internal/steer"
	"github.com/edgeswarm/edgeswarm/qemu-tests/board"
)

// TestLimits looks at what cgroup v2 makes of a task's limits, and at what is said of
// them: a lab's boards have the cgroups of the machine that tests them.
func TestLimits(t *testing.T) {
	f := newFleet(t)
	asked := f.plug(board.Virt, f.card(board.Virt))
	f.power(asked)
	f.up(asked)
	f.whole(booting, asked)
	f.busybox(asked)
	f.must(asked, "service", "create", "--detach", "--name", "capped", "--limit-memory", "32m", "--limit-cpu", "0.25", "--limit-pids", "20", "busybox:1")
	f.must(asked, "service", "create", "--detach", "--name", "hungry", "--restart-condition", "none", "--limit-memory", "16m", "busybox:1",
		"dd", "if=/dev/zero", "of=/dev/null", "bs=256M", "count=1")
	at := f.at(f.runs(asked, "capped", 1)[0])
	got := f.shell(at, `for p in $(pidof sleep); do
	g=/sys/fs/cgroup$(grep ^0:: /proc/$p/cgroup | cut -d: -f3); case $g in *edgeswarm*) cat $g/memory.max $g/cpu.max $g/pids.max;; esac; done`)
	if want := "33554432\n25000 100000\n20"; got != want {
		f.t.Errorf("the limits of a task are %q, want %q", got, want)
	}
	f.until("what the task takes is known", soon, func() error {
		s := f.edgectl(asked).Try(nil, "task", "stats", "--no-stream", "--format", "{{.Name}} {{.MemUsage}} {{.PIDs}}", "capped")
		if err := accepted(s); err != nil {
			return err
		}
		if !strings.HasPrefix(s.Out, "capped.1 ") || !strings.Contains(s.Out, "/ 32MiB") || !strings.HasSuffix(s.Out, " 1\n") {
			return fmt.Errorf("it says %q %s", s.Out, s.Err)
		}
		return nil
	})
	f.until("its end is named", patient, func() error {
		tasks, err := f.edgectl(asked).Tasks("hungry")
		if err == nil && (len(tasks) == 0 || tasks[0].Error != "killed: out of memory, at its limit of 16 MiB") {
			err = fmt.Errorf("it says%s", steer.Table(tasks))
		}
		return err
	})
	f.must(asked, "service", "rm", "capped", "hungry")
}
