package containerd

import (
	"errors"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/containerd/containerd/v2/core/snapshots"

	"github.com/edgeswarm/edgeswarm/runtime"
)

// TestReboot: records outlive the processes; each container is known for what it was.
func TestReboot(t *testing.T) {
	r := newRig(t)
	running, created := r.sleeper(), r.script("exit 3", nil)
	r.prepare(created)
	orphan := "orphan.1"
	img, err := r.driver.unpacked(r.context(), r.image)
	if err != nil {
		t.Fatal(err)
	}
	// What a Prepare leaves that is cut off before its record is there.
	if _, err := r.driver.snaps.Prepare(r.context(), orphan, img.chain, snapshots.WithLabels(map[string]string{labelSnapshot: "orphan", gcRoot: "x"})); err != nil {
		t.Fatal(err)
	}
	begun := time.Now()
	r.daemon.reboot(t)
	_ = r.driver.Close()
	r.driver = r.daemon.open(t)
	r.daemon.awaitUp(t, r.driver)

	if s := r.state(running); s.State != runtime.Exited || s.Exit == nil || s.Exit.Code != exitUnknown || s.Exit.At.After(begun) || s.Exit.At.IsZero() {
		t.Errorf("what ran is now %+v", s)
	}
	if exit := r.wait(running); exit.Code != exitUnknown {
		t.Errorf("wait answered %+v", exit)
	}
	if _, err := r.driver.Start(r.context(), running.ID); err != nil || r.state(running).State != runtime.Exited {
		t.Errorf("it was started once more: %v", err)
	}
	if s := r.state(created); s.State != runtime.Created {
		t.Errorf("what never ran is now %+v", s)
	}
	if _, err := r.driver.Start(r.context(), created.ID); err != nil {
		t.Fatal(err)
	}
	if exit := r.wait(created); exit.Code != 3 {
		t.Errorf("exit %+v, want 3", exit)
	}
	r.prepare(r.script("true", nil))
	if _, err := r.driver.snaps.Stat(r.context(), orphan); err == nil {
		t.Error("the snapshot of an interrupted Prepare stays")
	}
}

// TestWaitOutlastsTheDaemon: a restart of containerd is nothing to who waits.
func TestWaitOutlastsTheDaemon(t *testing.T) {
	r := newRig(t)
	c := r.sleeper()
	pid := r.state(c).PID
	type answer struct {
		exit runtime.Exit
		err  error
	}
	waited := make(chan answer, 1)
	go func() {
		exit, err := r.driver.Wait(r.context(), c.ID)
		waited <- answer{exit, err}
	}()
	r.awaitWaiting(c)
	r.daemon.kill()
	if _, err := r.driver.Info(r.context()); !errors.Is(err, runtime.ErrUnavailable) || !strings.Contains(err.Error(), r.daemon.socket) {
		t.Fatalf("error %v, want one that names the socket", err)
	}
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil { // it ends while nobody sees it
		t.Fatal(err)
	}
	r.daemon.start(t)
	if got := <-waited; got.err != nil || got.exit.Code != 137 {
		t.Fatalf("wait answered %+v, %v", got.exit, got.err)
	}
}

// awaitWaiting gives a Wait that was begun the time to reach the daemon: two
// calls on the same connection are answered in order.
func (r *rig) awaitWaiting(c runtime.Container) {
	for range 20 {
		r.state(c)
	}
}
