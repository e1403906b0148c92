package runtimetest

import (
	"context"
	"time"

	"github.com/edgeswarm/edgeswarm/runtime"
)

// started runs the steps, then waits for the program to say that its signal
// handlers are set.
func (b *board) started(steps ...string) runtime.Container {
	b.Helper()
	c := b.container(append(append([]string{}, steps...), "print ready", "wait")...)
	out := b.fifos(&c)
	b.prepare(c)
	b.start(c)
	out.wantLine(b, "ready")
	return c
}

func testStopSignals(b *board) {
	for signal, code := range map[string]int{"SIGTERM": 143, "": 143, "SIGINT": 7, "SIGUSR1": 8} {
		c := b.started("on INT 7", "on USR1 8")
		if err := b.Driver.Stop(b.context(), c.ID, signal, patience); err != nil {
			b.Fatalf("stop with %q: %v", signal, err)
		}
		b.wantExit(c, code)
	}
	created := b.container("exit 0")
	b.prepare(created)
	if err := b.Driver.Stop(b.context(), created.ID, "SIGTERM", time.Second); err != nil {
		b.Fatalf("stop of a container that never started: %v", err)
	}
	ended := b.run("exit 1")
	b.wantExit(ended, 1)
	if err := b.Driver.Stop(b.context(), ended.ID, "SIGTERM", time.Second); err != nil {
		b.Fatalf("stop of an ended container: %v", err)
	}
	b.wantExit(ended, 1)
	running := b.run("wait")
	b.wantErr("stop with no such signal", b.Driver.Stop(b.context(), running.ID, "SIGNOSUCH", time.Second), runtime.ErrInvalid)
	b.wantState(running, runtime.Running)
}

func testStopKills(b *board) {
	c := b.started("ignore TERM")
	const grace = 300 * time.Millisecond
	begun := time.Now()
	if err := b.Driver.Stop(b.context(), c.ID, "SIGTERM", grace); err != nil {
		b.Fatal(err)
	}
	if took := time.Since(begun); took < grace {
		b.Fatalf("killed after %v, before its grace of %v was over", took, grace)
	}
	b.wantState(c, runtime.Exited)
	b.wantExit(c, 137)
}

// testStopContext: giving up on a Stop does not shorten the grace.
func testStopContext(b *board) {
	c := b.started("ignore TERM")
	ctx, cancel := context.WithTimeout(b.context(), 100*time.Millisecond)
	defer cancel()
	b.wantErr("stop", b.Driver.Stop(ctx, c.ID, "SIGTERM", time.Hour), context.DeadlineExceeded)
	b.wantState(c, runtime.Running)
}
