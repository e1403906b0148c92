package runtimetest

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/edgeswarm/edgeswarm/api"
	"github.com/edgeswarm/edgeswarm/runtime"
)

func testInfo(b *board) {
	info, err := b.Driver.Info(b.context())
	if err != nil {
		b.Fatal(err)
	}
	if info.Name == "" || info.Version == "" {
		b.Fatalf("info %+v leaves out name or version", info)
	}
}

func testLifecycle(b *board) {
	c := b.container("wait")
	if _, ok := b.find(c); ok {
		b.Fatal("list shows a container before it is made")
	}
	b.prepare(c)
	b.wantState(c, runtime.Created)
	pid := b.start(c)
	if s := b.wantState(c, runtime.Running); s.PID != pid {
		b.Fatalf("list shows PID %d, start answered %d", s.PID, pid)
	}
	if err := b.Driver.Stop(b.context(), c.ID, "SIGKILL", patience); err != nil {
		b.Fatal(err)
	}
	b.wantExit(c, 137)
	s := b.wantState(c, runtime.Exited)
	if s.Exit == nil || s.PID != 0 {
		b.Fatalf("list shows %+v for an ended container: want its exit and no PID", s)
	}
	if err := b.Driver.Remove(b.context(), c.ID); err != nil {
		b.Fatal(err)
	}
	if _, ok := b.find(c); ok {
		b.Fatal("list shows a removed container")
	}
}

func testRepeated(b *board) {
	c := b.container("wait")
	b.prepare(c)
	b.prepare(c)
	first := b.start(c)
	b.prepare(c) // finds it, and does not disturb it
	if again := b.start(c); again != first {
		b.Fatalf("start again answered PID %d, want %d", again, first)
	}
	for range 2 {
		if err := b.Driver.Stop(b.context(), c.ID, "SIGKILL", time.Second); err != nil {
			b.Fatalf("stop: %v", err)
		}
	}
	for range 2 {
		b.wantExit(c, 137)
	}
	if _, err := b.Driver.Start(b.context(), c.ID); err != nil {
		b.Fatalf("start of an ended container: %v", err)
	}
	b.wantState(c, runtime.Exited) // one container is one attempt: it is not run twice
	b.wantExit(c, 137)
	for range 2 {
		if err := b.Driver.Remove(b.context(), c.ID); err != nil {
			b.Fatalf("remove: %v", err)
		}
	}
}

func testExitCodes(b *board) {
	for _, code := range []int{0, 1, 3, 127, 255} {
		c := b.run(fmt.Sprintf("exit %d", code))
		b.wantExit(c, code)
		if s := b.wantState(c, runtime.Exited); s.Exit.Code != code || s.Exit.OOMKilled {
			b.Fatalf("list shows exit %+v, want code %d", *s.Exit, code)
		}
	}
}

func testWaitAfterEnd(b *board) {
	c := b.run("exit 4")
	first := b.wait(c)
	second := b.wait(c)
	if first.Code != 4 || second.Code != 4 || !first.At.Equal(second.At) {
		b.Fatalf("two waits answered %+v and %+v", first, second)
	}
}

func testWaitContext(b *board) {
	c := b.run("wait")
	ctx, cancel := context.WithTimeout(b.context(), 50*time.Millisecond)
	defer cancel()
	_, err := b.Driver.Wait(ctx, c.ID)
	b.wantErr("wait", err, context.DeadlineExceeded)
	b.wantState(c, runtime.Running)
}

// testWaitRemoval: who waits learns of the end, or that there is nothing left.
func testWaitRemoval(b *board) {
	c := b.run("wait")
	ended := make(chan error, 1)
	go func() {
		exit, err := b.Driver.Wait(b.context(), c.ID)
		if err == nil && exit.Code != 137 {
			err = fmt.Errorf("exit code %d, want 137", exit.Code)
		}
		ended <- err
	}()
	if err := b.Driver.Remove(b.context(), c.ID); err != nil {
		b.Fatal(err)
	}
	if err := <-ended; err != nil {
		b.wantErr("wait", err, runtime.ErrNotFound)
	}
}

func testRemoveKills(b *board) {
	c := b.run("ignore TERM", "wait")
	if err := b.Driver.Remove(b.context(), c.ID); err != nil {
		b.Fatal(err)
	}
	if s, ok := b.find(c); ok {
		b.Fatalf("list shows %+v after remove", s)
	}
	_, err := b.Driver.Wait(b.context(), c.ID)
	b.wantErr("wait after remove", err, runtime.ErrNotFound)
}

func testAttempts(b *board) {
	task := api.NewID[api.TaskID]()
	first, second := b.attempt(task, 1, "exit 1"), b.attempt(task, 2, "wait")
	b.prepare(first)
	b.start(first)
	b.wantExit(first, 1)
	b.prepare(second)
	b.start(second)
	if err := b.Driver.Remove(b.context(), first.ID); err != nil {
		b.Fatal(err)
	}
	b.wantState(second, runtime.Running)
}

