package containerd

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sys/unix"

	"github.com/edgeswarm/edgeswarm/api"
	"github.com/edgeswarm/edgeswarm/runtime"
)

// rig is a daemon, a driver on it, and an image with a configuration.
type rig struct {
	*testing.T
	daemon *daemon
	driver *Driver
	image  api.ImageID
}

func newRig(t *testing.T, env ...string) *rig {
	d := startDaemon(t, env...)
	r := &rig{T: t, daemon: d, driver: d.open(t)}
	t.Cleanup(func() { _ = r.driver.Close() })
	d.awaitUp(t, r.driver)
	r.image = d.image(t, r.driver, ocispec.ImageConfig{
		Entrypoint: []string{"/bin/sh", "-c"}, Cmd: []string{"echo from the image"}, Env: []string{"KIND=image", "KEPT=yes", "DROPPED=yes"},
		WorkingDir: "/home/web", User: "web", StopSignal: "SIGUSR1",
	})
	return r
}

func (r *rig) context() context.Context {
	ctx, cancel := context.WithTimeout(r.Context(), 30*time.Second)
	r.Cleanup(cancel)
	return ctx
}

func (r *rig) container(change func(*runtime.Container)) runtime.Container {
	task := api.NewID[api.TaskID]()
	c := runtime.Container{ID: runtime.ContainerID(task, 1), Task: task, Attempt: 1, Image: r.image, Spec: api.ContainerSpec{Image: "test"}, Hostname: "web-1"}
	if change != nil {
		change(&c)
	}
	return c
}

// script is a container that runs shell text.
func (r *rig) script(text string, change func(*runtime.Container)) runtime.Container {
	return r.container(func(c *runtime.Container) {
		c.Spec.Args = []string{text}
		if change != nil {
			change(c)
		}
	})
}

func (r *rig) prepare(c runtime.Container) {
	r.Helper()
	if err := r.driver.Prepare(r.context(), c); err != nil {
		r.Fatal(err)
	}
	r.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		defer cancel()
		if err := r.driver.Remove(ctx, c.ID); err != nil {
			r.Error(err)
		}
	})
}

func (r *rig) start(c runtime.Container) (pid int) {
	r.Helper()
	r.prepare(c)
	pid, err := r.driver.Start(r.context(), c.ID)
	if err != nil {
		r.Fatal(err)
	}
	return pid
}

func (r *rig) wait(c runtime.Container) runtime.Exit {
	r.Helper()
	exit, err := r.driver.Wait(r.context(), c.ID)
	if err != nil {
		r.Fatal(err)
	}
	return exit
}

// output runs a container to its end and answers what it wrote.
func (r *rig) output(c runtime.Container) string {
	r.Helper()
	c.Stdout = filepath.Join(r.TempDir(), "out")
	if err := unix.Mkfifo(c.Stdout, 0o600); err != nil {
		r.Fatal(err)
	}
	reader, err := os.OpenFile(c.Stdout, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		r.Fatal(err)
	}
	defer reader.Close()
	c.Stderr = c.Stdout
	r.start(c)
	r.wait(c)
	all, err := io.ReadAll(reader)
	if err != nil {
		r.Fatal(err)
	}
	return string(all)
}

func (r *rig) wantOutput(c runtime.Container, want string) {
	r.Helper()
	if got := r.output(c); got != want {
		r.Fatalf("wrote %q, want %q", got, want)
	}
}

func (r *rig) state(c runtime.Container) runtime.Status {
	r.Helper()
	all, err := r.driver.List(r.context())
	if err != nil {
		r.Fatal(err)
	}
	for _, s := range all {
		if s.ID == c.ID {
			return s
		}
	}
	r.Fatalf("list does not show %s", c.ID)
	return runtime.Status{}
}

// TestContainer shares a daemon among what needs no daemon of its own.
func TestContainer(t *testing.T) {
	shared := newRig(t)
	for name, test := range map[string]func(*rig){
		"ImageConfiguration": testImageConfiguration, "Users": testUsers, "ReadOnly": testReadOnly, "Confinement": testConfinement,
		"Limits": testLimits, "NetworkNamespace": testNetNS, "StopSignalOfTheImage": testImageStopSignal, "ShimKilled": testShimKilled,
		"Tmpfs": testTmpfs, "LogIsGone": testLogIsGone, "NotExecutable": testNotExecutable, "OtherPlatform": testOtherPlatform,
		"ExecUser": testExecUser, "ExecTerminal": testExecTerminal, "ExecChildHoldsOutput": testExecChild, "ExecBadCommand": testExecBadCommand,
		"ExecMuchOutput": testExecMuchOutput, "Healthcheck": testHealthcheck, "ExecLeavesNothing": testExecLeavesNothing, "BadUser": testBadUser,
	} {
		t.Run(name, func(t *testing.T) {
			r := *shared
			r.T = t
			test(&r)
		})
	}
}

