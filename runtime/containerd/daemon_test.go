package containerd

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/platforms"
	"github.com/opencontainers/go-digest"
	specs "github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sys/unix"

	"github.com/edgeswarm/edgeswarm/api"
)

// daemonDirs is on a real disk: overlayfs wants one.
const daemonDirs = "/var/tmp/edgeswarm-containerd-"

// daemon is a containerd of the tests' own, apart from the machine's.
type daemon struct {
	dir, socket string
	init        []string // the program that reaps in a container
	env         []string // beside the tests' own
	cmd         *exec.Cmd
	log         bytes.Buffer
}

func startDaemon(t testing.TB, env ...string) *daemon {
	t.Helper()
	clearInterrupted(t)
	dir := daemonDirs + strconv.Itoa(os.Getpid())
	if err := os.MkdirAll(dir, 0o711); err != nil {
		t.Fatal(err)
	}
	d := &daemon{dir: dir, socket: filepath.Join(dir, "c.sock"), env: env}
	config := fmt.Sprintf(`version = 2
root = %q
state = %q
disabled_plugins = ["io.containerd.grpc.v1.cri", "io.containerd.internal.v1.opt", "io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.zfs", "io.containerd.snapshotter.v1.devmapper", "io.containerd.snapshotter.v1.aufs"]
[grpc]
address = %q
`, filepath.Join(dir, "root"), filepath.Join(dir, "state"), d.socket)
	if err := os.WriteFile(filepath.Join(dir, "config.toml"), []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	d.init = []string{buildInit(t, dir)}
	t.Cleanup(func() {
		d.kill()
		clearDir(t, dir)
	})
	d.start(t)
	return d
}

// buildInit builds the program that reaps.
func buildInit(t testing.TB, dir string) string {
	t.Helper()
	program := filepath.Join(dir, "init")
	cmd := exec.Command("go", "build", "-o", program, "./testdata/init")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("build the program that reaps: %v\n%s", err, out)
	}
	return program
}

func (d *daemon) start(t testing.TB) {
	t.Helper()
	d.cmd = exec.Command("containerd", "--config", filepath.Join(d.dir, "config.toml"))
	d.cmd.Stderr, d.cmd.Env = &d.log, append(os.Environ(), d.env...)
	d.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := d.cmd.Start(); err != nil {
		t.Fatalf("start containerd (is it installed?): %v", err)
	}
}

// kill ends the daemon at once. Its shims go on.
func (d *daemon) kill() {
	_ = d.cmd.Process.Kill()
	_ = d.cmd.Wait()
}

// reboot ends the daemon and all it runs, loses what is on tmpfs, and comes up
// again.
func (d *daemon) reboot(t testing.TB) {
	t.Helper()
	d.kill()
	clearProcesses(t, d.dir)
	if err := os.RemoveAll(filepath.Join(d.dir, "state")); err != nil {
		t.Fatal(err)
	}
	d.start(t)
}

func (d *daemon) awaitUp(t testing.TB, driver *Driver) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		_, err := driver.Info(ctx)
		if err == nil {
			return
		}
		select {
		case <-ctx.Done():
			d.kill()
			t.Fatalf("containerd does not come up: %v\n%s", err, d.log.String())
		case <-tick.C:
		}
	}
}

// driver makes one that is closed at the end of the test.
func (d *daemon) driver(t testing.TB) *Driver {
	t.Helper()
	driver := d.open(t)
	t.Cleanup(func() { _ = driver.Close() })
	return driver
}

func (d *daemon) open(t testing.TB) *Driver {
	t.Helper()
	driver, err := New(Config{
		Socket: d.socket, CgroupRoot: "/" + filepath.Base(d.dir), RunDir: filepath.Join(d.dir, "run"), Init: d.init,
		Logger: slog.New(slog.NewTextHandler(t.Output(), nil)),
	})
	if err != nil {
		t.Fatal(err)
	}
	return driver
}

// clearInterrupted takes down what test runs that were killed left behind.
func clearInterrupted(t testing.TB) {
	t.Helper()
	dirs, err := filepath.Glob(daemonDirs + "*")
	if err != nil {
		t.Fatal(err)
	}
	for _, dir := range dirs {
		pid, err := strconv.Atoi(strings.TrimPrefix(dir, daemonDirs))
		if err != nil || syscall.Kill(pid, 0) == nil && pid != os.Getpid() {
			continue // of a run that is under way
		}
		clearDir(t, dir)
	}
}

// clearDir takes down all that belongs to a daemon's directory, and removes it.
func clearDir(t testing.TB, dir string) {
	clearProcesses(t, dir)
	if err := os.RemoveAll(dir); err != nil {
		t.Errorf("remove %s: %v", dir, err)
	}
	groups, err := filepath.Glob("/sys/fs/cgroup/*/" + filepath.Base(dir))
	if err != nil {
		t.Fatal(err)
	}
	for _, root := range append(groups, "/sys/fs/cgroup/"+filepath.Base(dir)) {
		var all []string
		_ = filepath.WalkDir(root, func(path string, e os.DirEntry, err error) error {
			if err == nil && e.IsDir() {
				all = append(all, path)
			}
			return nil
		})
		for _, path := range slices.Backward(all) {
			_ = os.Remove(path)
		}
	}
}

