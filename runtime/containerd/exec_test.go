package containerd

import (
	"bytes"
	"errors"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/edgeswarm/edgeswarm/api"
	"github.com/edgeswarm/edgeswarm/runtime"
)

func (r *rig) exec(c runtime.Container, p runtime.Process, stdin io.Reader) (int, string) {
	r.Helper()
	var out bytes.Buffer
	code, err := r.driver.Exec(r.context(), c.ID, p, runtime.Streams{Stdin: stdin, Stdout: &out})
	if err != nil {
		r.Fatal(err)
	}
	return code, out.String()
}

func (r *rig) sleeper() runtime.Container {
	r.Helper()
	c := r.script("while :; do sleep 1; done", nil)
	r.start(c)
	return c
}

func testExecUser(r *rig) {
	c := r.sleeper()
	show := []string{"/bin/sh", "-c", "id -u; pwd; echo $HOME; grep CapEff /proc/self/status"}
	if _, out := r.exec(c, runtime.Process{Args: show}, nil); out != "1000\n/home/web\n/home/web\nCapEff:\t0000000000000000\n" {
		r.Errorf("as the container: %q", out)
	}
	if _, out := r.exec(c, runtime.Process{Args: show, User: "root", Dir: "/etc"}, nil); out != "0\n/etc\n/root\nCapEff:\t00000000a80425fb\n" {
		r.Errorf("as root: %q", out)
	}
	_, err := r.driver.Exec(r.context(), c.ID, runtime.Process{Args: show, User: "nobody-here"}, runtime.Streams{})
	if !errors.Is(err, runtime.ErrInvalid) {
		r.Errorf("as an unknown user: %v", err)
	}
}

func testExecTerminal(r *rig) {
	c := r.sleeper()
	sizes := make(chan api.TerminalSize, 1)
	sizes <- api.TerminalSize{Width: 123, Height: 45}
	var out bytes.Buffer
	p := runtime.Process{TTY: true, Args: []string{"/bin/sh", "-c", `read line; until [ "$(stty size)" = "45 123" ]; do sleep 0.05; done; echo "got $line on $TERM"; exit 7`}}
	in, typing := io.Pipe()
	go func() { _, _ = typing.Write([]byte("hello\n")) }()
	defer typing.Close()
	code, err := r.driver.Exec(r.context(), c.ID, p, runtime.Streams{Stdin: in, Stdout: &out, Resize: sizes})
	if err != nil || code != 7 || !strings.Contains(out.String(), "got hello on xterm\r\n") {
		r.Fatalf("exit code %d, %v, output %q", code, err, out.String())
	}
}

// testExecChild: a process left behind must not hold the call.
func testExecChild(r *rig) {
	c := r.sleeper()
	begun := time.Now()
	code, out := r.exec(c, runtime.Process{Args: []string{"/bin/sh", "-c", "sleep 60 & echo done; exit 5"}}, nil)
	if code != 5 || out != "done\n" || time.Since(begun) > 15*time.Second {
		r.Fatalf("exit code %d, output %q after %v", code, out, time.Since(begun))
	}
}

func testExecBadCommand(r *rig) {
	c := r.sleeper()
	for _, args := range [][]string{{"no-such-program"}, {"/etc/passwd"}, {}} {
		_, err := r.driver.Exec(r.context(), c.ID, runtime.Process{Args: args}, runtime.Streams{})
		if !errors.Is(err, runtime.ErrInvalid) || strings.Contains(err.Error(), runtime.ErrInvalid.Error()) {
			r.Errorf("exec of %q: %v", args, err)
		}
	}
}

// testExecMuchOutput: none of it is lost, however slowly it is taken.
func testExecMuchOutput(r *rig) {
	c := r.sleeper()
	const size = 3 << 20
	slow := &slowWriter{pause: make(chan struct{})}
	go func() {
		<-time.After(3 * time.Second) // longer than a drain that thinks the reader is gone
		close(slow.pause)
	}()
	code, err := r.driver.Exec(r.context(), c.ID, runtime.Process{Args: []string{"/bin/sh", "-c", "yes | head -c " + strconv.Itoa(size)}}, runtime.Streams{Stdout: slow})
	if err != nil || code != 0 || slow.n != size {
		r.Fatalf("exit code %d, %v, %d of %d bytes", code, err, slow.n, size)
	}
}

type slowWriter struct {
	pause chan struct{}
	n     int
}

func (s *slowWriter) Write(p []byte) (int, error) {
	<-s.pause
	s.n += len(p)
	return len(p), nil
}