func testUnknown(b *board) {
	const id = "no-such-task.1"
	ctx := b.context()
	_, err := b.Driver.Start(ctx, id)
	b.wantErr("start", err, runtime.ErrNotFound)
	_, err = b.Driver.Wait(ctx, id)
	b.wantErr("wait", err, runtime.ErrNotFound)
	b.wantErr("stop", b.Driver.Stop(ctx, id, "SIGTERM", time.Second), runtime.ErrNotFound)
	_, err = b.Driver.Exec(ctx, id, runtime.Process{Args: b.Command("exit 0")}, runtime.Streams{})
	b.wantErr("exec", err, runtime.ErrNotFound)
	if err := b.Driver.Remove(ctx, id); err != nil {
		b.Fatalf("remove of what is not there: %v", err)
	}
}

// testReopen: a restart of edged adopts what runs.
func testReopen(b *board) {
	running, ended, created := b.run("wait"), b.run("exit 6"), b.container("exit 0")
	b.prepare(created)
	b.wantExit(ended, 6)
	before := b.wantState(running, runtime.Running)

	b.Driver = b.Reopen()
	after := b.wantState(running, runtime.Running)
	if after.PID != before.PID {
		b.Fatalf("PID %d became %d by reopening", before.PID, after.PID)
	}
	if pid := b.start(running); pid != before.PID {
		b.Fatalf("start after reopening answered PID %d, want %d", pid, before.PID)
	}
	b.wantExit(ended, 6)
	b.wantState(created, runtime.Created)
	b.start(created)
	b.wantExit(created, 0)

	code := make(chan int, 1)
	go func() {
		exit, err := b.Driver.Wait(b.context(), running.ID)
		if err != nil {
			b.Error(err)
		}
		code <- exit.Code
	}()
	if err := b.Driver.Stop(b.context(), running.ID, "SIGKILL", time.Second); err != nil {
		b.Fatal(err)
	}
	if c := <-code; c != 137 {
		b.Fatalf("exit code %d, want 137", c)
	}
}

// testEndsWhileClosed: an end that no driver watched is not lost.
func testEndsWhileClosed(b *board) {
	c := b.run("sleep 300ms", "exit 9")
	b.Driver = b.Reopen()
	b.wantExit(c, 9)
	b.Driver = b.Reopen()
	if s := b.wantState(c, runtime.Exited); s.Exit == nil || s.Exit.Code != 9 {
		b.Fatalf("list shows %+v, want exit code 9", s)
	}
	b.wantExit(c, 9)
}

func testExitTime(b *board) {
	before := time.Now()
	c := b.run("sleep 100ms", "exit 0")
	exit := b.wait(c)
	if exit.At.Before(before.Add(50*time.Millisecond)) || exit.At.After(time.Now().Add(time.Second)) {
		b.Fatalf("ended at %v, started after %v", exit.At, before)
	}
}

func testManyAtOnce(b *board) {
	var all sync.WaitGroup
	for i := range 6 {
		c := b.container(fmt.Sprintf("exit %d", i))
		all.Go(func() {
			ctx := b.context()
			if err := b.Driver.Prepare(ctx, c); err != nil {
				b.Errorf("prepare: %v", err)
				return
			}
			if _, err := b.Driver.Start(ctx, c.ID); err != nil {
				b.Errorf("start: %v", err)
				return
			}
			if exit, err := b.Driver.Wait(ctx, c.ID); err != nil || exit.Code != i {
				b.Errorf("wait: exit %+v, error %v; want code %d", exit, err, i)
			}
			if err := b.Driver.Remove(ctx, c.ID); err != nil {
				b.Errorf("remove: %v", err)
			}
		})
	}
	all.Wait()
}

// testCancelled: a call that is given up leaves nothing that the same call,
// made again, would trip over.
func testCancelled(b *board) {
	c := b.container("exit 2")
	gone, cancel := context.WithCancel(b.context())
	cancel()
	if err := b.Driver.Prepare(gone, c); err == nil {
		b.Fatal("prepare succeeded with a cancelled context")
	}
	b.prepare(c)
	if _, err := b.Driver.Start(gone, c.ID); err == nil {
		b.Fatal("start succeeded with a cancelled context")
	}
	b.start(c)
	b.wantExit(c, 2)
}

func testPrepareAgain(b *board) {
	c := b.container("exit 5")
	b.prepare(c)
	if err := b.Driver.Remove(b.context(), c.ID); err != nil {
		b.Fatal(err)
	}
	b.prepare(c)
	b.start(c)
	b.wantExit(c, 5)
}
