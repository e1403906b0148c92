package e2e

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"path"
	"strings"
	"testing"
	"time"

	"github.com/edgeswarm/edgeswarm/internal/steer"
)

// TestTheStory is the demo's: three boards that know nothing of each other
// become a fleet, run a service, are updated, and lose their leader.
func TestTheStory(t *testing.T) {
	t.Parallel()
	f := formed(t, 3)
	f.load(1, "1", "2")

	f.must(1, "service", "create", "--name", "web", "--replicas", "6", "--publish", "mode=host,target=8080", "web:1")
	f.answers(2, "web", "1", 6)

	f.updatesInWaves()
	f.answers(3, "web", "2", 6)

	lead := f.leader(1)
	worker := f.other(lead)
	f.must(worker, "node", "demote", f.board(worker).Name())
	f.until("one voter of two managers", patient, func() error { return f.voters(lead, 1) })
	f.must(worker, "node", "promote", "self")
	f.until("three voters again", patient, func() error { return f.voters(lead, 3) })

	w := f.followEvents(worker)
	f.losesItsLeader()
	h := happened{f, w.sawAll(worker)}
	h.then("node", "update", "state.new=down")
	h.then("task", "running", "service=web")
	h.then("node", "update", "state.new=ready")
}

// answers visits every running task of a service at its published port, as a
// laptop on the LAN would.
func (f *fleet) answers(asked int, service, version string, n int) {
	f.t.Helper()
	for _, r := range f.runs(asked, service, n) {
		port, _, _ := strings.Cut(strings.TrimPrefix(r.Ports, "*:"), "-")
		url := fmt.Sprintf("http://%s:%s/", f.board(index(r.Node)).IP(), port)
		f.until(r.Name+" answers at "+url, soon, func() error {
			ctx, cancel := context.WithTimeout(f.t.Context(), 5*time.Second)
			defer cancel()
			out, err := f.lab.LAN(ctx, "busybox", "wget", "-q", "-O", "-", url)
			if err == nil && !strings.HasPrefix(out, "version "+version+" ") {
				err = fmt.Errorf("it says %q", out)
			}
			return err
		})
	}
}

// voters tells whether there are exactly so many.
func (f *fleet) voters(asked, want int) error {
	nodes, err := f.nodes(asked)
	if err != nil {
		return err
	}
	n := 0
	for _, r := range nodes {
		if r.Voter {
			n++
		}
	}
	if n != want {
		return fmt.Errorf("%d voters: %+v", n, nodes)
	}
	return nil
}

// updatesInWaves updates the service two tasks at a time, 3 s apart, and looks
// on: never more than two slots without a running task, never a wave too early.
func (f *fleet) updatesInWaves() {
	f.t.Helper()
	const parallelism, delay = 2, 3 * time.Second
	old := map[string]bool{}
	for _, r := range f.runs(1, "web", 6) {
		old[r.ID] = true
	}
	// When a new task was surely not there yet, or not running yet, and when it
	// was first seen so: what lies between two samples is nobody's fault.
	type birth struct{ seen, notYetRunning time.Time }
	births := map[string]*birth{}
	var order []*birth
	before := time.Now()
	w := f.watch([]string{"service", "ps", "web"}, []int{1, 2, 3}, func(tasks []taskRow, begun, complete time.Time) {
		served := map[string]bool{}
		young := 0
		for _, r := range tasks {
			running := r.State() == "running"
			served[r.Name] = served[r.Name] || running
			if old[r.ID] {
				continue
			}
			b := births[r.ID]
			if b == nil {
				b = &birth{seen: complete, notYetRunning: before}
				births[r.ID] = b
				order = append(order, b)
			}
			if !running {
				b.notYetRunning = begun
				young++
			}
		}
		idle := 6
		for _, ok := range served {
			if ok {
				idle--
			}
		}
		if idle > parallelism {
			f.t.Errorf("%d slots of 6 have no running task in an update of %d at a time:%s", idle, parallelism, steer.Table(tasks))
		}
		if young > parallelism {
			f.t.Errorf("%d new tasks are on their way in an update of %d at a time:%s", young, parallelism, steer.Table(tasks))
		}
		before = begun
	})
	out := f.must(1, "service", "update", "--image", "web:2", "--parallelism", fmt.Sprint(parallelism), "--delay", delay.String(), "web")
	if !strings.Contains(out, "converged") {
		f.t.Errorf("the update says nothing of its end: %s", out)
	}
	w.end(f)
	if len(order) != 6 {
		f.t.Fatalf("%d tasks were made for 6 slots", len(order))
	}
	for i := parallelism; i < len(order); i += parallelism {
		for _, earlier := range order[i-parallelism : i] {
			if gap := order[i].seen.Sub(earlier.notYetRunning); gap < delay {
				f.t.Errorf("wave %d began at most %v after the one before ran, want %v", i/parallelism+1, gap, delay)
			}
		}
	}
	for _, r := range f.runs(1, "web", 6) {
		if !strings.HasPrefix(r.Image, "web:2@") {
			f.t.Errorf("%s runs %s after the update", r.Name, r.Image)
		}
	}
}

