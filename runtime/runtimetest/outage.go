package runtimetest

import (
	"context"
	"errors"
	"time"

	"github.com/edgeswarm/edgeswarm/runtime"
)

// testUnavailable: a runtime that is gone is named so by every call, soon, and
// the same driver goes on when it is back.
func testUnavailable(b *board) {
	running, created := b.run("wait"), b.container("exit 0")
	b.prepare(created)
	pid := b.wantState(running, runtime.Running).PID

	b.Interrupt()
	soon := func() context.Context {
		ctx, cancel := context.WithTimeout(b.context(), 15*time.Second)
		b.Cleanup(cancel)
		return ctx
	}
	_, err := b.Driver.Info(soon())
	b.wantErr("info", err, runtime.ErrUnavailable)
	_, err = b.Driver.List(soon())
	b.wantErr("list", err, runtime.ErrUnavailable)
	_, err = b.Driver.Start(soon(), created.ID)
	b.wantErr("start", err, runtime.ErrUnavailable)
	b.wantErr("prepare", b.Driver.Prepare(soon(), b.container("exit 0")), runtime.ErrUnavailable)
	b.wantErr("remove", b.Driver.Remove(soon(), created.ID), runtime.ErrUnavailable)

	b.Restore()
	b.eventually("info", func() error {
		_, err := b.Driver.Info(b.context())
		return err
	})
	if s := b.wantState(running, runtime.Running); s.PID != pid {
		b.Fatalf("PID %d became %d while the runtime was gone", pid, s.PID)
	}
	b.start(created)
	b.wantExit(created, 0)
}

// testUnavailableWait: who waits either does not notice or is told that the
// runtime does not answer. It is never told that the container ended.
func testUnavailableWait(b *board) {
	c := b.run("wait")
	type answer struct {
		exit runtime.Exit
		err  error
	}
	answers := make(chan answer, 1)
	wait := func() {
		exit, err := b.Driver.Wait(b.context(), c.ID)
		answers <- answer{exit, err}
	}
	go wait()
	b.Interrupt()
	_, err := b.Driver.Info(b.context())
	b.wantErr("info", err, runtime.ErrUnavailable)
	b.Restore()
	b.eventually("info", func() error {
		_, err := b.Driver.Info(b.context())
		return err
	})
	b.wantState(c, runtime.Running)
	if err := b.Driver.Stop(b.context(), c.ID, "SIGKILL", time.Second); err != nil {
		b.Fatal(err)
	}
	got := <-answers
	if errors.Is(got.err, runtime.ErrUnavailable) {
		go wait()
		got = <-answers
	}
	if got.err != nil || got.exit.Code != 137 {
		b.Fatalf("wait answered %+v, %v; want 137", got.exit, got.err)
	}
}

// testGone: who waits for a runtime to go away hears of it at once, and of a
// runtime that stays nothing.
func testGone(b *board) {
	if _, err := b.Driver.Info(b.context()); err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(b.context(), time.Second)
	defer cancel()
	if err := b.Driver.Gone(ctx); !errors.Is(err, context.DeadlineExceeded) {
		b.Fatalf("a runtime that is there is gone: %v", err)
	}
	gone := make(chan error, 1)
	go func() { gone <- b.Driver.Gone(b.context()) }()
	b.Interrupt()
	began := time.Now()
	if err := <-gone; err != nil {
		b.Fatal(err)
	}
	if took := time.Since(began); took > time.Second {
		b.Errorf("it took %v to see", took)
	}
	if err := b.Driver.Gone(b.context()); err != nil {
		b.Errorf("of a runtime that is not there: %v", err)
	}
	b.Restore()
	b.eventually("info", func() error {
		_, err := b.Driver.Info(b.context())
		return err
	})
}
