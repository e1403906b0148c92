package mdns

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/netip"
	"os"
	"os/exec"
	"os/signal"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/edgeswarm/edgeswarm/discovery"
	"github.com/edgeswarm/edgeswarm/discovery/discoverytest"
)

// The real LAN: a bridge in a network namespace of its own, and a namespace
// with a veth on it for each board. A board's finder is this test binary run
// again inside its namespace, commanded over a pipe; it dies with its parent.
const (
	namespacePrefix = "edisc"
	boardEnv        = "EDGESWARM_MDNS_TEST_BOARD"
	testInterval    = 500 * time.Millisecond
)

func TestMain(m *testing.M) {
	if os.Getenv(boardEnv) != "" {
		runBoard()
		return
	}
	sweep()
	os.Exit(m.Run())
}

// command is what a board is told, one to a line.
type command struct{ Announce *discovery.Announcement }

// runBoard is a board: it works until its input ends.
func runBoard() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	f := New(Config{Interval: testInterval})
	done := make(chan error, 1)
	go func() { done <- f.Run(ctx) }()
	go func() {
		out := json.NewEncoder(os.Stdout)
		for range f.Changed() {
			if out.Encode(f.Sightings()) != nil {
				return
			}
		}
	}()
	for in := json.NewDecoder(os.Stdin); ; {
		var c command
		if err := in.Decode(&c); err != nil {
			break
		}
		if c.Announce != nil {
			f.Announce(*c.Announce)
		}
	}
	stop()
	<-done
}

// sweep removes namespaces that a killed run left behind.
func sweep() {
	out, _ := exec.Command("ip", "netns", "list").Output()
	for line := range strings.Lines(string(out)) {
		name, _, _ := strings.Cut(strings.TrimSpace(line), " ")
		parts := strings.Split(name, "-")
		if len(parts) != 3 || parts[0] != namespacePrefix {
			continue
		}
		if pid, err := strconv.Atoi(parts[1]); err == nil && syscall.Kill(pid, 0) == syscall.ESRCH {
			_ = exec.Command("ip", "netns", "delete", name).Run()
		}
	}
}

var (
	namespaceMu   sync.Mutex
	namespaceNext int
)

// namespace makes a network namespace that lives as long as the test.
func namespace(t *testing.T) string {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Fatal("this test makes network namespaces: run it as root")
	}
	namespaceMu.Lock()
	namespaceNext++
	name := fmt.Sprintf("%s-%d-%d", namespacePrefix, os.Getpid(), namespaceNext)
	namespaceMu.Unlock()
	ip(t, "netns", "add", name)
	t.Cleanup(func() { ip(t, "netns", "delete", name) })
	ip(t, "-n", name, "link", "set", "lo", "up")
	return name
}

func ip(t *testing.T, args ...string) {
	t.Helper()
	if out, err := exec.Command("ip", args...).CombinedOutput(); err != nil {
		t.Fatalf("ip %s: %v: %s", strings.Join(args, " "), err, out)
	}
}

type realLAN struct {
	bridge string // the bridge's namespace
	ports  int
	addrs  int
}

func newLAN(t *testing.T) *realLAN {
	l := &realLAN{bridge: namespace(t)}
	ip(t, "-n", l.bridge, "link", "add", "lan", "type", "bridge")
	ip(t, "-n", l.bridge, "link", "set", "lan", "up")
	return l
}

type realBoard struct {
	lan       *realLAN
	namespace string
	v6only    bool
	addr      string
	port      string // the bridge's end of the cable; "" while unplugged
	cmd       *exec.Cmd
	stdin     io.WriteCloser
	changed   chan struct{}
	gone      chan struct{}

	mu   sync.Mutex
	seen []discovery.Sighting
}

func (l *realLAN) Board(t *testing.T, plugged bool) discoverytest.Board {
	t.Helper()
	return l.board(t, plugged, false)
}

func (l *realLAN) board(t *testing.T, plugged, v6only bool) *realBoard {
	t.Helper()
	b := &realBoard{lan: l, namespace: namespace(t), v6only: v6only, changed: make(chan struct{}, 1), gone: make(chan struct{})}
	if plugged {
		b.Plug(t)
	}
	b.cmd = exec.Command("ip", "netns", "exec", b.namespace, os.Args[0])
	b.cmd.Env = append(os.Environ(), boardEnv+"=1")
	b.cmd.Stderr = os.Stderr
	b.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	stdout, err := b.cmd.StdoutPipe()
	if err == nil {
		b.stdin, err = b.cmd.StdinPipe()
	}
	if err == nil {
		err = b.cmd.Start()
	}
	if err != nil {
		t.Fatalf("start board: %v", err)
	}
	go b.read(stdout)
	t.Cleanup(func() { b.Crash(t) })
	return b
}

func (b *realBoard) read(stdout io.Reader) {
	defer close(b.gone)
	for in := json.NewDecoder(bufio.NewReader(stdout)); ; {
		var seen []discovery.Sighting
		if err := in.Decode(&seen); err != nil {
			return
		}
		b.mu.Lock()
		b.seen = seen
		b.mu.Unlock()
		poke(b.changed)
	}
}

func (b *realBoard) Announce(a discovery.Announcement) {
	_ = json.NewEncoder(b.stdin).Encode(command{Announce: &a})
}

func (b *realBoard) Sightings() []discovery.Sighting {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.seen
}

func (b *realBoard) Changed() <-chan struct{} { return b.changed }

func (b *realBoard) Plug(t *testing.T) {
	t.Helper()
	b.lan.ports++
	b.port = fmt.Sprintf("port%d", b.lan.ports)
	ip(t, "-n", b.lan.bridge, "link", "add", b.port, "type", "veth", "peer", "name", "eth0", "netns", b.namespace)
	ip(t, "-n", b.lan.bridge, "link", "set", b.port, "master", "lan", "up")
	if !b.v6only {
		b.Readdress(t)
	}
	ip(t, "-n", b.namespace, "link", "set", "eth0", "up")
}

func (b *realBoard) Unplug(t *testing.T) {
	t.Helper()
	ip(t, "-n", b.lan.bridge, "link", "delete", b.port)
	b.port, b.addr = "", ""
}

func (b *realBoard) Readdress(t *testing.T) netip.Addr {
	t.Helper()
	b.lan.addrs++
	old, addr := b.addr, fmt.Sprintf("198.18.0.%d", b.lan.addrs)
	if old != "" {
		ip(t, "-n", b.namespace, "addr", "delete", old+"/24", "dev", "eth0")
	}
	ip(t, "-n", b.namespace, "addr", "add", addr+"/24", "dev", "eth0")
	b.addr = addr
	return netip.MustParseAddr(addr)
}

func (b *realBoard) Stop(t *testing.T) {
	t.Helper()
	_ = b.stdin.Close()
	b.wait(t)
}

func (b *realBoard) Crash(t *testing.T) {
	t.Helper()
	_ = b.cmd.Process.Kill()
	b.wait(t)
}

func (b *realBoard) wait(t *testing.T) {
	t.Helper()
	select {
	case <-b.gone:
		_ = b.cmd.Wait()
	case <-time.After(10 * time.Second):
		t.Fatal("the board does not end")
	}
}

// in runs a shell command inside the board's namespace.
func (b *realBoard) in(t *testing.T, script string) string {
	t.Helper()
	out, err := exec.Command("ip", "netns", "exec", b.namespace, "sh", "-c", script).CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v: %s", script, err, out)
	}
	return string(out)
}
