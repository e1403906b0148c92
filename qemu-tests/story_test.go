package qemutests

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/edgeswarm/edgeswarm/internal/lab"
	"github.com/edgeswarm/edgeswarm/internal/steer"
	"github.com/edgeswarm/edgeswarm/qemu-tests/board"
	"github.com/edgeswarm/edgeswarm/qemu-tests/disk"
)

// TestFleet is the life of a fleet on one desk: three cards that were written
// alike, a fourth that comes later, work, updates, and plugs that are pulled.
func TestFleet(t *testing.T) {
	f := newFleet(t)
	f.part("cold start", (*fleet).coldStart)
	f.part("service", (*fleet).serves)
	f.part("update", (*fleet).updates)
	f.part("leader unplugged", (*fleet).losesItsLeader)
	f.part("fourth board", (*fleet).grows)
	f.part("all unplugged", (*fleet).losesAll)
}

func (f *fleet) coldStart() {
	for range 3 {
		f.plug(board.Virt, f.card(board.Virt))
	}
	begun := time.Now()
	f.power(f.boards...)
	f.up(f.boards...)
	f.t.Logf("three boards let root in after %.1f s", time.Since(begun).Seconds())
	f.whole(booting, f.boards...)
	f.t.Logf("power-on to one fleet of three voters: %.1f s", time.Since(begun).Seconds())
}

func (f *fleet) serves() {
	f.load(f.boards[0], "web:1", "web:2")
	f.must(f.boards[0], "service", "create", "--detach", "--name", "web", "--replicas", "4", "--publish", "mode=host,target=8080", "web:1")
	f.runs(f.boards[1], "web", 4)
	f.must(f.boards[1], "service", "scale", "--detach", "web=6")
	f.answers(f.boards[2], "web", "1", 6)
}

// updates updates two tasks at a time, 10 s apart, and looks on: never more than two slots
// without a running task, and no wave before its time.
func (f *fleet) updates() {
	const parallelism, delay = 2, 10 * time.Second
	asked := f.boards[0]
	f.must(asked, "service", "update", "--detach", "--image", "web:2", "--parallelism", fmt.Sprint(parallelism), "--delay", delay.String(), "web")
	// Of each slot: when it was first seen to have a new task, and when surely none of its new
	// tasks had run yet: what lies between two samples is nobody's fault.
	type slot struct {
		seen, notYetRan time.Time
		ran             bool
	}
	slots := map[string]*slot{}
	var order []*slot
	before := time.Now()
	f.until("all are updated", rolling, func() error {
		begun := time.Now()
		tasks, err := f.edgectl(asked).Tasks("web")
		if err != nil {
			return err
		}
		seen := time.Now()
		served, done := map[string]bool{}, 0
		for _, r := range tasks {
			served[r.Name] = served[r.Name] || r.State() == "running"
			if !strings.HasPrefix(r.Image, "web:2") {
				continue
			}
			b := slots[r.Name]
			if b == nil {
				b = &slot{seen: seen, notYetRan: before}
				slots[r.Name] = b
				order = append(order, b)
			}
			if r.State() == "running" {
				b.ran = true
			}
		}
		for _, b := range order {
			if b.ran {
				done++
			} else {
				b.notYetRan = begun
			}
		}
		if n := count(served); n < 6-parallelism {
			f.t.Errorf("only %d of 6 slots have a running task:%s", n, steer.Table(tasks))
		}
		before = begun
		if done != 6 {
			return fmt.Errorf("%d ran the new image:%s", done, steer.Table(tasks))
		}
		return nil
	})
	for i := parallelism; i < len(order); i += parallelism {
		for _, earlier := range order[i-parallelism : i] {
			if gap := order[i].seen.Sub(earlier.notYetRan); gap < delay {
				f.t.Errorf("wave %d began at most %v after the one before ran, want %v", i/parallelism+1, gap, delay)
			}
		}
	}
	f.answers(f.boards[1], "web", "2", 6)
}