func testImageConfiguration(r *rig) {
	r.wantOutput(r.container(nil), "from the image\n")
	r.wantOutput(r.script(`echo "$KIND $KEPT ${DROPPED-none} $HOME $HOSTNAME"; pwd; id -un`, func(c *runtime.Container) {
		c.Spec.Env = []string{"KIND=task", "DROPPED"}
	}), "task yes none /home/web web-1\n/home/web\nweb\n")
	r.wantOutput(r.container(func(c *runtime.Container) {
		c.Spec.Command, c.Spec.Dir, c.Spec.User = []string{"/bin/pwd"}, "/made/for/it", "root"
	}), "/made/for/it\n")
}

func testUsers(r *rig) {
	for user, want := range map[string]string{
		"":            "uid=1000(web) gid=1001 groups=44(video),1001",
		"web":         "uid=1000(web) gid=1001 groups=44(video),1001",
		"1000":        "uid=1000(web) gid=1001 groups=44(video),1001",
		"root":        "uid=0(root) gid=0(root) groups=0(root)",
		"0":           "uid=0(root) gid=0(root) groups=0(root)",
		"12345":       "uid=12345 gid=0(root) groups=0(root)",
		"12345:678":   "uid=12345 gid=678 groups=678",
		"web:staff":   "uid=1000(web) gid=50(staff) groups=50(staff)",
		"nobody-here": "",
	} {
		c := r.script("id", func(c *runtime.Container) { c.Spec.User = user })
		if want == "" {
			continue // see testBadUser
		}
		got := strings.TrimSpace(r.output(c))
		if head, _, _ := strings.Cut(want, " groups"); !strings.HasPrefix(got, head) || !sameGroups(got, want) {
			r.Errorf("user %q runs as %s, want %s", user, got, want)
		}
	}
}

func sameGroups(a, b string) bool {
	set := func(s string) map[string]bool {
		_, list, _ := strings.Cut(s, " groups=")
		all := map[string]bool{}
		for _, g := range strings.Split(list, ",") {
			all[g] = true
		}
		return all
	}
	x, y := set(a), set(b)
	for g := range x {
		if !y[g] {
			return false
		}
	}
	return len(x) == len(y)
}

func testBadUser(r *rig) {
	for _, user := range []string{"nobody-here", "web:no-such-group", "-1", "4294967295"} {
		c := r.script("id", func(c *runtime.Container) { c.Spec.User = user })
		err := r.driver.Prepare(r.context(), c)
		if !errors.Is(err, runtime.ErrInvalid) || !strings.Contains(err.Error(), user) {
			r.Errorf("user %q: %v", user, err)
		}
		if _, err := r.driver.snaps.Stat(r.context(), c.ID); err == nil {
			r.Errorf("user %q: the root file system stays behind", user)
		}
	}
}

func testReadOnly(r *rig) {
	got := r.output(r.script("(echo x > /home/web/x) 2>/dev/null || echo refused; echo y > /dev/shm/y && echo shm", func(c *runtime.Container) {
		c.Spec.ReadOnly, c.Spec.User = true, "root"
	}))
	if got != "refused\nshm\n" {
		r.Fatalf("wrote %q", got)
	}
}

