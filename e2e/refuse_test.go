package e2e

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/edgeswarm/edgeswarm/identity"
	"github.com/edgeswarm/edgeswarm/internal/lab"
)

// TestBadInput: what must be refused is refused with one clear line and an
// exit code, and leaves everything as it was.
func TestBadInput(t *testing.T) {
	t.Parallel()
	f := formed(t, 2)
	f.load(1, "1")
	f.create("web", "--replicas", "2", "web:1")
	f.runs(1, "web", 2)
	f.must(1, "node", "update", "--name", "twin", "board1")
	f.must(1, "node", "update", "--name", "twin", "board2")
	for _, noun := range []string{"secret", "config"} {
		if s := f.feed(1, []byte("x"), noun, "create", "held-"+noun); s.Code != 0 {
			t.Fatal(s.Err)
		}
	}
	f.create("user", "--replicas", "0", "--secret", "held-secret", "--config", "held-config", "web:1")
	f.create("other", "--replicas", "0", "--secret", "held-secret", "web:1")
	before, state := f.allProcesses(1, 2), f.allThatIs()

	const nowhere = "localhost:1/none:1" // a registry that refuses at once
	for _, bad := range []struct {
		say  string
		args []string
	}{
		{nowhere, []string{"service", "create", "--name", "new", nowhere}},
		{nowhere, []string{"service", "update", "--image", nowhere, "web"}},
		{nowhere, []string{"image", "pull", "--quiet", nowhere}},
		{"web", []string{"service", "create", "--name", "web", "web:1"}},
		{"DNS label", []string{"service", "create", "--name", "we_b", "web:1"}},
		{"below 0", []string{"service", "create", "--replicas", "-1", "--name", "new", "web:1"}},
		{"below 0", []string{"service", "scale", "web=-1"}},
		{"no service", []string{"service", "scale", "nope=1"}},
		{"no service", []string{"service", "rm", "nope"}},
		{"no node", []string{"node", "inspect", "nope"}},
		{"no node", []string{"node", "rm", "nope"}},
		{"twin", []string{"node", "update", "--availability", "drain", "twin"}},
		{"twin", []string{"node", "rm", "--force", "twin"}},
		{`unknown key "zone"`, []string{"service", "create", "--name", "new", "--constraint", "zone==attic", "web:1"}},
		{`unknown key "node.zone"`, []string{"service", "update", "--constraint-add", "node.zone==attic", "web"}},
		{"spread=node.labels.zone", []string{"service", "create", "--name", "new", "--placement-pref", "binpack=node.id", "web:1"}},
		{"Resources.Limits.MemoryBytes: the limit is below the reservation", []string{"service", "create", "--name", "new", "--limit-memory", "32m", "--reserve-memory", "64m", "web:1"}},
		{"Resources.Limits.NanoCPUs: the limit is below the reservation", []string{"service", "update", "--limit-cpu", "0.5", "--reserve-cpu", "1", "web"}},
		{"--device /etc/passwd", []string{"service", "create", "--name", "new", "--device", "/etc/passwd", "web:1"}},
		{"is not a path below /dev", []string{"service", "update", "--device-add", "/dev/../etc/passwd", "web"}},
		{"order stop-first", []string{"service", "create", "--name", "new", "--update-order", "start-first", "--publish", "mode=host,target=80,published=18081", "web:1"}},
		{"order stop-first", []string{"service", "update", "--rollback-order", "start-first", "--publish-add", "mode=host,target=80,published=18081", "web"}},
		{"--generic-resource gpu=UUID1", []string{"service", "create", "--name", "new", "--generic-resource", "gpu=UUID1", "web:1"}},
		{"GenericResources: \"gpu\" and \"GPU\"", []string{"service", "update", "--generic-resource-add", "gpu=1", "--generic-resource-add", "GPU=1", "web"}},
		{"both added and removed", []string{"service", "update", "--generic-resource-add", "gpu=1", "--generic-resource-rm", "gpu", "web"}},
		{"--max-concurrent does not go with", []string{"service", "create", "--name", "new", "--max-concurrent", "2", "web:1"}},
		{"is in use by other, user", []string{"secret", "rm", "held-secret"}},
		{"is in use by user", []string{"config", "rm", "held-config"}},
		{"member", []string{"init"}},
		{"member", []string{"join", "--token", f.token(1, "worker"), f.board(2).IP()}},
	} {
		f.refused(1, bad.say, bad.args...)
	}
	f.refusesArchives()

	if now := f.allThatIs(); now != state {
		t.Errorf("refused commands changed something:\n%s\nwas:\n%s", now, state)
	}
	f.part("garbage", (*fleet).bearsGarbage)
	f.untouched(before, 1, 2)
	f.part("edged", (*fleet).edgedRefuses)
	f.part("a stranger's key", (*fleet).keepsStrangersOut)
}

// allThatIs is what the fleet holds, in a form to compare.
func (f *fleet) allThatIs() string {
	f.t.Helper()
	return f.must(1, "service", "inspect", "web") +
		f.must(1, "service", "ls", "--format", "json") +
		f.must(1, "node", "ls", "--format", "{{.ID}} {{.Hostname}} {{.Status}} {{.Availability}} {{.Role}}") +
		f.must(1, "image", "ls", "--format", "json") +
		f.must(1, "secret", "ls", "--format", "{{.ID}} {{.Name}}") + f.must(1, "config", "ls", "--format", "{{.ID}} {{.Name}}") +
		f.must(1, "service", "ps", "--no-trunc", "--format", "{{.ID}} {{.Node}} {{.DesiredState}} {{.Attempt}}", "web")
}

