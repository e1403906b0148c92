// Package runtimetest holds the tests that every runtime.Driver must pass, so
// that the agent behaves the same on the simulated driver and on the real one.
//
// It tests what the Driver interface promises. What only one driver does, that
// driver's own tests cover.
package runtimetest

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/edgeswarm/edgeswarm/api"
	"github.com/edgeswarm/edgeswarm/runtime"
)

// Fixture is a driver under test and what belongs to it. All of it is taken
// down by t.Cleanup of the test that it was made for.
type Fixture struct {
	Driver runtime.Driver
	// Reopen lets go of the driver and returns another on the same state, as
	// a restart of edged does. Containers are not touched.
	Reopen func() runtime.Driver
	// Interrupt makes the runtime unavailable, as a killed daemon is, and
	// Restore brings it back. Containers are not touched.
	Interrupt, Restore func()
	// Image is complete on this board and has a shell, no entrypoint, and no
	// stop signal of its own.
	Image api.ImageID
	// Command renders a program as the command of a container or an exec:
	// Shell, where there is a shell.
	Command func(steps ...string) []string
	// Kernel says that containers are real: memory limits kill, and what confines
	// a process can be seen. It runs as root.
	Kernel bool
	// CgroupParent for the containers; "" if it means nothing to the driver.
	CgroupParent string
}

// patience bounds every call that is expected to return.
const patience = 30 * time.Second

// Run tests the drivers that newFixture makes, one for each test.
func Run(t *testing.T, newFixture func(t *testing.T) Fixture) {
	tests := map[string]func(*board){
		"Info":                          testInfo,
		"Lifecycle":                     testLifecycle,
		"CallsMayBeRepeated":            testRepeated,
		"ExitCodes":                     testExitCodes,
		"WaitAtOnceAfterEnd":            testWaitAfterEnd,
		"WaitEndsWithContext":           testWaitContext,
		"WaitSeesRemoval":               testWaitRemoval,
		"StopSignals":                   testStopSignals,
		"StopKillsAfterGrace":           testStopKills,
		"StopEndsWithContext":           testStopContext,
		"RemoveKills":                   testRemoveKills,
		"AttemptsAreApart":              testAttempts,
		"UnknownContainer":              testUnknown,
		"Reopen":                        testReopen,
		"EndsWhileClosed":               testEndsWhileClosed,
		"PrepareBadMount":               testBadMount,
		"PrepareMissingDevice":          testMissingDevice,
		"PrepareUnknownImage":           testUnknownImage,
		"EnvironmentAndArguments":       testEnvironment,
		"CommandThatIsNotThere":         testNoSuchCommand,
		"Hostname":                      testHostname,
		"Mounts":                        testMounts,
		"StreamsGoToFIFOs":              testStreams,
		"StreamsSurviveReopen":          testStreamsReopen,
		"Exec":                          testExec,
		"ExecNotRunning":                testExecNotRunning,
		"HealthcheckOfImage":            testNoHealthcheck,
		"Usage":                         testUsage,
		"ExecEndsWithContext":           testExecContext,
		"Unavailable":                   testUnavailable,
		"UnavailableDuringWait":         testUnavailableWait,
		"GoneIsSeenAtOnce":              testGone,
		"OutOfMemoryIsNamed":            testOutOfMemory,
		"ManyAtOnce":                    testManyAtOnce,
		"CancelledContextDoesNotBreak":  testCancelled,
		"ExitTimeIsTheProcess":          testExitTime,
		"RemoveAfterInterruptedPrepare": testPrepareAgain,
	}
	for name, test := range kernelTests {
		tests[name] = func(b *board) {
			if b.Kernel {
				test(b)
			}
		}
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) { test(&board{T: t, Fixture: newFixture(t)}) })
	}
}

// board is a Fixture with the words the tests are written in.
type board struct {
	*testing.T
	Fixture
}

func (b *board) context() context.Context {
	ctx, cancel := context.WithTimeout(b.Context(), patience)
	b.Cleanup(cancel)
	return ctx
}

