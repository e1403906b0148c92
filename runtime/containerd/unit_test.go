package containerd

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sys/unix"

	"github.com/edgeswarm/edgeswarm/api"
	"github.com/edgeswarm/edgeswarm/runtime"
)

func TestNoDaemon(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "none.sock")
	d, err := New(Config{Socket: socket})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	ctx := t.Context()
	calls := map[string]func() error{
		"info":    func() error { _, err := d.Info(ctx); return err },
		"prepare": func() error { return d.Prepare(ctx, runtime.Container{ID: "a.1"}) },
		"start":   func() error { _, err := d.Start(ctx, "a.1"); return err },
		"wait":    func() error { _, err := d.Wait(ctx, "a.1"); return err },
		"stop":    func() error { return d.Stop(ctx, "a.1", "", time.Second) },
		"remove":  func() error { return d.Remove(ctx, "a.1") },
		"list":    func() error { _, err := d.List(ctx); return err },
		"exec":    func() error { _, err := d.Exec(ctx, "a.1", runtime.Process{}, runtime.Streams{}); return err },
	}
	for name, call := range calls {
		err := call()
		if !errors.Is(err, runtime.ErrUnavailable) || !strings.Contains(err.Error(), socket) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestConfigIsChecked(t *testing.T) {
	for _, cfg := range []Config{{Socket: "relative.sock"}, {CgroupRoot: "relative"}} {
		if _, err := New(cfg); err == nil {
			t.Errorf("%+v was taken", cfg)
		}
	}
}

// TestUserFilesStayInside: an image must not read the board's files.
func TestUserFilesStayInside(t *testing.T) {
	board := t.TempDir()
	root := filepath.Join(board, "root")
	outside := "evil:x:77:77::/:/bin/sh\n"
	mustWrite(t, filepath.Join(board, "passwd"), outside)
	if err := os.MkdirAll(filepath.Join(root, "etc"), 0o755); err != nil {
		t.Fatal(err)
	}
	passwd := filepath.Join(root, "etc", "passwd")
	for _, target := range []string{filepath.Join(board, "passwd"), "../../passwd", "/../passwd", "/proc/self/cwd/passwd"} {
		if err := errors.Join(remove(passwd), os.Symlink(target, passwd)); err != nil {
			t.Fatal(err)
		}
		if id, err := lookUp(root, "evil", nil); err == nil {
			t.Errorf("link to %s: found %+v outside", target, id)
		}
	}
	// An absolute link means the image's own root.
	mustWrite(t, filepath.Join(root, "real"), "good:x:5:6::/data:/bin/sh\n")
	if err := errors.Join(remove(passwd), os.Symlink("/real", passwd)); err != nil {
		t.Fatal(err)
	}
	if id, err := lookUp(root, "good", nil); err != nil || id.user.UID != 5 || id.user.GID != 6 || id.home != "/data" {
		t.Errorf("link inside: %+v, %v", id, err)
	}
	// What is no file must not hold the driver up.
	if err := errors.Join(remove(passwd), unix.Mkfifo(passwd, 0o600)); err != nil {
		t.Fatal(err)
	}
	if _, err := lookUp(root, "good", nil); !errors.Is(err, runtime.ErrInvalid) {
		t.Errorf("FIFO: %v", err)
	}
	if id, err := lookUp(t.TempDir(), "12:34", []string{"56"}); err != nil || id.user.UID != 12 || id.user.GID != 34 || !slices.Contains(id.user.AdditionalGids, 56) {
		t.Errorf("numbers without files: %+v, %v", id, err)
	}
}

func mustWrite(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func remove(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}

func TestArguments(t *testing.T) {
	image := ocispec.ImageConfig{Entrypoint: []string{"entry", "-x"}, Cmd: []string{"cmd"}}
	for _, c := range []struct {
		spec  api.ContainerSpec
		image ocispec.ImageConfig
		want  string
	}{
		{api.ContainerSpec{}, image, "entry -x cmd"},
		{api.ContainerSpec{Args: []string{"mine"}}, image, "entry -x mine"},
		{api.ContainerSpec{Command: []string{"other"}}, image, "other"},
		{api.ContainerSpec{Command: []string{"other"}, Args: []string{"mine"}}, image, "other mine"},
		{api.ContainerSpec{Args: []string{"mine"}}, ocispec.ImageConfig{Cmd: []string{"cmd"}}, "mine"},
		{api.ContainerSpec{}, ocispec.ImageConfig{}, ""},
	} {
		got, err := arguments(c.spec, c.image)
		if strings.Join(got, " ") != c.want || (err != nil) != (c.want == "") || err != nil && !errors.Is(err, runtime.ErrInvalid) {
			t.Errorf("%+v on %+v: %q, %v; want %q", c.spec, c.image, got, err, c.want)
		}
	}
}

func TestOverlayEnv(t *testing.T) {
	got := overlayEnv([]string{"A=1", "B=2"}, []string{"B=3", "C=4=5", "AB=0"}, []string{"A", "NONE", "C="})
	if want := []string{"B=3", "C=", "AB=0"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestMountsAreChecked(t *testing.T) {
	var d Driver
	for name, m := range map[string]api.Mount{
		"relative target": {Type: api.MountTmpfs, Target: "data"},
		"root":            {Type: api.MountTmpfs, Target: "/x/.."},
		"relative source": {Type: api.MountBind, Source: "data", Target: "/data"},
		"missing source":  {Type: api.MountBind, Source: "/no/such/source", Target: "/data"},
		"unresolved":      {Type: api.MountVolume, Source: "data", Target: "/data"},
	} {
		if _, err := d.mounts(runtime.Container{Mounts: []api.Mount{m}}); !errors.Is(err, runtime.ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
	all, err := d.mounts(runtime.Container{Mounts: []api.Mount{{Type: api.MountTmpfs, Target: "/dev/shm", TmpfsOptions: &api.TmpfsOptions{SizeBytes: 1 << 30}}}})
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, m := range all {
		if m.Destination == "/dev/shm" {
			n++
		}
	}
	if n != 1 {
		t.Errorf("/dev/shm is mounted %d times", n)
	}
}

func TestCgroupVersions(t *testing.T) {
	root := t.TempDir()
	for _, dir := range []string{"memory/edgeswarm/a.1", "edgeswarm/a.1", "cpu"} {
		if err := os.MkdirAll(filepath.Join(root, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	mustWrite(t, filepath.Join(root, "memory/edgeswarm/a.1/memory.oom_control"), "oom_kill_disable 0\nunder_oom 0\noom_kill 2\n")
	mustWrite(t, filepath.Join(root, "edgeswarm/a.1/memory.events"), "low 0\nhigh 0\nmax 31\noom 1\noom_kill 0\n")
	mustWrite(t, filepath.Join(root, "cgroup.controllers"), "cpuset cpu io pids\n")
	v1, v2 := cgroups{root: root}, cgroups{root: root, v2: true}
	if !v1.oomKilled("/edgeswarm/a.1") || v2.oomKilled("/edgeswarm/a.1") || v1.oomKilled("/edgeswarm/gone.1") {
		t.Error("out of memory is read wrong")
	}
	mustWrite(t, filepath.Join(root, "edgeswarm/a.1/memory.events"), "max 31\noom 1\noom_kill 1\noom_group_kill 0\n")
	if !v2.oomKilled("/edgeswarm/a.1") {
		t.Error("out of memory of version 2 is not seen")
	}
	if !v1.has("cpu") || !v1.has("memory") || v1.has("pids") || !v2.has("pids") || v2.has("memory") {
		t.Error("controllers are read wrong")
	}
	if v1.limitsSwap() || !v2.limitsSwap() {
		t.Error("swap accounting is read wrong")
	}
}

// TestLimitsAreDiscardedWithoutController: a Raspberry Pi boots without the
// memory controller unless told otherwise.
func TestLimitsAreDiscardedWithoutController(t *testing.T) {
	d := &Driver{cfg: Config{}.withDefaults(), cgroups: cgroups{root: t.TempDir()}}
	d.log = d.cfg.Logger
	r := d.resources(runtime.Container{Limits: api.Resources{MemoryBytes: 1 << 20, NanoCPUs: 1e9}})
	if r.Memory != nil || r.CPU != nil || r.Pids != nil {
		t.Errorf("limits %+v without a controller", r)
	}
	if len(r.Devices) != 1 || r.Devices[0].Allow {
		t.Errorf("devices %+v", r.Devices)
	}
}