// testConfinement: Docker's capabilities and no more, a filter on system
// calls, nothing of the board's devices or kernel to write to.
func testConfinement(r *rig) {
	const dockers = "00000000a80425fb"
	status := "grep -E '^(Cap(Eff|Bnd)|NoNewPrivs|Seccomp):' /proc/self/status"
	root := r.output(r.script(status, func(c *runtime.Container) { c.Spec.User = "root" }))
	for _, want := range []string{"CapEff:\t" + dockers, "CapBnd:\t" + dockers, "NoNewPrivs:\t0", "Seccomp:\t2"} {
		if !strings.Contains(root, want+"\n") {
			r.Errorf("root has %q, want %q", root, want)
		}
	}
	if user := r.output(r.script(status, nil)); !strings.Contains(user, "CapEff:\t0000000000000000\n") || !strings.Contains(user, "CapBnd:\t"+dockers) {
		r.Errorf("a user has %q", user)
	}
	tries := "for f in /proc/sys/kernel/hostname /proc/sysrq-trigger /sys/kernel/profiling; do (echo x > $f) 2>/dev/null && echo wrote $f; done;" +
		"mount -t tmpfs none /tmp 2>/dev/null && echo mounted; ls /sys/firmware; cat /proc/kcore 2>/dev/null | head -c 1; ls /dev | grep -E '^(vda|sda|mem)'; echo end"
	r.wantOutput(r.script(tries, func(c *runtime.Container) { c.Spec.User = "root" }), "end\n")
}

func testLimits(r *rig) {
	c := r.script("while :; do sleep 1; done", func(c *runtime.Container) {
		c.Limits = api.Resources{NanoCPUs: 250_000_000, MemoryBytes: 32 << 20}
		c.CgroupParent = r.driver.cfg.CgroupRoot + "/sub"
	})
	r.start(c)
	files := map[string]string{"cpu/%/cpu.cfs_quota_us": "25000", "memory/%/memory.limit_in_bytes": "33554432", "pids/%/pids.max": "4096"}
	if r.driver.cgroups.v2 {
		files = map[string]string{"%/cpu.max": "25000 100000", "%/memory.max": "33554432", "%/memory.swap.max": "0", "%/pids.max": "4096"}
	}
	for file, want := range files {
		path := filepath.Join("/sys/fs/cgroup", strings.Replace(file, "%", c.CgroupParent+"/"+c.ID, 1))
		if got, err := os.ReadFile(path); err != nil || strings.TrimSpace(string(got)) != want {
			r.Errorf("%s says %q, %v; want %s", path, got, err, want)
		}
	}
}

func testNetNS(r *rig) {
	name := "edgeswarm-test-" + strconv.Itoa(os.Getpid())
	if out, err := exec.Command("ip", "netns", "add", name).CombinedOutput(); err != nil {
		r.Fatalf("make namespace: %v: %s", err, out)
	}
	r.Cleanup(func() { _ = exec.Command("ip", "netns", "del", name).Run() })
	path := "/run/netns/" + name
	var want, board unix.Stat_t
	if err := errors.Join(unix.Stat(path, &want), unix.Stat("/proc/self/ns/net", &board)); err != nil {
		r.Fatal(err)
	}
	const ask = "stat -L -c %i /proc/self/ns/net; cat /proc/sys/net/ipv4/ip_unprivileged_port_start"
	r.wantOutput(r.script(ask, func(c *runtime.Container) { c.NetNS = path }), strconv.FormatUint(want.Ino, 10)+"\n0\n")
	if got := r.output(r.script(ask, nil)); !strings.HasPrefix(got, strconv.FormatUint(board.Ino, 10)+"\n") {
		r.Errorf("without a namespace: %q, want the board's %d", got, board.Ino)
	}
	gone := r.script("true", func(c *runtime.Container) { c.NetNS = path + "-gone" })
	r.prepare(gone)
	if _, err := r.driver.Start(r.context(), gone.ID); err == nil {
		r.Error("started in a namespace that is not there")
	}
}

func testImageStopSignal(r *rig) {
	c := r.script("trap 'exit 42' USR1; echo ready > /tmp/ready; while :; do sleep 0.05; done", func(c *runtime.Container) { c.Spec.User = "root" })
	pid := r.start(c)
	r.awaitFile(pid, "/tmp/ready")
	if err := r.driver.Stop(r.context(), c.ID, "", 20*time.Second); err != nil {
		r.Fatal(err)
	}
	if exit := r.wait(c); exit.Code != 42 {
		r.Fatalf("exit %+v, want the image's stop signal to be sent", exit)
	}
}

