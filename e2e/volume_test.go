package e2e

import (
	"fmt"
	"strings"
)

// volumeRow is a line of `volume ls`.
type volumeRow struct{ Driver, Name, Node, Status, Services string }

func (f *fleet) volumes(board int, name string) ([]volumeRow, error) {
	return rows[volumeRow](f, board, "volume", "ls", "--filter", "name="+name)
}

// keepsData: a task goes back to the board that has its data, and the data is
// removed only by who says so, when nothing uses it.
func (f *fleet) keepsData() {
	f.create("db", "--mount", "type=volume,src=keep,dst=/data", "web:1")
	home := f.runs(1, "db", 1)[0].Node
	f.must(1, "task", "exec", "db.1", "sh", "-c", "echo -n kept > /data/file")
	f.until("the fleet knows where the volume is", soon, func() error {
		list, err := f.volumes(2, "keep")
		if err == nil && (len(list) != 1 || list[0] != volumeRow{"local", "keep", home, "Ready", "db"}) {
			err = fmt.Errorf("%+v", list)
		}
		return err
	})
	path := strings.TrimSpace(f.must(2, "volume", "inspect", "--format", "{{.NodeName}} {{.Mountpoint}}", "keep"))
	if name, dir, _ := strings.Cut(path, " "); name != home || !strings.HasSuffix(dir, "/volumes/keep") {
		f.t.Errorf("the volume is at %q", path)
	}
	refused := func(say string, args ...string) {
		f.t.Helper()
		if s := f.try(2, append([]string{"volume", "rm"}, args...)...); s.Code != 1 || s.Out != "" || !strings.Contains(s.Err, say) || strings.Count(s.Err, "\n") != 1 {
			f.t.Errorf("volume rm %v: exit %d, %q, %q; want %q", args, s.Code, s.Out, s.Err, say)
		}
	}
	refused("named by db", "keep")
	refused("in use by db.1", "--force", "keep")
	refused("no board holds", "nope")
	f.create("crowd", "--replicas", "3", "--constraint", "node.hostname=="+home, "web:1")
	f.runs(1, "crowd", 3)
	f.must(1, "service", "scale", "--detach", "db=0")
	f.runs(1, "db", 0)
	f.must(1, "service", "scale", "--detach", "db=1")
	if back := f.runs(1, "db", 1)[0].Node; back != home {
		f.t.Errorf("the task went to %s, and its data is on %s", back, home)
	}
	if got := f.must(1, "task", "exec", "db.1", "cat", "/data/file"); got != "kept" {
		f.t.Errorf("the volume holds %q", got)
	}
	f.remove("crowd")
	f.remove("db")
	f.until("the volume can be removed", soon, func() error {
		if s := f.try(2, "volume", "rm", "keep"); s.Code != 0 {
			return fmt.Errorf("%s", s.Err)
		}
		return nil
	})
	f.until("the volume is gone", soon, func() error {
		list, err := f.volumes(1, "keep")
		if err == nil && len(list) > 0 {
			err = fmt.Errorf("%+v", list)
		}
		return err
	})
}
