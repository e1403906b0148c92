package agent

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/edgeswarm/edgeswarm/api"
)

func TestDiskRemembers(t *testing.T) {
	dir := t.TempDir()
	d, err := openDisk(dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	c, err := set{}.apply(&api.Assignment{Full: true, Next: api.SetID{Epoch: 1, Seq: 9}, Set: []api.Item{{Task: task("a")}, {Task: task("b")}}})
	if err != nil {
		t.Fatal(err)
	}
	if err := d.saveSet(c); err != nil {
		t.Fatal(err)
	}
	next, err := c.next.apply(&api.Assignment{
		Previous: c.next.id, Next: api.SetID{Epoch: 1, Seq: 4},
		Set: []api.Item{{Peer: &api.Peer{ID: "n"}}}, Removed: []api.ItemKey{{Kind: "task", Key: "a"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := d.saveSet(next); err != nil {
		t.Fatal(err)
	}
	final := api.TaskStatus{State: api.TaskComplete, Attempt: 3, Exhausted: true}
	if err := d.saveRecord("b", record{Attempt: 3, Streak: 2, Final: &final}); err != nil {
		t.Fatal(err)
	}
	if err := d.saveRecord("a", record{Attempt: 1}); err != nil {
		t.Fatal(err)
	}
	if err := d.dropRecord("a"); err != nil {
		t.Fatal(err)
	}
	if err := d.close(); err != nil {
		t.Fatal(err)
	}

	if d, err = openDisk(dir, nil); err != nil {
		t.Fatal(err)
	}
	defer d.close()
	s, records, err := d.load()
	if err != nil {
		t.Fatal(err)
	}
	if s.id != (api.SetID{Epoch: 1, Seq: 4}) || len(s.items) != 2 || s.task("b") == nil || len(s.peers()) != 1 {
		t.Errorf("set %+v", s)
	}
	if r := records["b"]; len(records) != 1 || r.Attempt != 3 || r.Streak != 2 || r.Final.State != api.TaskComplete {
		t.Errorf("records %+v", records)
	}
}

func TestStateThatCantBeRead(t *testing.T) {
	for name, c := range map[string]struct {
		spoil func(t *testing.T, dir string)
		want  string
	}{
		"newer version": {func(t *testing.T, dir string) { write(t, dir, "VERSION", "2\n") }, "install the newer edged again"},
		"no version":    {func(t *testing.T, dir string) { write(t, dir, "VERSION", "x\n") }, "does not hold a version"},
		"damaged":       {func(t *testing.T, dir string) { write(t, dir, "agent.db", strings.Repeat("garbage ", 4096)) }, "agent.db"},
		"in use": {func(t *testing.T, dir string) {
			d, err := openDisk(dir, nil)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { d.close() })
		}, "another edged runs"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			c.spoil(t, dir)
			d, err := openDisk(dir, nil)
			if err == nil {
				d.close()
				t.Fatal("opened")
			}
			if !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "\n") {
				t.Errorf("error %q does not say %q in one line", err, c.want)
			}
		})
	}
}

func write(t *testing.T, dir, name, text string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestRealFullDisk fills a real file system, as opposed to a fault put in, and
// empties it again.
func TestRealFullDisk(t *testing.T) {
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=256k"); err != nil {
		t.Fatalf("mount a small file system (needs root): %v", err)
	}
	t.Cleanup(func() { unix.Unmount(dir, unix.MNT_DETACH) })
	d, err := openDisk(dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer d.close()
	if err := d.saveRecord("kept", record{Attempt: 1}); err != nil {
		t.Fatal(err)
	}
	fill := filepath.Join(dir, "fill")
	if err := os.WriteFile(fill, make([]byte, 1<<20), 0o600); err == nil {
		t.Fatal("the file system does not get full")
	}
	big := record{Attempt: 2, Final: &api.TaskStatus{Message: strings.Repeat("x", 100<<10)}}
	for range 3 {
		if err := d.saveRecord("big", big); err == nil {
			t.Fatal("a write to a full disk succeeded")
		}
	}
	if _, records, err := d.load(); err != nil || len(records) != 1 || records["kept"].Attempt != 1 {
		t.Fatalf("after writes that failed: %v, %v", records, err)
	}
	if err := os.Remove(fill); err != nil {
		t.Fatal(err)
	}
	if err := d.saveRecord("big", big); err != nil {
		t.Fatalf("with room again: %v", err)
	}
	if _, records, err := d.load(); err != nil || len(records) != 2 {
		t.Fatalf("with room again: %v, %v", records, err)
	}
}
