package runtimetest

import (
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/edgeswarm/edgeswarm/api"
	"github.com/edgeswarm/edgeswarm/runtime"
)

// kernelTests are of what only a kernel can do.
var kernelTests = map[string]func(*board){
	"Devices":          testDevices,
	"Capabilities":     testCapabilities,
	"Privileged":       testPrivileged,
	"Ulimits":          testUlimits,
	"Sysctls":          testSysctls,
	"Groups":           testGroups,
	"SharedMemory":     testSharedMemory,
	"Terminal":         testTerminal,
	"ProcessesOfBoard": testPidHost,
	"ProcessesLimited": testPidsLimit,
	"OOMScore":         testOOMScore,
	"ReadOnlyRoot":     testReadOnlyRoot,
	"Init":             testInit,
	"UsageIsReal":      testUsageIsReal,
}

// script is a container that runs shell text.
func (b *board) script(text string, change func(*runtime.Container)) runtime.Container {
	c := b.container()
	c.Spec.Command = []string{"/bin/sh", "-c", text}
	if change != nil {
		change(&c)
	}
	return c
}

// tun is a device that a container may not use unless it is given one, that
// every kernel with networks has, and that opening does nothing to.
const tunMajor, tunMinor = 10, 200

// device makes one for the test below /dev.
func (b *board) device(name string) string {
	b.Helper()
	path := "/dev/edgeswarm-test-" + strconv.Itoa(os.Getpid()) + "-" + name
	if err := unix.Mknod(path, unix.S_IFCHR|0o640, int(unix.Mkdev(tunMajor, tunMinor))); err != nil {
		b.Fatalf("make a device: %v", err)
	}
	b.Cleanup(func() { _ = os.Remove(path) })
	if err := os.Chown(path, 0, 4242); err != nil {
		b.Fatal(err)
	}
	return path
}

func testDevices(b *board) {
	path, link := b.device("a"), b.device("b")+"-link"
	if err := os.Symlink(path, link); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = os.Remove(link) })
	const try = `for f in /dev/own /dev/link; do stat -c '%t:%T %a %g' $f; (: < $f) 2>/dev/null && echo read; (: > $f) 2>/dev/null && echo write; done; exit 0`
	b.prints(b.script(try, func(c *runtime.Container) {
		c.Devices = []api.Device{
			{PathOnHost: path, PathInContainer: "/dev/own", CgroupPermissions: "rw"},
			{PathOnHost: link, PathInContainer: "/dev/link", CgroupPermissions: "rw"},
		}
	}), "a:c8 640 4242", "read", "write", "a:c8 640 4242", "read", "write")
	b.prints(b.script(try, func(c *runtime.Container) {
		c.Devices = []api.Device{{PathOnHost: path, PathInContainer: "/dev/own", CgroupPermissions: "r"}}
	}), "a:c8 640 4242", "read")
	b.prints(b.script(fmt.Sprintf("mknod /tmp/x c %d %d; (: < /tmp/x) 2>/dev/null || echo refused", tunMajor, tunMinor), func(c *runtime.Container) {
		c.Mounts = []api.Mount{{Type: api.MountTmpfs, Target: "/tmp"}}
	}), "refused")

	for name, source := range map[string]string{"a file": "/dev/../etc/passwd", "a folder without any": b.TempDir()} {
		c := b.script("exit 0", func(c *runtime.Container) { c.Devices = []api.Device{{PathOnHost: source}} })
		b.wantErr("prepare with "+name, b.Driver.Prepare(b.context(), c), runtime.ErrInvalid)
	}
}

const showCapabilities = "grep CapEff /proc/self/status | cut -f 2"