// container describes a container that runs the steps; it is removed at the
// end of the test.
func (b *board) container(steps ...string) runtime.Container {
	task := api.NewID[api.TaskID]()
	return b.attempt(task, 1, steps...)
}

func (b *board) attempt(task api.TaskID, attempt int, steps ...string) runtime.Container {
	c := runtime.Container{
		ID: runtime.ContainerID(task, attempt), Task: task, Attempt: attempt, Image: b.Image,
		Spec:         api.ContainerSpec{Image: "test", Command: b.Command(steps...)},
		Hostname:     "web-1",
		CgroupParent: b.CgroupParent,
	}
	b.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := b.Driver.Remove(ctx, c.ID); err != nil {
			b.Errorf("remove at the end: %v", err)
		}
	})
	return c
}

func (b *board) prepare(c runtime.Container) {
	b.Helper()
	if err := b.Driver.Prepare(b.context(), c); err != nil {
		b.Fatalf("prepare: %v", err)
	}
}

func (b *board) start(c runtime.Container) (pid int) {
	b.Helper()
	pid, err := b.Driver.Start(b.context(), c.ID)
	if err != nil {
		b.Fatalf("start: %v", err)
	}
	if pid <= 0 {
		b.Fatalf("start answered PID %d", pid)
	}
	return pid
}

// run prepares and starts a container of the steps.
func (b *board) run(steps ...string) runtime.Container {
	b.Helper()
	c := b.container(steps...)
	b.prepare(c)
	b.start(c)
	return c
}

func (b *board) wait(c runtime.Container) runtime.Exit {
	b.Helper()
	exit, err := b.Driver.Wait(b.context(), c.ID)
	if err != nil {
		b.Fatalf("wait: %v", err)
	}
	return exit
}

func (b *board) wantExit(c runtime.Container, code int) {
	b.Helper()
	if exit := b.wait(c); exit.Code != code {
		b.Fatalf("exit code %d, want %d", exit.Code, code)
	}
}

// find returns the container as List shows it.
func (b *board) find(c runtime.Container) (runtime.Status, bool) {
	b.Helper()
	all, err := b.Driver.List(b.context())
	if err != nil {
		b.Fatalf("list: %v", err)
	}
	for _, s := range all {
		if s.ID == c.ID {
			return s, true
		}
	}
	return runtime.Status{}, false
}

func (b *board) wantState(c runtime.Container, state runtime.State) runtime.Status {
	b.Helper()
	s, ok := b.find(c)
	if !ok {
		b.Fatalf("list does not show %s", c.ID)
	}
	if s.State != state || s.Task != c.Task || s.Attempt != c.Attempt {
		b.Fatalf("list shows %+v, want %s of task %s attempt %d", s, state, c.Task, c.Attempt)
	}
	if since := time.Since(s.StartedAt); s.StartedAt.IsZero() != (state == runtime.Created) || state != runtime.Created && (since < 0 || since > time.Hour) {
		b.Fatalf("list shows %s container %s as started at %v", state, c.ID, s.StartedAt)
	}
	return s
}

func (b *board) wantErr(doing string, err, want error) {
	b.Helper()
	if !errors.Is(err, want) {
		b.Fatalf("%s: got error %v, want %v", doing, err, want)
	}
}

// eventually repeats a call until it succeeds. Only a real daemon's coming and
// going needs it; the simulated driver passes at the first try.
func (b *board) eventually(what string, try func() error) {
	b.Helper()
	deadline := time.NewTimer(patience)
	defer deadline.Stop()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		err := try()
		if err == nil {
			return
		}
		select {
		case <-deadline.C:
			b.Fatalf("%s: still %v after %v", what, err, patience)
		case <-tick.C:
		}
	}
}

// locked is a writer that may be read while it is written to.
type locked struct {
	mu   sync.Mutex
	text []byte
}

func (l *locked) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.text = append(l.text, p...)
	return len(p), nil
}

func (l *locked) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return string(l.text)
}
