package runtimetest

import (
	"bufio"
	"errors"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/edgeswarm/edgeswarm/api"
	"github.com/edgeswarm/edgeswarm/runtime"
)

// output reads a container's two FIFOs for as long as the test lasts, as the
// log process does.
type output struct{ stdout, stderr chan string }

func (b *board) fifos(c *runtime.Container) output {
	b.Helper()
	dir := b.TempDir()
	open := func(name string) (string, chan string) {
		path := filepath.Join(dir, name)
		if err := unix.Mkfifo(path, 0o600); err != nil {
			b.Fatal(err)
		}
		// Open for writing too, so that neither side waits for the other and
		// the end of one writer is not the end of the file.
		fifo, err := os.OpenFile(path, os.O_RDWR|unix.O_NONBLOCK, 0)
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() { fifo.Close() })
		lines := make(chan string, 100)
		go func() {
			defer close(lines)
			for scan := bufio.NewScanner(fifo); scan.Scan(); {
				lines <- scan.Text()
			}
		}()
		return path, lines
	}
	var out output
	c.Stdout, out.stdout = open("stdout")
	c.Stderr, out.stderr = open("stderr")
	return out
}

func next(b *board, name string, lines chan string) string {
	b.Helper()
	select {
	case line := <-lines:
		return line
	case <-b.context().Done():
		b.Fatalf("nothing came on %s", name)
		return ""
	}
}

func (o output) wantLine(b *board, want string) {
	b.Helper()
	if got := next(b, "stdout", o.stdout); got != want {
		b.Fatalf("stdout says %q, want %q", got, want)
	}
}

// prints runs the container and checks the lines that it prints.
func (b *board) prints(c runtime.Container, want ...string) {
	b.Helper()
	out := b.fifos(&c)
	b.prepare(c)
	b.start(c)
	for _, line := range want {
		out.wantLine(b, line)
	}
	b.wantExit(c, 0)
}

func testBadMount(b *board) {
	c := b.container("exit 0")
	c.Mounts = []api.Mount{{Type: api.MountBind, Source: filepath.Join(b.TempDir(), "missing"), Target: "/data"}}
	err := b.Driver.Prepare(b.context(), c)
	b.wantErr("prepare", err, runtime.ErrInvalid)
	if !strings.Contains(err.Error(), c.Mounts[0].Source) {
		b.Errorf("error %q does not name the missing source", err)
	}
	if s, ok := b.find(c); ok {
		b.Errorf("list shows %+v of what could not be made", s)
	}
}

func testMissingDevice(b *board) {
	c := b.container("exit 0")
	c.Devices = []api.Device{{PathOnHost: "/dev/edgeswarm-not-here"}}
	err := b.Driver.Prepare(b.context(), c)
	b.wantErr("prepare", err, runtime.ErrInvalid)
	if !strings.Contains(err.Error(), c.Devices[0].PathOnHost) {
		b.Errorf("error %q does not name the missing device", err)
	}
	if s, ok := b.find(c); ok {
		b.Errorf("list shows %+v of what could not be made", s)
	}
}

func testUnknownImage(b *board) {
	c := b.container("exit 0")
	c.Image = api.ImageID("sha256:" + strings.Repeat("0", 64))
	b.wantErr("prepare", b.Driver.Prepare(b.context(), c), runtime.ErrNotFound)
}

func testEnvironment(b *board) {
	c := b.container()
	command := b.Command("env GREETING", "env EMPTY", "env EQUALS", "print it's done")
	c.Spec.Command, c.Spec.Args = command[:1], command[1:]
	c.Spec.Env = []string{"GREETING=good morning", "EMPTY=", "EQUALS=a=b"}
	b.prints(c, "good morning", "", "a=b", "it's done")
}

// testNoSuchCommand: it can be known at Prepare or at Start; either way it is
// the container that is wrong, not the runtime.
func testNoSuchCommand(b *board) {
	if !b.Kernel {
		return // every command is there
	}
	c := b.container()
	c.Spec.Command = []string{"/no/such/program"}
	err := b.Driver.Prepare(b.context(), c)
	if err == nil {
		_, err = b.Driver.Start(b.context(), c.ID)
	}
	b.wantErr("prepare and start", err, runtime.ErrInvalid)
}

func testHostname(b *board) {
	c := b.container("hostname")
	c.Hostname = "kitchen-3"
	b.prints(c, "kitchen-3")
}

func testMounts(b *board) {
	dir, file := b.TempDir(), filepath.Join(b.TempDir(), "resolv.conf")
	if err := os.WriteFile(file, []byte("nameserver 192.0.2.1\n"), 0o644); err != nil {
		b.Fatal(err)
	}
	c := b.container("write /data/mark here", "cat /etc/resolv.conf", "write /scratch/x y", "cat /scratch/x")
	c.Mounts = []api.Mount{
		{Type: api.MountBind, Source: dir, Target: "/data"},
		{Type: api.MountBind, Source: file, Target: "/etc/resolv.conf", ReadOnly: true},
		{Type: api.MountTmpfs, Target: "/scratch", TmpfsOptions: &api.TmpfsOptions{SizeBytes: 1 << 20}},
	}
	b.prints(c, "nameserver 192.0.2.1", "y")
	if got, err := os.ReadFile(filepath.Join(dir, "mark")); err != nil || string(got) != "here\n" {
		b.Fatalf("file written through the mount: %q, %v", got, err)
	}

	locked := b.container("write /data/more no")
	locked.Mounts = []api.Mount{{Type: api.MountBind, Source: dir, Target: "/data", ReadOnly: true}}
	b.prepare(locked)
	b.start(locked)
	if exit := b.wait(locked); exit.Code == 0 {
		b.Error("writing to a read-only mount succeeded")
	}
	if _, err := os.Stat(filepath.Join(dir, "more")); !errors.Is(err, os.ErrNotExist) {
		b.Errorf("file behind a read-only mount: %v", err)
	}
}

func testStreams(b *board) {
	c := b.container("print to out", "warn to err", "print again")
	out := b.fifos(&c)
	b.prepare(c)
	b.start(c)
	out.wantLine(b, "to out")
	out.wantLine(b, "again")
	if got := next(b, "stderr", out.stderr); got != "to err" {
		b.Fatalf("stderr says %q", got)
	}
	b.wantExit(c, 0)
}

// testStreamsReopen: what a task writes does not pass through the driver.
func testStreamsReopen(b *board) {
	c := b.container("print first", "sleep 300ms", "print second")
	out := b.fifos(&c)
	b.prepare(c)
	b.start(c)
	out.wantLine(b, "first")
	b.Driver = b.Reopen()
	out.wantLine(b, "second")
	b.wantExit(c, 0)
}

func testOutOfMemory(b *board) {
	if !b.Kernel {
		return // the simulated driver has no memory to run out of
	}
	c := b.container("grow 268435456")
	c.Limits.MemoryBytes = 16 << 20
	b.prepare(c)
	b.start(c)
	if exit := b.wait(c); exit.Code != 137 || !exit.OOMKilled {
		b.Fatalf("exit %+v, want 137 and named as out of memory", exit)
	}
	b.Driver = b.Reopen()
	if exit := b.wait(c); !exit.OOMKilled {
		b.Errorf("exit %+v after reopening does not name out of memory", exit)
	}
}
