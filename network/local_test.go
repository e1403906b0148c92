package network

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/vishvananda/netlink"

	"github.com/edgeswarm/edgeswarm/api"
	"github.com/edgeswarm/edgeswarm/internal/host"
)

// The tests run in a network namespace of their own, so that they touch
// nothing of the machine and leave nothing behind when they are killed.
const insideEnv = "EDGE_NETWORK_TEST_INSIDE"

func TestMain(m *testing.M) {
	if answer := os.Getenv(serveEnv); answer != "" {
		serveForever(answer)
	}
	for env, be := range map[string]func(string) error{boardEnv: beBoard, datagramEnv: sendDatagram} {
		if how := os.Getenv(env); how != "" {
			if err := be(how); err != nil {
				fmt.Fprintln(os.Stderr, err)
				os.Exit(1)
			}
			os.Exit(0)
		}
	}
	if os.Getenv(insideEnv) != "" {
		os.Exit(m.Run())
	}
	cmd := exec.Command("unshare", append([]string{"--net", os.Args[0]}, os.Args[1:]...)...)
	cmd.Env = append(os.Environ(), insideEnv+"=1")
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	err := cmd.Run()
	var exit *exec.ExitError
	switch {
	case err == nil:
		os.Exit(0)
	case errors.As(err, &exit):
		os.Exit(exit.ExitCode())
	default:
		fmt.Fprintln(os.Stderr, "these tests need root and unshare(1):", err)
		os.Exit(1)
	}
}

func newLocal(t *testing.T) *Local {
	t.Helper()
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		t.Fatal(err)
	}
	if err := netlink.LinkSetUp(lo); err != nil {
		t.Fatal(err)
	}
	l := New(Config{Dir: t.TempDir(), Logger: slog.New(slog.DiscardHandler)})
	t.Cleanup(func() {
		if err := l.Retain(context.Background(), nil); err != nil {
			t.Error(err)
		}
		if bridge, err := netlink.LinkByName(bridgeName); err == nil {
			if err := netlink.LinkDel(bridge); err != nil {
				t.Error(err)
			}
		}
		if out, err := exec.Command("nft", "flush", "ruleset").CombinedOutput(); err != nil {
			t.Errorf("%s", out)
		}
	})
	return l
}

func webTask(ports ...api.PortConfig) *api.Task {
	return &api.Task{ID: api.NewID[api.TaskID](), Ports: ports}
}

func tcp(published, target uint16) api.PortConfig {
	return api.PortConfig{Protocol: api.TCP, PublishedPort: published, TargetPort: target, PublishMode: api.PublishHost}
}

// serve answers on port 80 inside a task's namespace, TCP and UDP, from a process
// of its own (this test again), with one line that names the task.
func serve(t *testing.T, ns, answer string) { listenIn(t, ns, answer) }

// listenIn is serve until end is called.
func listenIn(t *testing.T, ns, answer string) (end func()) {
	t.Helper()
	cmd := exec.Command("nsenter", "--net="+ns, os.Args[0])
	cmd.Env = append(os.Environ(), insideEnv+"=1", serveEnv+"="+answer)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	end = sync.OnceFunc(func() { cmd.Process.Kill(); cmd.Wait() })
	t.Cleanup(end)
	if line, err := bufio.NewReader(out).ReadString('\n'); err != nil {
		t.Fatalf("server in %s: %q, %v", ns, line, err)
	}
	return end
}

// sourceAnswer, within an answer, stands for the address that it is asked from.
const sourceAnswer = "source"

const serveEnv = "EDGE_NETWORK_TEST_SERVE"

func serveForever(answer string) {
	ln, err := net.Listen("tcp", ":80")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	packets, err := net.ListenPacket("udp", ":80")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Println("listening")
	saidTo := func(addr net.Addr) []byte {
		from, _, _ := net.SplitHostPort(addr.String())
		return []byte(strings.ReplaceAll(answer, sourceAnswer, from) + "\n")
	}
	go func() {
		buf := make([]byte, 2048)
		for {
			_, from, err := packets.ReadFrom(buf)
			if err != nil {
				os.Exit(1)
			}
			packets.WriteTo(saidTo(from), from)
		}
	}()
	for {
		conn, err := ln.Accept()
		if err != nil {
			os.Exit(1)
		}
		conn.Write(saidTo(conn.RemoteAddr()))
		conn.Close()
	}
}

func ask(addr string) (string, error) {
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	line, err := bufio.NewReader(conn).ReadString('\n')
	return strings.TrimSpace(line), err
}

func TestPublishedPortReachesTheTask(t *testing.T) {
	l := newLocal(t)
	one, two := webTask(tcp(30001, 80)), webTask(tcp(30002, 80))
	for task, answer := range map[*api.Task]string{one: "one", two: "two"} {
		at, err := l.Attach(t.Context(), task)
		if err != nil {
			t.Fatal(err)
		}
		serve(t, at.NetNS, answer)
	}
	for addr, want := range map[string]string{"127.0.0.1:30001": "one", "127.0.0.1:30002": "two", "10.210.0.1:30002": "two"} {
		if got, err := ask(addr); err != nil || got != want {
			t.Errorf("%s answers %q, %v; want %q", addr, got, err, want)
		}
	}
	// From one task to another's published port at the board's address.
	out, err := exec.Command("nsenter", "--net="+filepath.Join(l.taskDir(one.ID), nsFile), "timeout", "5", "busybox", "nc", "10.210.0.1", "30001").Output()
	if err != nil || strings.TrimSpace(string(out)) != "one" {
		t.Errorf("a task that asks its own published port hears %q, %v", out, err)
	}
	// A task that takes over the address is reached at once, though the board
	// remembers the one before.
	if err := l.Detach(t.Context(), two.ID); err != nil {
		t.Fatal(err)
	}
	two = webTask(tcp(30002, 80))
	at, err := l.Attach(t.Context(), two)
	if err != nil {
		t.Fatal(err)
	}
	serve(t, at.NetNS, "two")
	out, err = exec.Command("nsenter", "--net="+filepath.Join(l.taskDir(one.ID), nsFile), "timeout", "5", "busybox", "nc", "10.210.0.1", "30002").Output()
	if err != nil || strings.TrimSpace(string(out)) != "two" {
		t.Errorf("the successor at the same address answers %q, %v", out, err)
	}
	if err := l.Detach(t.Context(), one.ID); err != nil {
		t.Fatal(err)
	}
	if _, err := ask("127.0.0.1:30001"); err == nil {
		t.Error("a detached task's port still answers")
	}
	if got, _ := ask("127.0.0.1:30002"); got != "two" {
		t.Error("detaching one task disturbed the other")
	}
}

