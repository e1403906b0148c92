package logs

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/edgeswarm/edgeswarm/api"
)

const patience = 20 * time.Second

// bench is a board's log directories and a client; the process is another one.
type bench struct {
	testing.TB
	dir, run string
	client   *Client
}

func newBench(t testing.TB) *bench {
	t.Helper()
	run, err := os.MkdirTemp("", "logs") // short: it holds a socket
	if err != nil {
		t.Fatal(err)
	}
	b := &bench{TB: t, dir: t.TempDir(), run: run}
	b.client = NewClient(ClientConfig{Dir: b.dir, RunDir: b.run, Spawn: b.spawn})
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := b.client.Shutdown(ctx); err != nil {
			t.Errorf("shutdown: %v", err)
		}
		_ = os.RemoveAll(run)
	})
	return b
}

// spawn starts this program as the log process.
func (b *bench) spawn() error {
	return Spawn(SpawnConfig{Env: []string{envServe + "=" + b.run, envDir + "=" + b.dir}})
}

func (b *bench) context() context.Context {
	ctx, cancel := context.WithTimeout(b.Context(), patience)
	b.Cleanup(cancel)
	return ctx
}

// pid of the log process: the one that listens.
func (b *bench) pid() int {
	b.Helper()
	conn, err := b.client.connect(b.context(), true)
	if err != nil {
		b.Fatal(err)
	}
	defer conn.Close()
	raw, err := conn.(syscall.Conn).SyscallConn()
	if err != nil {
		b.Fatal(err)
	}
	pid := 0
	_ = raw.Control(func(fd uintptr) {
		cred, err := unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
		if err != nil {
			b.Fatal(err)
		}
		pid = int(cred.Pid)
	})
	if pid == os.Getpid() {
		b.Fatal("the log process is this one")
	}
	return pid
}

// open makes a task's FIFOs and holds their writing ends, as a shim does:
// both directions, so that a dead reader does not break the pipe.
func (b *bench) open(task api.TaskID, attempt int) (stdout, stderr *os.File) {
	b.Helper()
	out, errs, err := b.client.Open(b.context(), &api.Task{ID: task}, attempt)
	if err != nil {
		b.Fatal(err)
	}
	hold := func(path string) *os.File {
		f, err := os.OpenFile(path, os.O_RDWR, 0)
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() { _ = f.Close() })
		return f
	}
	return hold(out), hold(errs)
}

func (b *bench) write(f *os.File, text string) {
	b.Helper()
	if _, err := f.WriteString(text); err != nil {
		b.Fatal(err)
	}
}

// read answers the lines that are there now, as "stream:data".
func (b *bench) read(q Query) []string {
	b.Helper()
	var lines []string
	for line, err := range b.client.Read(b.context(), q) {
		if err != nil {
			b.Fatal(err)
		}
		lines = append(lines, text(line))
	}
	return lines
}

func text(l api.LogLine) string {
	out := l.Stream + ":" + string(l.Data)
	if l.Partial {
		out += "…"
	}
	return out
}

// eventually reads until want lines of the task are there.
func (b *bench) eventually(task api.TaskID, want int) []string {
	b.Helper()
	ctx := b.context()
	var lines []string
	for line, err := range b.client.Read(ctx, Query{Tasks: []api.TaskID{task}, Tail: -1, Follow: true}) {
		if err != nil {
			b.Fatalf("after %d of %d lines: %v", len(lines), want, err)
		}
		if lines = append(lines, text(line)); len(lines) == want {
			break
		}
	}
	return lines
}

func (b *bench) wantLines(got []string, want ...string) {
	b.Helper()
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		b.Fatalf("got %d lines %.2000q\nwant %d %.2000q", len(got), got, len(want), want)
	}
}

// numbered is count lines that tell whether one is missing.
func numbered(from, count int) string {
	var s strings.Builder
	for i := range count {
		fmt.Fprintf(&s, "line %d\n", from+i)
	}
	return s.String()
}

// wantNumbered checks that the lines are those of numbered, without a gap.
func (b *bench) wantNumbered(lines []string, from int) {
	b.Helper()
	for i, line := range lines {
		if want := "stdout:line " + strconv.Itoa(from+i); line != want {
			b.Fatalf("line %d says %q, want %q", i, line, want)
		}
	}
}

func (b *bench) files(task api.TaskID) []string {
	b.Helper()
	names, err := filepath.Glob(filepath.Join(b.dir, string(task), "*.log"))
	if err != nil {
		b.Fatal(err)
	}
	return names
}

func contextWithStop(b *bench) (context.Context, context.CancelFunc) {
	return context.WithCancel(b.context())
}

// awaitGone waits until a killed process has let go of its socket.
func (b *bench) awaitGone(pid int) {
	b.Helper()
	ctx := b.context()
	for {
		if conn, err := b.client.dial(ctx); absent(err) {
			return
		} else if err == nil {
			_ = conn.Close()
		}
		if ctx.Err() != nil {
			b.Fatalf("process %d does not end", pid)
		}
	}
}