// awaitFile waits until a container's process has made a file.
func (r *rig) awaitFile(pid int, path string) {
	r.Helper()
	for ctx := r.context(); ; {
		if _, err := os.Stat(filepath.Join("/proc", strconv.Itoa(pid), "root", path)); err == nil {
			return
		}
		select {
		case <-ctx.Done():
			r.Fatalf("%s does not appear", path)
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// testShimKilled: the container is then known to have ended, though not how.
func testShimKilled(r *rig) {
	c := r.script("while :; do sleep 1; done", nil)
	pid := r.start(c)
	shim := parent(r.T, pid)
	waited := make(chan runtime.Exit, 1)
	go func() {
		exit, err := r.driver.Wait(r.context(), c.ID)
		if err != nil {
			r.Error(err)
		}
		waited <- exit
	}()
	if err := syscall.Kill(shim, syscall.SIGKILL); err != nil {
		r.Fatal(err)
	}
	if exit := <-waited; exit.Code != exitUnknown && exit.Code != 137 {
		r.Fatalf("exit %+v, want it unknown or killed", exit)
	}
	if s := r.state(c); s.State != runtime.Exited {
		r.Fatalf("list shows %+v", s)
	}
}

func parent(t *testing.T, pid int) int {
	t.Helper()
	stat, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "stat"))
	if err != nil {
		t.Fatal(err)
	}
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	ppid, err := strconv.Atoi(fields[1])
	if err != nil {
		t.Fatal(err)
	}
	return ppid
}

func testTmpfs(r *rig) {
	got := r.output(r.script("grep ' /a' /proc/mounts", func(c *runtime.Container) {
		c.Mounts = []api.Mount{
			{Type: api.MountTmpfs, Target: "/a/b"}, // inner one first: it must not be hidden
			{Type: api.MountTmpfs, Target: "/a", TmpfsOptions: &api.TmpfsOptions{SizeBytes: 1 << 20, Mode: 0o700}},
		}
	}))
	lines := strings.Split(got, "\n")
	if len(lines) != 3 || !strings.Contains(lines[0], " /a tmpfs") || !strings.Contains(lines[0], "size=1024k,mode=700") || !strings.Contains(lines[1], " /a/b tmpfs") {
		r.Fatalf("mounts are %q", got)
	}
}

func testLogIsGone(r *rig) {
	c := r.script("true", func(c *runtime.Container) { c.Stdout = filepath.Join(r.TempDir(), "gone") })
	r.prepare(c)
	if _, err := r.driver.Start(r.context(), c.ID); err == nil || errors.Is(err, runtime.ErrInvalid) {
		r.Fatalf("start without its log answered %v: want an error that passes when the log is back", err)
	}
	if s := r.state(c); s.State != runtime.Created {
		r.Fatalf("list shows %+v", s)
	}
	if err := unix.Mkfifo(c.Stdout, 0o600); err != nil {
		r.Fatal(err)
	}
	if _, err := r.driver.Start(r.context(), c.ID); err != nil {
		r.Fatal(err)
	}
}

func testNotExecutable(r *rig) {
	for _, command := range []string{"/etc/passwd", "/home", "no-such-program"} {
		c := r.container(func(c *runtime.Container) { c.Spec.Command, c.Spec.User = []string{command}, "root" })
		r.prepare(c)
		_, err := r.driver.Start(r.context(), c.ID)
		if !errors.Is(err, runtime.ErrInvalid) || !strings.Contains(err.Error(), command) || strings.Contains(err.Error(), "\n") {
			r.Errorf("command %s: %v", command, err)
		}
	}
}

func testOtherPlatform(r *rig) {
	index := r.daemon.putJSON(r.T, r.driver, ocispec.MediaTypeImageIndex, ocispec.Index{Manifests: []ocispec.Descriptor{{
		MediaType: ocispec.MediaTypeImageManifest, Digest: "sha256:" + ocispecDigest, Size: 1,
		Platform: &ocispec.Platform{OS: "linux", Architecture: "s390x"},
	}}})
	c := r.container(func(c *runtime.Container) { c.Image = api.ImageID(index.Digest) })
	if err := r.driver.Prepare(r.context(), c); !errors.Is(err, runtime.ErrInvalid) || !strings.Contains(err.Error(), "platform") {
		r.Errorf("image of another platform: %v", err)
	}
	c.Image = "not a digest"
	if err := r.driver.Prepare(r.context(), c); !errors.Is(err, runtime.ErrInvalid) {
		r.Errorf("image without a digest: %v", err)
	}
}

const ocispecDigest = "0000000000000000000000000000000000000000000000000000000000000001"
