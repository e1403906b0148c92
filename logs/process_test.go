package logs

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/edgeswarm/edgeswarm/api"
)

func TestLinesOfBothStreams(t *testing.T) {
	b := newBench(t)
	out, errs := b.open("web", 1)
	b.write(out, "one\n")
	b.wantLines(b.eventually("web", 1), "stdout:one")
	b.write(errs, "two\n\x00\xff\xed\r\n")
	b.write(errs, "\n")
	b.wantLines(b.eventually("web", 4), "stdout:one", "stderr:two", "stderr:\x00\xff\xed\r", "stderr:")
	if again, _ := b.open("web", 1); again.Name() != out.Name() {
		t.Fatalf("open again answered %s, want %s", again.Name(), out.Name())
	}
}

// TestSpawnerDies: the process that started the log process is killed with all
// of its group, and a task writes on.
func TestSpawnerDies(t *testing.T) {
	b := newBench(t)
	parent := exec.Command(os.Args[0], "-test.run=^TestSpawnAndHang$", "-test.count=1")
	parent.Env = append(os.Environ(), envParent+"="+b.run, envDir+"="+b.dir)
	parent.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	ready, err := parent.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := parent.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := ready.Read(make([]byte, 1)); err != nil {
		t.Fatalf("the parent did not get ready: %v", err)
	}
	fifo, err := os.OpenFile(filepath.Join(fifoDir(b.run), pipeID{"web", 1, false}.file()), os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer fifo.Close()
	b.write(fifo, numbered(0, 100))
	if err := syscall.Kill(-parent.Process.Pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	_ = parent.Wait()
	b.write(fifo, numbered(100, 20_000)) // more than the pipe holds: somebody reads it
	b.client.cfg.Spawn = func() error { return errors.New("the log process died with its parent") }
	b.wantNumbered(b.eventually("web", 20_100), 0)
}

const envParent = "EDGESWARM_TEST_LOGS_PARENT"

// TestSpawnAndHang is the parent of TestSpawnerDies.
func TestSpawnAndHang(t *testing.T) {
	run := os.Getenv(envParent)
	if run == "" {
		return // not asked to
	}
	b := &bench{TB: t, dir: os.Getenv(envDir), run: run}
	b.client = NewClient(ClientConfig{Dir: b.dir, RunDir: run, Spawn: b.spawn})
	b.open("web", 1)
	os.Stdout.WriteString("r")
	<-b.context().Done()
}

// TestLogProcessDies: lines written while there is none are in the FIFO, which
// the next one finds by itself.
func TestLogProcessDies(t *testing.T) {
	b := newBench(t)
	out, _ := b.open("web", 1)
	b.write(out, numbered(0, 10))
	b.wantNumbered(b.eventually("web", 10), 0)
	first := b.pid()
	if err := syscall.Kill(first, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	b.awaitGone(first)
	b.write(out, numbered(10, 10))
	if second := b.pid(); second == first {
		t.Fatal("the process was not killed")
	}
	b.wantNumbered(b.eventually("web", 20), 0)
	if n := len(b.files("web")); n != 1 {
		t.Errorf("%d files, want 1: the next process goes on with the last", n)
	}
}

// TestRunReplacesTheProcess: nobody has to ask for anything.
func TestRunReplacesTheProcess(t *testing.T) {
	b := newBench(t)
	out, _ := b.open("web", 1)
	first := b.pid()
	ended := make(chan error, 1)
	ctx, stop := contextWithStop(b)
	go func() { ended <- b.client.Run(ctx) }()
	if err := syscall.Kill(first, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	b.write(out, numbered(0, 20_000)) // blocks until somebody reads
	b.wantNumbered(b.eventually("web", 20_000), 0)
	stop()
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	if b.pid() == first {
		t.Fatal("the process was not killed")
	}
}

func TestShutdownWritesAllAndLeavesFIFOs(t *testing.T) {
	b := newBench(t)
	out, _ := b.open("web", 1)
	b.write(out, numbered(0, 1000)+"half")
	if err := b.client.Shutdown(b.context()); err != nil {
		t.Fatal(err)
	}
	b.write(out, " and half\n")
	lines := b.read(Query{Tasks: []api.TaskID{"web"}, Tail: -1}) // without a process
	b.wantNumbered(lines[:1000], 0)
	b.wantLines(lines[1000:], "stdout:half…")
	b.pid()
	b.wantLines(b.eventually("web", 1002)[1000:], "stdout:half…", "stdout: and half")
}

func TestOneProcessOnly(t *testing.T) {
	b := newBench(t)
	b.pid()
	if err := Serve(b.context(), Config{Dir: b.dir, RunDir: b.run}); !errors.Is(err, ErrRunning) {
		t.Fatalf("second process: %v, want %v", err, ErrRunning)
	}
}

func TestCloseDrainsAndForgets(t *testing.T) {
	b := newBench(t)
	out, errs := b.open("web", 1)
	b.write(out, numbered(0, 5000)+"no line feed")
	_ = out.Close()
	_ = errs.Close()
	for range 2 {
		if err := b.client.Close(b.context(), "web", 1); err != nil {
			t.Fatal(err)
		}
	}
	lines := b.read(Query{Tasks: []api.TaskID{"web"}, Tail: -1})
	if len(lines) != 5001 || lines[5000] != "stdout:no line feed" {
		t.Fatalf("%d lines, the last %q", len(lines), lines[len(lines)-1])
	}
	if _, err := os.Stat(out.Name()); !errors.Is(err, os.ErrNotExist) {
		t.Fatalf("FIFO after close: %v", err)
	}
	second, _ := b.open("web", 2)
	b.write(second, "again\n")
	b.wantLines(b.eventually("web", 5002)[5001:], "stdout:again")
}

func TestRemoveAndRetain(t *testing.T) {
	b := newBench(t)
	for _, task := range []api.TaskID{"a", "b", "c"} {
		out, _ := b.open(task, 1)
		b.write(out, "hello\n")
		b.eventually(task, 1)
	}
	for range 2 {
		if err := b.client.Remove(b.context(), "a"); err != nil {
			t.Fatal(err)
		}
	}
	if err := b.client.Retain(b.context(), []api.TaskID{"c"}); err != nil {
		t.Fatal(err)
	}
	for task, want := range map[api.TaskID]int{"a": 0, "b": 0, "c": 1} {
		fifos, err := filepath.Glob(filepath.Join(fifoDir(b.run), string(task)+".*"))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := os.Stat(filepath.Join(b.dir, string(task))); len(fifos) != 2*want || (err == nil) != (want == 1) {
			t.Errorf("task %s: FIFOs %v, folder %v", task, fifos, err)
		}
	}
	for _, bad := range []api.TaskID{"", "..", "../x", "a/b", "a.b"} {
		if _, _, err := b.client.Open(b.context(), &api.Task{ID: bad}, 1); api.KindOf(err) != api.Invalid {
			t.Errorf("open of task %q: %v", bad, err)
		}
		if err := b.client.Remove(b.context(), bad); api.KindOf(err) != api.Invalid {
			t.Errorf("remove of task %q: %v", bad, err)
		}
	}
}

// TestIdleProcessIsSmall: it sleeps, and holds little.
func TestIdleProcessIsSmall(t *testing.T) {
	b := newBench(t)
	for i := range 20 {
		b.open(api.TaskID("task"+strconv.Itoa(i)), 1)
	}
	status, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(b.pid()), "status"))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(status)) {
		if rest, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			kib, err := strconv.Atoi(strings.Fields(rest)[0])
			if err != nil || kib > 20<<10 && !raceEnabled {
				t.Errorf("log process of 20 tasks has %d KiB, %v", kib, err)
			}
			t.Logf("log process of 20 tasks: %d KiB", kib)
		}
	}
}
