package lab

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

func newLab(t *testing.T) *Lab {
	t.Helper()
	l, err := New(Config{Name: fmt.Sprintf("edgelabtest%d", os.Getpid())})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Down(context.Background()); err != nil {
			t.Error(err)
		}
		left, _ := filepath.Glob("/run/netns/" + l.cfg.Name + "*")
		for _, root := range cgroupRoots() {
			if _, err := os.Stat(root + "/" + l.cfg.Name); err == nil {
				left = append(left, root+"/"+l.cfg.Name)
			}
		}
		for _, dir := range []string{l.runDir(), l.stateDir()} {
			if _, err := os.Stat(dir); err == nil {
				left = append(left, dir)
			}
		}
		if len(left) > 0 {
			t.Errorf("left behind: %s", strings.Join(left, ", "))
		}
	})
	return l
}

// reaches tells whether one board's frames arrive at another.
func reaches(t *testing.T, from, to Board) bool {
	t.Helper()
	_, err := from.Exec(t.Context(), "ping", "-c1", "-W1", to.IP())
	return err == nil
}

func TestCutAndHeal(t *testing.T) {
	l := newLab(t)
	if err := l.Bare(t.Context(), 3); err != nil {
		t.Fatal(err)
	}
	one, two, three := l.Board(1), l.Board(2), l.Board(3)
	if !reaches(t, one, two) || !reaches(t, two, three) {
		t.Fatal("the boards don't reach each other to begin with")
	}
	if err := l.Cut(t.Context(), one); err != nil {
		t.Fatal(err)
	}
	if reaches(t, one, two) || reaches(t, three, one) {
		t.Error("a board that is cut off reaches another")
	}
	if !reaches(t, two, three) {
		t.Error("a cut parts boards that are on one side of it")
	}
	if out, err := l.LAN(t.Context(), "ping", "-c1", "-W1", one.IP()); err != nil {
		t.Errorf("the laptop does not reach a board that is cut off: %s", out)
	}
	if err := l.Heal(t.Context()); err != nil {
		t.Fatal(err)
	}
	if !reaches(t, one, two) {
		t.Error("not healed")
	}
}

func TestKillTakesAllAndStartContainerdBringsItBack(t *testing.T) {
	l := newLab(t)
	if err := l.Bare(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	b := l.Board(1)
	pid, err := b.PID("containerd")
	if err != nil {
		t.Fatal(err)
	}
	if err := b.Kill(t.Context()); err != nil {
		t.Fatal(err)
	}
	if syscall.Kill(pid, 0) == nil && alive(pid) {
		t.Error("containerd outlived its board")
	}
	if err := b.StartContainerd(t.Context()); err != nil {
		t.Fatal(err)
	}
	if again, err := b.PID("containerd"); err != nil || again == pid {
		t.Errorf("containerd is process %d, %v", again, err)
	}
}

func TestABoardStartsAgainWithItsCard(t *testing.T) {
	l := newLab(t)
	l.cfg.FleetKey, l.cfg.Args = "EDGEKEY-1-A", []string{"--log-level", "debug"}
	if err := l.Bare(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	if err := l.Board(1).Kill(t.Context()); err != nil {
		t.Fatal(err)
	}
	// Another process, which knows no more than the lab's name, and whose
	// person has settings of their own. Its "edged" tells what it was given.
	t.Setenv("EDGE_FLEET_KEY", "EDGEKEY-1-B")
	bin := t.TempDir()
	fake := "#!/bin/sh\nenv | grep ^EDGE_; echo \"$@\"; exec sleep 60\n"
	if err := os.WriteFile(filepath.Join(bin, "edged"), []byte(fake), 0o755); err != nil {
		t.Fatal(err)
	}
	other, err := New(Config{Name: l.cfg.Name, Bin: bin})
	if err != nil {
		t.Fatal(err)
	}
	b := other.Board(1)
	if err := b.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	var said string
	if err := waitFor(t.Context(), 10*time.Second, func() error {
		raw, err := os.ReadFile(b.LogFile("edged"))
		if said = string(raw); err == nil && !strings.Contains(said, "--name") {
			err = errors.New("it has not spoken yet")
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(said, "--log-level debug") || strings.Contains(said, "EDGE_FLEET_KEY") {
		t.Errorf("edged was started with %s", said)
	}
	if card, err := os.ReadFile(b.cardFile()); err != nil || !strings.Contains(string(card), `fleet-key: "EDGEKEY-1-A"`) || !strings.Contains(said, "--config "+b.cardFile()) {
		t.Errorf("its card holds %q, %v", card, err)
	}
}

func TestUpSweepsWhatAnInterruptedLabLeft(t *testing.T) {
	l := newLab(t)
	if err := l.Bare(t.Context(), 2); err != nil {
		t.Fatal(err)
	}
	// As after a crash in the middle of taking it down: folders gone, the rest not.
	if err := os.RemoveAll(filepath.Join(l.runDir(), "node2")); err != nil {
		t.Fatal(err)
	}
	if err := l.Bare(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	boards, err := l.Boards()
	if err != nil || len(boards) != 1 {
		t.Errorf("%d boards, %v; want 1", len(boards), err)
	}
}

func TestLabsOfSimilarNamesLeaveEachOtherAlone(t *testing.T) {
	l := &Lab{cfg: Config{Name: "edge"}}
	for name, ours := range map[string]bool{"edge-lan": true, "edge-12": true, "edge-two-lan": false, "edge-two-1": false} {
		if l.ownsNamespace(name) != ours {
			t.Errorf("%s: ours is %v", name, !ours)
		}
	}
}
