package runtimetest

import (
	"context"
	"strings"
	"time"

	"github.com/edgeswarm/edgeswarm/runtime"
)

func testExec(b *board) {
	c := b.container("print ready", "wait")
	c.Spec.Env = []string{"FROM=container"}
	out := b.fifos(&c)
	b.prepare(c)
	b.start(c)
	out.wantLine(b, "ready")

	exec := func(p runtime.Process, stdin string) (code int, stdout, stderr string) {
		b.Helper()
		var o, e locked
		code, err := b.Driver.Exec(b.context(), c.ID, p, runtime.Streams{Stdin: strings.NewReader(stdin), Stdout: &o, Stderr: &e})
		if err != nil {
			b.Fatalf("exec: %v", err)
		}
		return code, o.String(), e.String()
	}
	code, stdout, stderr := exec(runtime.Process{Args: b.Command("print hello", "warn oops", "exit 3")}, "")
	if code != 3 || stdout != "hello\n" || stderr != "oops\n" {
		b.Errorf("exit code %d, stdout %q, stderr %q", code, stdout, stderr)
	}
	if code, stdout, _ = exec(runtime.Process{Args: b.Command("copy")}, "line one\nline two\n"); code != 0 || stdout != "line one\nline two\n" {
		b.Errorf("copied %q, exit code %d", stdout, code)
	}
	added := runtime.Process{Args: b.Command("env FROM", "env MORE"), Env: []string{"MORE=exec"}}
	if _, stdout, _ = exec(added, ""); stdout != "container\nexec\n" {
		b.Errorf("environment says %q", stdout)
	}
	code, err := b.Driver.Exec(b.context(), c.ID, runtime.Process{Args: b.Command("print nobody hears", "exit 4")}, runtime.Streams{})
	if err != nil || code != 4 {
		b.Errorf("exec without streams: exit code %d, %v", code, err)
	}
	b.wantState(c, runtime.Running)
}

func testExecNotRunning(b *board) {
	p := runtime.Process{Args: b.Command("exit 0")}
	created := b.container("exit 0")
	b.prepare(created)
	_, err := b.Driver.Exec(b.context(), created.ID, p, runtime.Streams{})
	b.wantErr("exec in a created container", err, runtime.ErrNotRunning)
	ended := b.run("exit 0")
	b.wantExit(ended, 0)
	_, err = b.Driver.Exec(b.context(), ended.ID, p, runtime.Streams{})
	b.wantErr("exec in an ended container", err, runtime.ErrNotRunning)
}

func testExecContext(b *board) {
	c := b.run("wait")
	ctx, cancel := context.WithTimeout(b.context(), 200*time.Millisecond)
	defer cancel()
	_, err := b.Driver.Exec(ctx, c.ID, runtime.Process{Args: b.Command("wait")}, runtime.Streams{})
	b.wantErr("exec", err, context.DeadlineExceeded)
	b.wantState(c, runtime.Running)
}
