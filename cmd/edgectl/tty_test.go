//go:build linux

package main

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"
	"google.golang.org/grpc"

	"github.com/edgeswarm/edgeswarm/api"
)

// openTerminal makes a terminal of 100 by 30: what is typed at keys is read
// from tty, and what is written to tty is on the screen.
func openTerminal(t *testing.T) (keys, tty *os.File, screen func() string) {
	t.Helper()
	keys, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	fd := int(keys.Fd())
	if err := unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	n, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.IoctlSetWinsize(fd, unix.TIOCSWINSZ, &unix.Winsize{Row: 30, Col: 100}); err != nil {
		t.Fatal(err)
	}
	tty, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	var seen bytes.Buffer
	var reading sync.WaitGroup
	reading.Go(func() { _, _ = io.Copy(&seen, keys) }) // ends when the last tty is closed
	return keys, tty, func() string {
		_ = tty.Close()
		reading.Wait()
		_ = keys.Close()
		return seen.String()
	}
}

func TestATerminalShowsABarPerTask(t *testing.T) {
	f := newFleet()
	web := f.services[1].Service
	f.watch = plays(moment(web, 1, api.UpdateUpdating, false), moment(web, 2, api.UpdateCompleted, true))
	_, tty, screen := openTerminal(t)
	err := run(t.Context(), []string{"--host", f.serve(t), "service", "update", "--force", "web"}, streams{in: tty, out: tty, err: tty})
	got := screen()
	if err != nil || !strings.Contains(got, "1/2: running   [=======================================>] board1") || !strings.Contains(got, "2/2: preparing [=====") || !strings.Contains(got, "\x1b[3A") {
		t.Errorf("%v\n%q", err, got)
	}
}

func TestExecOnATerminal(t *testing.T) {
	f := newFleet()
	keys, tty, screen := openTerminal(t)
	var start *api.ExecStart
	f.exec = func(s grpc.BidiStreamingServer[api.ExecInput, api.ExecOutput]) error {
		first, err := s.Recv()
		if err != nil {
			return err
		}
		start = first.Start
		if _, err := keys.WriteString("ls\x03\r"); err != nil { // Ctrl-C is the task's
			return err
		}
		var typed []byte
		for !bytes.HasSuffix(typed, []byte("\r")) {
			in, err := s.Recv()
			if err != nil {
				return err
			}
			typed = append(typed, in.Data...)
		}
		_ = s.Send(&api.ExecOutput{Stream: "stdout", Data: []byte(fmt.Sprintf("typed %q", typed))})
		return s.Send(&api.ExecOutput{Exit: ptr(0)})
	}
	before, err := unix.IoctlGetTermios(int(tty.Fd()), unix.TCGETS)
	if err != nil {
		t.Fatal(err)
	}
	err = run(t.Context(), []string{"--host", f.serve(t), "task", "exec", "-it", "web.1", "sh"}, streams{in: tty, out: tty, err: tty})
	after, terr := unix.IoctlGetTermios(int(tty.Fd()), unix.TCGETS)
	if terr != nil || *after != *before {
		t.Errorf("the terminal was left as %+v, was %+v (%v)", after, before, terr)
	}
	_, _ = keys.WriteString("\n") // ends the read of standard input that is still under way
	got := screen()
	if err != nil || !strings.Contains(got, `typed "ls\x03\r"`) {
		t.Errorf("%v, %q", err, got)
	}
	if start == nil || !start.TTY || !start.Stdin || start.Size == nil || *start.Size != (api.TerminalSize{Width: 100, Height: 30}) {
		t.Errorf("start = %+v", start)
	}
}

func TestATerminalIsNoArchive(t *testing.T) {
	f := newFleet()
	_, tty, screen := openTerminal(t)
	err := run(t.Context(), []string{"--host", f.serve(t), "image", "load"}, streams{in: tty, out: tty, err: tty})
	screen()
	if err == nil || !strings.Contains(err.Error(), "standard input is a terminal") {
		t.Errorf("%v", err)
	}
}
