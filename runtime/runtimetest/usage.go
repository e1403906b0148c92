package runtimetest

import (
	"fmt"

	"github.com/edgeswarm/edgeswarm/api"
	"github.com/edgeswarm/edgeswarm/runtime"
)

// testUsage: only what runs uses anything, and sums only grow.
func testUsage(b *board) {
	usage := func(c runtime.Container) (api.Usage, error) { return b.Driver.Usage(b.context(), c.ID) }
	c := b.container("wait")
	c.Limits.MemoryBytes = 64 << 20
	_, err := usage(c)
	b.wantErr("usage of an unknown container", err, runtime.ErrNotFound)
	b.prepare(c)
	_, err = usage(c)
	b.wantErr("usage of a container that was not started", err, runtime.ErrNotRunning)
	b.start(c)
	before, err := usage(c)
	if err != nil {
		b.Fatal(err)
	}
	if before.Memory <= 0 || before.Memory > 64<<20 || before.MemoryLimit != 64<<20 || before.Pids < 1 {
		b.Errorf("usage %+v", before)
	}
	b.eventually("a later moment", func() error {
		after, err := usage(c)
		if err == nil && (after.Up <= before.Up || after.CPU <= before.CPU) {
			err = fmt.Errorf("usage %+v after %+v", after, before)
		}
		return err
	})

	b.Interrupt()
	_, err = usage(c)
	b.wantErr("usage without a runtime", err, runtime.ErrUnavailable)
	b.Restore()
	b.eventually("info", func() error {
		_, err := b.Driver.Info(b.context())
		return err
	})
	if err := b.Driver.Stop(b.context(), c.ID, "", patience); err != nil {
		b.Fatal(err)
	}
	_, err = usage(c)
	b.wantErr("usage of a container that has ended", err, runtime.ErrNotRunning)
}

// testUsageIsReal: who works hard is seen to, and so is who holds much memory.
func testUsageIsReal(b *board) {
	script := b.script(`sleep 100 & sleep 100 & while :; do :; done`, func(c *runtime.Container) { c.Limits.Pids = 33 })
	b.prepare(script)
	b.start(script)
	var before api.Usage
	b.eventually("three processes", func() error {
		u, err := b.Driver.Usage(b.context(), script.ID)
		if err == nil && (u.Pids != 3 || u.PidsLimit != 33 || u.MemoryLimit != 0) {
			err = fmt.Errorf("usage %+v", u)
		}
		before = u
		return err
	})
	b.eventually("it is busy", func() error {
		after, err := b.Driver.Usage(b.context(), script.ID)
		if err != nil {
			return err
		}
		// Much else may run on this machine, but not faster than time goes by.
		if percent, known := api.CPUPercent(before, after); !known || percent < 2 || percent > 110 {
			return fmt.Errorf("%v %% of a core, %v", percent, known)
		}
		return nil
	})

	idle := b.script("sleep 100", nil)
	b.prepare(idle)
	b.start(idle)
	grown := b.script("dd if=/dev/zero of=/tmp/held bs=1M count=24 2>/dev/null; sleep 100", func(c *runtime.Container) {
		c.Mounts = []api.Mount{{Type: api.MountTmpfs, Target: "/tmp"}}
	})
	b.prepare(grown)
	b.start(grown)
	b.eventually("24 MiB are seen", func() error {
		small, err := b.Driver.Usage(b.context(), idle.ID)
		if err != nil {
			return err
		}
		large, err := b.Driver.Usage(b.context(), grown.ID)
		if err == nil && (large.Memory < 24<<20 || small.Memory > 8<<20) {
			err = fmt.Errorf("%d and %d bytes", large.Memory, small.Memory)
		}
		return err
	})
}