func testCapabilities(b *board) {
	for _, t := range []struct {
		add, drop []string
		want      string
	}{
		{nil, nil, "00000000a80425fb"},
		{[]string{"CAP_NET_ADMIN"}, nil, "00000000a80435fb"},
		{nil, []string{"CAP_CHOWN"}, "00000000a80425fa"},
		{[]string{"CAP_NET_BIND_SERVICE"}, []string{"ALL"}, "0000000000000400"},
		{nil, []string{"ALL"}, "0000000000000000"},
	} {
		b.prints(b.script(showCapabilities, func(c *runtime.Container) {
			c.Spec.CapabilityAdd, c.Spec.CapabilityDrop = t.add, t.drop
		}), t.want)
	}
	all := b.own("CapEff")
	b.prints(b.script(showCapabilities, func(c *runtime.Container) { c.Spec.CapabilityAdd = []string{"ALL"} }), all)
	// A filter on system calls that knows of them: what a capability permits is
	// not refused for another reason.
	b.prints(b.script("mount -t tmpfs none /tmp && echo mounted", func(c *runtime.Container) {
		c.Spec.CapabilityAdd, c.Mounts = []string{"CAP_SYS_ADMIN"}, []api.Mount{{Type: api.MountTmpfs, Target: "/tmp"}}
	}), "mounted")
}

// own reads a line of this process's status.
func (b *board) own(key string) string {
	b.Helper()
	raw, err := os.ReadFile("/proc/self/status")
	if err != nil {
		b.Fatal(err)
	}
	for line := range strings.Lines(string(raw)) {
		if value, ok := strings.CutPrefix(line, key+":"); ok {
			return strings.TrimSpace(value)
		}
	}
	b.Fatalf("no %s in the status", key)
	return ""
}

func testPrivileged(b *board) {
	path := b.device("p")
	script := showCapabilities + "; grep Seccomp: /proc/self/status | cut -f 2; (: < " + path + ") && echo device; " +
		"[ -w /proc/sys/kernel/shmmni ] && echo sys; ls /proc/acpi >/dev/null 2>&1; grep -c ' /proc/kcore ' /proc/mounts"
	c := b.script(script, func(c *runtime.Container) { c.Spec.Privileged = true })
	out := b.fifos(&c)
	b.prepare(c)
	b.start(c)
	for _, line := range []string{b.own("CapEff"), "0", "device", "sys", "0"} {
		out.wantLine(b, line)
	}
	b.wait(c)
}

func testUlimits(b *board) {
	b.prints(b.script("ulimit -Sn; ulimit -Hn; ulimit -Sc; ulimit -Hc; ulimit -Hl", func(c *runtime.Container) {
		c.Spec.Ulimits = []api.Ulimit{{Name: "nofile", Soft: 100, Hard: 200}, {Name: "core", Soft: 0, Hard: -1}, {Name: "memlock", Soft: 65536, Hard: 65536}}
	}), "100", "200", "0", "unlimited", "64")
}

func testSysctls(b *board) {
	b.prints(b.script("cat /proc/sys/kernel/shmmni /proc/sys/fs/mqueue/msg_max", func(c *runtime.Container) {
		c.Spec.Sysctls = map[string]string{"kernel.shmmni": "77", "fs.mqueue.msg_max": "20"}
	}), "77", "20")
}

func testGroups(b *board) {
	b.prints(b.script("id -G", func(c *runtime.Container) { c.Spec.User, c.Spec.Groups = "1000:1001", []string{"4242"} }), "1001 4242")
	c := b.script("id", func(c *runtime.Container) { c.Spec.Groups = []string{"no-such-group"} })
	err := b.Driver.Prepare(b.context(), c)
	b.wantErr("prepare", err, runtime.ErrInvalid)
	if !strings.Contains(err.Error(), "no-such-group") {
		b.Errorf("error %q does not name the group", err)
	}
}

func testSharedMemory(b *board) {
	const show = "grep ' /dev/shm ' /proc/mounts | grep -o 'size=[0-9]*k'"
	b.prints(b.script(show, nil), "size=65536k")
	b.prints(b.script(show, func(c *runtime.Container) { c.Spec.ShmSize = 8 << 20 }), "size=8192k")
}