func TestAttachTwiceChangesNothing(t *testing.T) {
	l := newLocal(t)
	task := webTask(tcp(30001, 80))
	first, err := l.Attach(t.Context(), task)
	if err != nil {
		t.Fatal(err)
	}
	again := New(Config{Dir: l.cfg.Dir, Logger: l.cfg.Logger}) // as after a restart
	second, err := again.Attach(t.Context(), task)
	if err != nil {
		t.Fatal(err)
	}
	if first != second {
		t.Errorf("attached as %+v, then as %+v", first, second)
	}
	if rules, err := publishRules(task.ID); err != nil || len(rules) != 1 {
		t.Errorf("%d rules, %v; want 1", len(rules), err)
	}
}

func TestLeftoversGo(t *testing.T) {
	l := newLocal(t)
	before, err := netlink.LinkList()
	if err != nil {
		t.Fatal(err)
	}
	keep := webTask()
	if _, err := l.Attach(t.Context(), keep); err != nil {
		t.Fatal(err)
	}
	for range 20 {
		if _, err := l.Attach(t.Context(), webTask(tcp(uint16(30100), 80))); err != nil {
			t.Fatal(err)
		}
		if err := l.Retain(t.Context(), []api.TaskID{keep.ID}); err != nil {
			t.Fatal(err)
		}
	}
	after, err := netlink.LinkList()
	if err != nil {
		t.Fatal(err)
	}
	if want := len(before) + 2; len(after) != want { // the bridge and the kept task
		t.Errorf("%d links, want %d: %v", len(after), want, after)
	}
	if !host.IsNetNS(filepath.Join(l.taskDir(keep.ID), nsFile)) {
		t.Error("the kept task's namespace is gone")
	}
}

func TestHalfMadeLinkIsMended(t *testing.T) {
	l := newLocal(t)
	task := webTask()
	at, err := l.Attach(t.Context(), task)
	if err != nil {
		t.Fatal(err)
	}
	if err := unplug(task.ID); err != nil {
		t.Fatal(err)
	}
	if _, err := l.Attach(t.Context(), task); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("nsenter", "--net="+at.NetNS, "ping", "-c1", "-W2", "10.210.0.1").CombinedOutput(); err != nil {
		t.Errorf("the task does not reach its board: %s", out)
	}
}

func TestSubnetAvoidsTheBoardsRoutes(t *testing.T) {
	l := newLocal(t)
	dummy := &netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: "lan9"}}
	if err := netlink.LinkAdd(dummy); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { netlink.LinkDel(dummy) })
	addr, _ := netlink.ParseAddr("10.210.3.4/16")
	addr.Mask = net.CIDRMask(21, 32)
	if err := netlink.AddrAdd(dummy, addr); err != nil {
		t.Fatal(err)
	}
	if err := netlink.LinkSetUp(dummy); err != nil {
		t.Fatal(err)
	}
	at, err := l.Attach(t.Context(), webTask())
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(at.Addr, "10.210.16.") {
		t.Errorf("task got %s inside the LAN's own 10.210.0.0/21", at.Addr)
	}
}

func TestPortInUseIsNamed(t *testing.T) {
	l := newLocal(t)
	ln, err := net.Listen("tcp", ":30300")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	_, err = l.Attach(t.Context(), webTask(tcp(30300, 80)))
	if api.KindOf(err) != api.Conflict || !strings.Contains(err.Error(), "30300/tcp") {
		t.Errorf("got %v", err)
	}
}

func TestHostNetworkSharesTheBoards(t *testing.T) {
	l := newLocal(t)
	task := webTask()
	task.Spec.Networks = []api.NetworkAttachment{{Target: api.NetworkHost}}
	at, err := l.Attach(t.Context(), task)
	if err != nil {
		t.Fatal(err)
	}
	if at.NetNS != "" || at.Hosts == "" {
		t.Errorf("attached as %+v", at)
	}
}

func TestStubResolverIsPassedOver(t *testing.T) {
	dir := t.TempDir()
	stub, real := filepath.Join(dir, "stub"), filepath.Join(dir, "real")
	os.WriteFile(stub, []byte("nameserver 127.0.0.53\noptions edns0\n"), 0o644)
	os.WriteFile(real, []byte("search lan\nnameserver 192.0.2.1\n"), 0o644)
	got, err := resolvConf([]string{stub, filepath.Join(dir, "absent"), real}, false)
	if err != nil || string(got) != "search lan\nnameserver 192.0.2.1\n" {
		t.Errorf("got %q, %v", got, err)
	}
}