// clearProcesses ends the shims of a daemon's directory, the containers' processes
// with them, and unmounts what they had mounted.
func clearProcesses(t testing.TB, dir string) {
	procs, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	doomed := map[int]bool{}
	for _, p := range procs {
		line, err := os.ReadFile(p)
		if err != nil || !bytes.Contains(line, []byte(dir+"/")) {
			continue
		}
		if pid, err := strconv.Atoi(filepath.Base(filepath.Dir(p))); err == nil && pid != os.Getpid() {
			doomed[pid] = true
		}
	}
	for _, p := range procs { // children, while they still have their parent
		pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(p)))
		stat, err := os.ReadFile(filepath.Join(filepath.Dir(p), "stat"))
		if err != nil {
			continue
		}
		fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
		if parent, _ := strconv.Atoi(fields[1]); doomed[parent] && pid != os.Getpid() {
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
	}
	for pid := range doomed {
		_ = syscall.Kill(pid, syscall.SIGKILL)
	}
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(mounts)) {
		if at := strings.Fields(line)[4]; strings.HasPrefix(at, dir+"/") {
			_ = unix.Unmount(at, unix.MNT_DETACH)
		}
	}
}

// busybox is a layer with busybox-static, its commands, and a few users.
func busybox(t testing.TB) []byte {
	t.Helper()
	program, err := os.ReadFile("/bin/busybox")
	if err != nil {
		t.Fatalf("busybox-static must be installed: %v", err)
	}
	var layer bytes.Buffer
	w := tar.NewWriter(&layer)
	add := func(h tar.Header, body string) {
		h.Size = int64(len(body))
		if err := w.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte(body)); err != nil {
			t.Fatal(err)
		}
	}
	for _, dir := range []string{"bin/", "etc/", "tmp/", "home/web/"} {
		add(tar.Header{Typeflag: tar.TypeDir, Name: dir, Mode: 0o755}, "")
	}
	add(tar.Header{Typeflag: tar.TypeReg, Name: "bin/busybox", Mode: 0o755}, string(program))
	for _, name := range []string{"sh", "cat", "echo", "sleep", "hostname", "dd", "id", "pwd", "env", "stty", "grep", "ls", "mount", "kill", "yes", "head", "stat", "mkdir"} {
		add(tar.Header{Typeflag: tar.TypeSymlink, Name: "bin/" + name, Linkname: "busybox", Mode: 0o777}, "")
	}
	add(tar.Header{Typeflag: tar.TypeReg, Name: "bin/garbage", Mode: 0o755}, "\x00\x01\x02")
	add(tar.Header{Typeflag: tar.TypeReg, Name: "etc/passwd", Mode: 0o644}, "root:x:0:0:root:/root:/bin/sh\nweb:x:1000:1001:web:/home/web:/bin/sh\n")
	add(tar.Header{Typeflag: tar.TypeReg, Name: "etc/group", Mode: 0o644}, "root:x:0:\nvideo:x:44:web\nstaff:x:50:\n")
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return layer.Bytes()
}

// image puts an image of one layer into the daemon's content store, as package
// image does, and answers the digest of an index with this board's platform
// and another's. The configuration is an ocispec.ImageConfig, or one with
// Docker's additions.
func (d *daemon) image(t testing.TB, driver *Driver, config any) api.ImageID {
	t.Helper()
	layer := busybox(t)
	here := platforms.DefaultSpec()
	blob := d.put(t, driver, ocispec.MediaTypeImageLayer, layer)
	conf := d.putJSON(t, driver, ocispec.MediaTypeImageConfig, struct {
		ocispec.Platform
		Config any            `json:"config"`
		RootFS ocispec.RootFS `json:"rootfs"`
	}{here, config, ocispec.RootFS{Type: "layers", DiffIDs: []digest.Digest{digest.FromBytes(layer)}}})
	manifest := d.putJSON(t, driver, ocispec.MediaTypeImageManifest, ocispec.Manifest{
		Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest, Config: conf, Layers: []ocispec.Descriptor{blob},
	})
	manifest.Platform = &here
	other := ocispec.Descriptor{
		MediaType: ocispec.MediaTypeImageManifest, Digest: digest.FromString("not on this board"), Size: 1,
		Platform: &ocispec.Platform{OS: "linux", Architecture: "s390x"},
	}
	index := d.putJSON(t, driver, ocispec.MediaTypeImageIndex, ocispec.Index{
		Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageIndex, Manifests: []ocispec.Descriptor{other, manifest},
	})
	return api.ImageID(index.Digest)
}

func (d *daemon) putJSON(t testing.TB, driver *Driver, mediaType string, v any) ocispec.Descriptor {
	t.Helper()
	raw, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return d.put(t, driver, mediaType, raw)
}

func (d *daemon) put(t testing.TB, driver *Driver, mediaType string, raw []byte) ocispec.Descriptor {
	t.Helper()
	desc := ocispec.Descriptor{MediaType: mediaType, Digest: digest.FromBytes(raw), Size: int64(len(raw))}
	err := content.WriteBlob(t.Context(), driver.Client().ContentStore(), desc.Digest.String(), bytes.NewReader(raw), desc,
		content.WithLabels(map[string]string{gcRoot: "test"}))
	if err != nil {
		t.Fatal(errors.Join(errors.New("put blob"), err))
	}
	return desc
}