// testTerminal: all comes on standard output, with a terminal's line ends.
func testTerminal(b *board) {
	c := b.script(`[ -t 0 ] && [ -t 1 ] && [ -t 2 ] && echo "terminal $TERM"; echo warned >&2; exit 5`, func(c *runtime.Container) { c.Spec.TTY = true })
	out := b.fifos(&c)
	b.prepare(c)
	b.start(c)
	out.wantLine(b, "terminal xterm")
	out.wantLine(b, "warned")
	b.wantExit(c, 5)

	discarded := b.script("[ -t 1 ] && exit 6", func(c *runtime.Container) { c.Spec.TTY = true })
	b.prepare(discarded)
	b.start(discarded)
	b.wantExit(discarded, 6)
}

func testPidHost(b *board) {
	show := fmt.Sprintf(`[ -d /proc/%d ] && echo seen; [ $$ = 1 ] && echo first; exit 0`, os.Getpid())
	b.prints(b.script(show, nil), "first")
	c := b.script(show+"; sleep 100", func(c *runtime.Container) { c.Spec.PidMode = api.PidHost })
	b.prints(b.script(show, func(c *runtime.Container) { c.Spec.PidMode = api.PidHost }), "seen")

	// Without a namespace of its own, its end must end its children all the same.
	c.Spec.Command[2] = "sleep 300 & echo $!; exit 0"
	out := b.fifos(&c)
	b.prepare(c)
	b.start(c)
	child := next(b, "stdout", out.stdout)
	b.wantExit(c, 0)
	b.eventually("its child ends with it", func() error {
		if raw, err := os.ReadFile("/proc/" + child + "/stat"); err == nil && !strings.Contains(string(raw), ") Z ") {
			return fmt.Errorf("process %s still runs", child)
		}
		return nil
	})
}

func testPidsLimit(b *board) {
	// Each sleep is a process; the shell says so when it may not make one.
	c := b.script("for i in 1 2 3 4 5 6 7 8; do sleep 5 & done 2>/dev/null; echo all", func(c *runtime.Container) { c.Limits.Pids = 5 })
	out := b.fifos(&c)
	b.prepare(c)
	b.start(c)
	if exit := b.wait(c); exit.Code == 0 {
		b.Fatalf("nine processes ran at a limit of five, and it says %q", next(b, "stdout", out.stdout))
	}
}

func testOOMScore(b *board) {
	b.prints(b.script("cat /proc/self/oom_score_adj", func(c *runtime.Container) { c.Spec.OomScoreAdj = 300 }), "300")
}

func testReadOnlyRoot(b *board) {
	b.prints(b.script("(echo x > /x) 2>/dev/null || echo refused", func(c *runtime.Container) { c.Spec.ReadOnly = true }), "refused")
}

// testInit: the command is not the first process, so a signal that it has no
// handler for ends it; and orphans do not stay zombies.
func testInit(b *board) {
	init := true
	c := b.script(`echo $$ | grep -qx 1 || echo child; pid=$(sh -c 'sleep 0.1 >/dev/null & echo $!'); while [ -d /proc/$pid ]; do sleep 0.02; done; echo reaped; exec sleep 100`,
		func(c *runtime.Container) { c.Spec.Init, c.Spec.ReadOnly = &init, true })
	out := b.fifos(&c)
	b.prepare(c)
	b.start(c)
	out.wantLine(b, "child")
	out.wantLine(b, "reaped")
	if err := b.Driver.Stop(b.context(), c.ID, "", patience); err != nil {
		b.Fatal(err)
	}
	b.wantExit(c, 143)

	gone := b.script("", func(c *runtime.Container) { c.Spec.Init, c.Spec.Command = &init, []string{"/no/such/program"} })
	b.prepare(gone)
	b.start(gone)
	b.wantExit(gone, 127)
}
