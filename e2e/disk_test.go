package e2e

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/edgeswarm/edgeswarm/internal/steer"
)

// cards are the folders of a board that get a small disk each, and its size:
// enough for all that the test wants.
var cards = map[string]string{"edged": "size=48m", "containerd": "size=128m"}

// TestFullDisk: a board whose card is full says so, nothing of it crashes, and
// nothing that was acknowledged is lost; with room again it goes on by itself.
func TestFullDisk(t *testing.T) {
	t.Parallel()
	f := newLab(t, 3, true)
	f.do(f.lab.Bare(t.Context(), 3))
	for i := 1; i <= 3; i++ { // before its first boot
		f.do(f.board(i).Kill(t.Context()))
		for folder, size := range cards {
			dir := filepath.Join(f.board(i).StateDir(), folder)
			f.do(os.MkdirAll(dir, 0o711))
			f.do(unix.Mount("tmpfs", dir, "tmpfs", 0, size))
		}
		f.do(f.board(i).Start(t.Context()))
	}
	f.whole(3)
	f.load(1, "1")
	f.create("web", "--mode", "global", "web:1")
	f.runs(1, "web", 3)
	before := f.allProcesses(1, 2, 3)

	full := f.leader(1)
	a := f.other(full)
	b := f.other(full, a)
	f.fills(full, a, b)
	now := f.leader(a)
	third := f.other(full, now)
	f.fills(third, full, now)
	f.untouched(before, 1, 2, 3)
}

// fills fills a board's card, has the fleet work on, and makes room again.
func (f *fleet) fills(full, a, b int) {
	f.t.Helper()
	f.t.Logf("the card of board%d is filled", full)
	pid, err := f.board(full).PID("edged")
	f.do(err)
	for folder := range cards {
		f.do(fill(filepath.Join(f.board(full).StateDir(), folder, "filler")))
	}

	for i := range 10 { // acknowledged by the two others
		f.until("a write is accepted", patient, func() error {
			if s := f.try(a, "service", "update", "--detach", "--label-add", fmt.Sprintf("full%d=%d", full, i), "web"); s.Code != 0 {
				return errors.New(s.Err)
			}
			return nil
		})
	}
	s := f.feed(full, webImage(f.t, "2"), "image", "load", "--quiet")
	f.oneLine(s, "space", "image", "load")
	pinned := fmt.Sprintf("pinned%d", full)
	f.until("a service for the full board is accepted", patient, func() error {
		if s := f.try(b, "service", "create", "--detach", "--name", pinned, "--constraint", "node.hostname=="+f.board(full).Name(), "web:1"); s.Code != 0 && !strings.Contains(s.Err, "in use") {
			return errors.New(s.Err)
		}
		return nil
	})
	f.until("node ls or service ps tells of the full board", patient, func() error {
		nodes, nerr := f.nodes(a)
		tasks, err := f.tasks(a, pinned)
		said := nodes[f.board(full).Name()].Message
		for _, r := range tasks {
			said += " " + r.Error
		}
		if err = errors.Join(nerr, err); err == nil && !strings.Contains(said, "space") {
			err = fmt.Errorf("%q, %+v%s", said, nodes, steer.Table(tasks))
		}
		return err
	})
	f.until("node ls shows that the full manager can't lead", patient, f.canLead(a, full, false))
	if now, err := f.board(full).PID("edged"); err != nil || now != pid {
		f.t.Errorf("edged was process %d and is %d: %v", pid, now, err)
	}

	for folder := range cards {
		f.do(os.Remove(filepath.Join(f.board(full).StateDir(), folder, "filler")))
	}
	f.whole(3)
	f.until("node ls shows that it can lead again", patient, f.canLead(a, full, true))
	f.runs(full, pinned, 1)
	for i := 1; i <= 3; i++ {
		if got := strings.TrimSpace(f.must(i, "service", "inspect", "--format", fmt.Sprintf("{{.Spec.Labels.full%d}}", full), "web")); got != "9" {
			f.t.Errorf("board%d knows %q of an acknowledged write", i, got)
		}
	}
}

// canLead checks what node ls says on one board of another's part in the government.
func (f *fleet) canLead(asked, of int, want bool) func() error {
	return func() error {
		nodes, err := f.nodes(asked)
		if n := nodes[f.board(of).Name()]; err == nil && strings.Contains(n.Ails, "can't lead") == want {
			err = fmt.Errorf("%s is %s, %q: %s", n.Hostname, n.Status, n.Ails, n.Message)
		}
		return err
	}
}

// fill writes until there is no more room.
func fill(path string) error {
	file, err := os.Create(path)
	if err != nil {
		return err
	}
	defer file.Close()
	for size := 1 << 20; size >= 512; { // to the last bit
		if _, err := file.Write(make([]byte, size)); errors.Is(err, syscall.ENOSPC) {
			size /= 2
		} else if err != nil && !errors.Is(err, io.ErrShortWrite) {
			return err
		}
	}
	return nil
}