// losesItsLeader pulls the leader's plug the moment that a write is acknowledged.
func (f *fleet) losesItsLeader() {
	lead := f.leader(f.boards[0])
	rest := f.others(lead)
	f.must(lead, "service", "update", "--detach", "--label-add", "last=word", "web")
	f.do(lead.PowerCut(disk.Nothing))
	lost := time.Now()
	f.until("a write is accepted without the leader", patient, func() error {
		return accepted(f.edgectl(rest[0]).Try(nil, "service", "update", "--detach", "--label-add", "new=leader", "web"))
	})
	f.t.Logf("leader unplugged to the next accepted write: %.1f s", time.Since(lost).Seconds())
	f.labelled(rest[1], "last", "word")
	f.left(rest[1], "web", lead)
	f.answers(rest[1], "web", "2", 6)
	f.t.Logf("leader unplugged to six tasks on two boards: %.1f s", time.Since(lost).Seconds())
	f.power(lead)
	f.up(lead)
	f.whole(booting, f.boards...)
	f.labelled(lead, "new", "leader")
}

// left waits until the fleet has given up a board that is off: until then it
// counts the tasks on it as running.
func (f *fleet) left(asked *member, service string, off *member) {
	f.t.Helper()
	f.until("no task is wanted on "+off.Name(), patient, func() error {
		tasks, err := f.edgectl(asked).Tasks(service)
		if err != nil {
			return err
		}
		for _, r := range tasks {
			if r.Node == off.hostname && r.DesiredState == "Running" {
				return fmt.Errorf("%s is", r.Name)
			}
		}
		return nil
	})
}

func (f *fleet) grows() {
	fourth := f.plug(board.Virt, f.card(board.Virt))
	begun := time.Now()
	f.power(fourth)
	f.up(fourth)
	f.whole(booting, f.boards...)
	f.t.Logf("a fourth board, power-on to member: %.1f s", time.Since(begun).Seconds())
	f.must(fourth, "service", "create", "--detach", "--name", "here", "--constraint", "node.hostname=="+fourth.hostname, "--publish", "mode=host,target=8080", "web:1")
	f.answers(f.boards[0], "here", "1", 1)
}

// losesAll pulls every plug at once, the moment that a write is acknowledged.
func (f *fleet) losesAll() {
	f.must(f.boards[0], "service", "update", "--detach", "--label-add", "lights=out", "web")
	for _, b := range f.boards {
		f.do(b.PowerCut(disk.Some))
	}
	begun := time.Now()
	f.power(f.boards...)
	f.up(f.boards...)
	f.whole(booting, f.boards...)
	f.t.Logf("all unplugged to one fleet again: %.1f s", time.Since(begun).Seconds())
	for _, b := range f.boards {
		f.labelled(b, "lights", "out")
	}
	f.answers(f.boards[0], "web", "2", 6)
	f.answers(f.boards[1], "here", "1", 1)
	f.t.Logf("all unplugged to all tasks: %.1f s", time.Since(begun).Seconds())
}

func count(set map[string]bool) (n int) {
	for _, in := range set {
		if in {
			n++
		}
	}
	return n
}

func accepted(s steer.Said) error {
	if s.Code != 0 {
		return errors.New(s.Err)
	}
	return nil
}

// labelled waits until a board knows a label of the service web.
func (f *fleet) labelled(b *member, label, value string) {
	f.t.Helper()
	f.until(b.Name()+" knows what was acknowledged", patient, func() error {
		s := f.edgectl(b).Try(nil, "service", "inspect", "--format", "{{.Spec.Labels."+label+"}}", "web")
		if err := accepted(s); err != nil {
			return err
		}
		if got := strings.TrimSpace(s.Out); got != value {
			return fmt.Errorf("it knows %q", got)
		}
		return nil
	})
}