// losesItsLeader loads an image at the leader's board and kills that board the
// moment the image is acknowledged. The others have it all.
func (f *fleet) losesItsLeader() {
	f.t.Helper()
	lost := f.leader(1)
	a := f.other(lost)
	b := f.other(lost, a)
	before := f.allProcesses(a, b)
	archive := webImage(f.t, "3")
	if s := f.feed(lost, archive, "image", "load", "--quiet"); s.Code != 0 {
		f.t.Fatalf("load web:3: %s", s.Err)
	}
	w := f.watch([]string{"service", "ps", "web"}, []int{a, b}, nil)
	f.do(f.board(lost).Kill(f.t.Context()))
	if blobs := blobsOf(f.t, archive); !f.holds(a, blobs) && !f.holds(b, blobs) {
		f.t.Error("an image was acknowledged that only one board held whole")
	}
	f.must(a, "service", "create", "--detach", "--name", "late", "--replicas", "2", "web:3")
	f.runs(b, "late", 2)
	for _, r := range f.runs(b, "web", 6) {
		if index(r.Node) == lost {
			f.t.Errorf("%s is said to run on the board that is dead", r.Name)
		}
	}
	f.untouched(before, a, b)
	f.until("node ls says who is down", patient, func() error {
		nodes, err := f.nodes(a)
		if n := nodes[f.board(lost).Name()]; err == nil && n.Status != "Down" {
			err = fmt.Errorf("%+v", n)
		}
		return err
	})

	f.do(f.board(lost).Start(f.t.Context()))
	f.whole(3)
	f.untouched(before, a, b)
	f.runs(lost, "web", 6)
	f.exactly("web", 6)
	f.exactly("late", 2)
	w.end(f)
}

// exactly waits until containerd everywhere runs one container for each task
// of a service that runs by the fleet's word, and no other.
func (f *fleet) exactly(service string, n int) {
	f.t.Helper()
	f.until(fmt.Sprintf("exactly %d containers of %s", n, service), patient, func() error {
		wanted := map[string]bool{}
		tasks, err := f.tasks(1, service)
		if err != nil {
			return err
		}
		mine := map[string]bool{}
		for _, r := range tasks {
			mine[r.ID] = true
			if r.State() == "running" && r.DesiredState == "Running" {
				wanted[fmt.Sprintf("%s.%d on %s", r.ID, r.Attempt, r.Node)] = true
			}
		}
		found := 0
		for i := 1; i <= f.n; i++ {
			if _, err := f.board(i).PID("containerd"); err != nil {
				continue // it is off
			}
			running, err := f.processes(i)
			if err != nil {
				return err
			}
			for id := range running {
				task, _, _ := strings.Cut(id, ".")
				if !mine[task] {
					continue
				}
				found++
				if at := fmt.Sprintf("%s on %s", id, f.board(i).Name()); !wanted[at] {
					return fmt.Errorf("container %s runs, and should not:%s", at, steer.Table(tasks))
				}
			}
		}
		if len(wanted) != n || found != n {
			return fmt.Errorf("%d tasks and %d containers run:%s", len(wanted), found, steer.Table(tasks))
		}
		return nil
	})
}

// blobsOf are the digests of all that an image archive holds.
func blobsOf(t *testing.T, archive []byte) []string {
	t.Helper()
	var digests []string
	for r := tar.NewReader(bytes.NewReader(archive)); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return digests
		}
		if err != nil {
			t.Fatal(err)
		}
		if path.Dir(h.Name) == "blobs/sha256" {
			digests = append(digests, "sha256:"+path.Base(h.Name))
		}
	}
}
