package sim

import (
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/edgeswarm/edgeswarm/api"
	"github.com/edgeswarm/edgeswarm/runtime"
)

// Program renders steps as a container's command or a Process's arguments. The
// steps are those that runtimetest names, less "grow", and
//
//	linger DURATION  a signal ends the process only that much later
//	delete PATH      remove a file that write made
//
// A command that was not made by Program runs until a signal ends it.
func Program(steps ...string) []string { return append([]string{"sim"}, steps...) }

// program reads a command back.
func program(command []string) []string {
	if len(command) > 0 && command[0] == "sim" {
		return command[1:]
	}
	return []string{"wait"}
}

// machine is what a program runs on.
type machine struct {
	hostname       string
	env            []string
	mounts         []api.Mount
	files          *sync.Map // path -> string: those not behind a bind mount
	stdin          io.Reader
	stdout, stderr io.Writer
	// trap and linger are of the process the program runs as.
	trap   func(signal string, code int)
	linger func(time.Duration)
}

// forever is the pause of "wait".
const forever = time.Duration(-1)

// step takes one step, and says how long to wait before the next, or that the
// program has ended.
func (m *machine) step(step string) (pause time.Duration, code int, ended bool) {
	word, tail, _ := strings.Cut(step, " ")
	first, rest, _ := strings.Cut(tail, " ")
	var err error
	switch word {
	case "print":
		_, err = fmt.Fprintln(m.stdout, tail)
	case "warn":
		_, err = fmt.Fprintln(m.stderr, tail)
	case "env":
		_, err = fmt.Fprintln(m.stdout, m.getenv(first))
	case "hostname":
		_, err = fmt.Fprintln(m.stdout, m.hostname)
	case "cat":
		err = m.cat(first)
	case "write":
		err = m.write(first, rest)
	case "delete":
		m.files.Delete(first)
	case "copy":
		_, err = io.Copy(m.stdout, m.stdin)
	case "ignore":
		m.trap(first, ignored)
	case "on":
		code, err = strconv.Atoi(rest)
		m.trap(first, code)
	case "linger":
		pause, err = time.ParseDuration(first)
		m.linger(pause)
		pause = 0
	case "sleep":
		pause, err = time.ParseDuration(first)
	case "wait":
		return forever, 0, false
	case "exit":
		code, err = strconv.Atoi(first)
		if err == nil {
			return 0, code, true
		}
	default:
		err = fmt.Errorf("no such step: %s", step)
	}
	if err != nil {
		fmt.Fprintln(m.stderr, err)
		return 0, 1, true
	}
	return pause, 0, false
}

func (m *machine) getenv(name string) string {
	for _, e := range m.env {
		if n, value, _ := strings.Cut(e, "="); n == name {
			return value
		}
	}
	return ""
}

// resolve finds a path of the container on the board, if it is behind a bind mount.
func (m *machine) resolve(p string) (source string, readOnly, bound bool) {
	for _, mount := range m.mounts {
		rel, err := filepath.Rel(mount.Target, path.Clean(p))
		if err != nil || strings.HasPrefix(rel, "..") || mount.Type != api.MountBind {
			continue
		}
		return filepath.Join(mount.Source, rel), mount.ReadOnly, true
	}
	return "", false, false
}

func (m *machine) cat(p string) error {
	if source, _, bound := m.resolve(p); bound {
		text, err := os.ReadFile(source)
		if err != nil {
			return err
		}
		_, err = m.stdout.Write(text)
		return err
	}
	text, ok := m.files.Load(p)
	if !ok {
		return fmt.Errorf("%s: no such file", p)
	}
	_, err := io.WriteString(m.stdout, text.(string))
	return err
}

func (m *machine) write(p, text string) error {
	source, readOnly, bound := m.resolve(p)
	switch {
	case readOnly:
		return fmt.Errorf("%s: read-only file system", p)
	case bound:
		return os.WriteFile(source, []byte(text+"\n"), 0o644)
	}
	m.files.Store(p, text+"\n")
	return nil
}

const (
	ignored = -1
	sigkill = 9
)

var signals = map[string]int{"HUP": 1, "INT": 2, "QUIT": 3, "KILL": sigkill, "USR1": 10, "USR2": 12, "TERM": 15}

// signalNumber reads "SIGTERM" or "TERM"; "" is SIGTERM.
func signalNumber(name string) (int, error) {
	if name == "" {
		name = "TERM"
	}
	n, ok := signals[strings.TrimPrefix(strings.ToUpper(name), "SIG")]
	if !ok {
		return 0, fmt.Errorf("signal %q: %w", name, runtime.ErrInvalid)
	}
	return n, nil
}