// refusesArchives feeds image load with what is no image.
func (f *fleet) refusesArchives() {
	f.t.Helper()
	whole := webImage(f.t, "9")
	damaged := bytes.Clone(whole)
	copy(damaged[len(damaged)/2:], "something else than there was") // inside the layer
	var zipped bytes.Buffer
	z := gzip.NewWriter(&zipped)
	if _, err := z.Write([]byte("hello")); err != nil || z.Close() != nil {
		f.t.Fatal("gzip failed")
	}
	for what, archive := range map[string][]byte{
		"nothing": nil, "a text": []byte("hello"), "a zipped text": zipped.Bytes(), "a folder's beginning": whole[:700],
		"half an image": whole[:len(whole)/2], "an image without its end": whole[:len(whole)-4096], "an image that was changed": damaged,
	} {
		s := f.feed(1, archive, "image", "load", "--quiet")
		f.oneLine(s, "image", "image", "load", "<", what)
	}
}

// bearsGarbage sends datagrams of noise to the boards' one port.
func (f *fleet) bearsGarbage() {
	f.t.Helper()
	for i := 1; i <= f.n; i++ {
		for _, size := range []int{1, 60, 1200} {
			_, err := f.lab.LAN(f.t.Context(), "bash", "-c", fmt.Sprintf("exec dd if=/dev/urandom bs=%d count=500 >/dev/udp/%s/2377", size, f.board(i).IP()))
			f.do(err)
		}
	}
	f.must(2, "service", "update", "--detach", "--label-add", "a=b", "web")
	f.must(2, "service", "update", "--detach", "--label-rm", "a", "web")
}

// edgedRefuses starts edged with what it can't work with: it ends at once with
// one line.
func (f *fleet) edgedRefuses() {
	versions := map[string]string{"999\n": "", "1.5\n": "", "\x00\x00": "", "": ""} // what VERSION says, and where
	for text := range versions {
		versions[text] = f.t.TempDir()
		f.do(os.WriteFile(filepath.Join(versions[text], "VERSION"), []byte(text), 0o600))
	}
	good := identity.GenerateFleetKey().Reveal()
	for _, bad := range []struct {
		say  string
		args []string
	}{
		{"fleet-key", []string{"--fleet-key", "secret"}},
		{"fleet-key", []string{"--fleet-key", good[:len(good)-4]}},
		{"fleet-key", []string{"--fleet-key", "EDGEKEY-1-" + strings.Repeat("A", len(good)-len("EDGEKEY-1-"))}},
		{"join-token", []string{"--join-token", "EDGETKN-1-AAAA-BBBB", "--join-addr", "10.77.0.1"}},
		{"newer edged", []string{"--state-dir", versions["999\n"]}},
		{"no version", []string{"--state-dir", versions["1.5\n"]}},
		{"no version", []string{"--state-dir", versions["\x00\x00"]}},
		{"no version", []string{"--state-dir", versions[""]}},
		{"another edged", []string{"--state-dir", filepath.Join(f.board(1).StateDir(), "edged")}},
		{"--colour", []string{"--colour", "red"}},
	} {
		dir := f.t.TempDir()
		ctx, cancel := context.WithTimeout(f.t.Context(), soon)
		args := append([]string{"--run-dir", dir, "--state-dir", filepath.Join(dir, "state"), "--listen", "127.0.0.1:0", "--config", "/dev/null"}, bad.args...)
		out, err := exec.CommandContext(ctx, filepath.Join(bin, "edged"), args...).CombinedOutput()
		cancel()
		var exit *exec.ExitError
		last := string(out)
		if i := strings.Index(last, "edged: "); i >= 0 {
			last = last[i:]
		}
		if !errors.As(err, &exit) || exit.ExitCode() < 1 || strings.Count(last, "\n") != 1 || !strings.HasPrefix(last, "edged: ") || !strings.Contains(last, bad.say) {
			f.t.Errorf("edged %s: %v, want one line that speaks of %q: %q", strings.Join(bad.args, " "), err, bad.say, out)
		}
	}
	for text, dir := range versions {
		if raw, err := os.ReadFile(filepath.Join(dir, "VERSION")); err != nil || string(raw) != text {
			f.t.Errorf("VERSION said %q and says %q: %v", text, raw, err)
		}
		if files, err := os.ReadDir(dir); err != nil || len(files) > 2 { // VERSION and the lock
			f.t.Errorf("a state directory of version %q was touched: %v %v", text, files, err)
		}
	}
}

// keepsStrangersOut puts a board with another key on the LAN. It founds a fleet
// of its own, for it proves nothing to this one.
func (f *fleet) keepsStrangersOut() {
	l, err := lab.New(lab.Config{Name: f.name, Bin: bin, FleetKey: identity.GenerateFleetKey().Reveal()})
	f.do(err)
	f.do(l.Board(3).Plug(f.t.Context()))
	f.do(l.Board(3).Start(f.t.Context()))
	ours := f.must(1, "status", "--format", "{{.FleetID}}")
	f.until("the stranger has a fleet of its own", patient, func() error {
		s := f.try(3, "status", "--format", "{{.FleetID}}")
		if s.Out == ours {
			f.t.Fatal("a board with another key is in the fleet")
		}
		if s.Code != 0 || strings.TrimSpace(s.Out) == "" {
			return fmt.Errorf("%s%s", s.Out, s.Err)
		}
		return nil
	})
	for board, want := range map[int]int{1: 2, 2: 2, 3: 1} {
		list, err := rows[nodeRow](f, board, "node", "ls")
		f.do(err)
		if len(list) != want {
			f.t.Errorf("board%d counts %d nodes of its fleet, want %d: %+v", board, len(list), want, list)
		}
	}
}