// answers visits every running task of a service at its published port, as a
// laptop on the LAN would.
func (f *fleet) answers(asked *member, service, version string, n int) []steer.Task {
	f.t.Helper()
	tasks := f.runs(asked, service, n)
	for _, r := range tasks {
		at := f.at(r)
		var port uint16
		if _, err := fmt.Sscanf(r.Ports, "*:%d->8080/tcp", &port); err != nil {
			f.t.Fatalf("%s is published at %q: %v", r.Name, r.Ports, err)
		}
		f.until(r.Name+" answers", patient, func() error {
			return answersAt(at, port, version)
		})
	}
	return tasks
}

// answersAt has a laptop on the LAN ask a board's port.
func answersAt(b *member, port uint16, version string) error {
	at, err := b.At(port)
	if err != nil {
		return err
	}
	client := http.Client{Timeout: 20 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Get("http://" + at + "/")
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 1000))
	if err == nil && !strings.HasPrefix(string(body), "version "+version+" ") {
		err = fmt.Errorf("it says %q", body)
	}
	return err
}

// load puts images into the fleet, each a web server for arm64 and amd64.
func (f *fleet) load(b *member, names ...string) {
	f.t.Helper()
	for _, name := range names {
		begun := time.Now()
		s := f.edgectl(b).Try(f.image(name), "image", "load", "--quiet")
		if s.Code != 0 {
			f.t.Fatalf("load %s: %s", name, s.Err)
		}
		f.t.Logf("%s acknowledged after %.1f s", name, time.Since(begun).Seconds())
	}
}

func (f *fleet) image(name string) []byte {
	f.t.Helper()
	_, version, _ := strings.Cut(name, ":")
	var platforms []lab.ImagePlatform
	for _, arch := range []string{"arm64", "amd64"} {
		webd, err := os.ReadFile(filepath.Join(bin(), "webd-"+arch))
		f.do(err)
		platforms = append(platforms, lab.ImagePlatform{
			Platform: ocispec.Platform{OS: "linux", Architecture: arch},
			Files:    map[string][]byte{"/webd": webd, "/version": []byte(version)},
		})
	}
	var archive bytes.Buffer
	f.do(lab.WriteImage(&archive, lab.Image{Name: name, Platforms: platforms, Config: ocispec.ImageConfig{Entrypoint: []string{"/webd"}, WorkingDir: "/"}}))
	return archive.Bytes()
}

// at is the board that a task runs on.
func (f *fleet) at(r steer.Task) *member {
	f.t.Helper()
	for _, b := range f.boards {
		if b.hostname == r.Node {
			return b
		}
	}
	f.t.Fatalf("%s runs on %s, which is none of the boards", r.Name, r.Node)
	return nil
}

// busybox loads the image busybox:1, which sleeps if it is told nothing else.
func (f *fleet) busybox(b *member) {
	f.t.Helper()
	archive := f.busyboxArchive(b)
	f.until("an image is taken", patient, func() error { // a board is ready before its containerd is
		return accepted(f.edgectl(b).Try(archive, "image", "load", "--quiet"))
	})
}

// busyboxArchive is an image of a board's own busybox, for its platform.
func (f *fleet) busyboxArchive(b *member) []byte {
	f.t.Helper()
	program := f.bytes(b, "cat /proc/$$/exe") // the shell's own
	var archive bytes.Buffer
	f.do(lab.WriteImage(&archive, lab.Image{
		Name: "busybox:1",
		Platforms: []lab.ImagePlatform{{
			Platform: ocispec.Platform{OS: "linux", Architecture: b.kind.Architecture()}, Files: map[string][]byte{"/bin/busybox": program},
			Links: map[string]string{"/bin/sleep": "busybox", "/bin/dd": "busybox"},
		}},
		Config: ocispec.ImageConfig{Cmd: []string{"sleep", "1000000"}, Env: []string{"PATH=/bin"}, WorkingDir: "/"},
	}))
	return archive.Bytes()
}
