package agent

import (
	"context"
	"errors"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/edgeswarm/edgeswarm/api"
	"github.com/edgeswarm/edgeswarm/runtime"
	"github.com/edgeswarm/edgeswarm/runtime/sim"
)

// checked is a task that is healthy while the file /ok is there.
func checked(id api.TaskID, steps ...string) *api.Task {
	t := task(id, steps...)
	t.Spec.ContainerSpec.Healthcheck = &api.HealthConfig{
		Test: append([]string{api.HealthCommand}, sim.Program("cat /ok")...), Interval: 10 * time.Second, Timeout: time.Second, Retries: 3,
	}
	return t
}

// probes returns when each exec began; it fails the test if two overlap or one
// is left behind.
func (b *board) probes() (at []time.Time) {
	b.Helper()
	open := false
	for _, e := range b.host.Journal() {
		switch e.Op {
		case sim.OpExec:
			if open {
				b.Fatal("two probes at once")
			}
			open = true
			at = append(at, e.At)
		case sim.OpExecEnd:
			open = false
		}
	}
	if open {
		b.Fatal("a probe is left behind")
	}
	return at
}

func gaps(start time.Time, at []time.Time) (out []time.Duration) {
	for _, t := range at {
		out = append(out, t.Sub(start))
		start = t
	}
	return out
}

func TestTaskRunsOnceHealthy(t *testing.T) {
	inBubble(t, func(b *board) {
		b.leader.tasks(checked("a", "sleep 15s", "write /ok yes", "wait"))
		b.after(9 * time.Second)
		if s := b.want("a", api.TaskStarting, 1); s.Message != "waits for its health check" || s.PID == 0 {
			t.Errorf("status %+v", s)
		}
		b.after(2 * time.Second)
		if s := b.want("a", api.TaskStarting, 1); s.Message != "health check fails: exit code 1: /ok: no such file" {
			t.Errorf("status %+v", s)
		}
		b.after(10 * time.Second)
		if s := b.want("a", api.TaskRunning, 1); s.Message != "" || s.ContainerID != "a.1" {
			t.Errorf("status %+v", s)
		}
		b.after(time.Hour)
		b.want("a", api.TaskRunning, 1)
		at := b.probes()
		for i, gap := range gaps(b.starts("a")[0], at) {
			if gap != 10*time.Second {
				t.Fatalf("probe %d came after %v", i+1, gap)
			}
		}
		if len(at) < 360 {
			t.Errorf("%d probes in an hour", len(at))
		}
		b.leader.desire("a", api.TaskShutdown)
		b.after(time.Minute)
		b.want("a", api.TaskShutdown, 1)
		if n := len(b.probes()); n > len(at) {
			t.Error("an ended task is probed")
		}
	})
}

func TestTaskThatIsNeverHealthyFails(t *testing.T) {
	inBubble(t, func(b *board) {
		b.leader.tasks(checked("a", "ignore TERM", "wait"))
		b.after(29 * time.Second)
		b.want("a", api.TaskStarting, 1)
		b.after(2 * time.Second) // three probes failed; now it has its grace period to end in
		if s := b.want("a", api.TaskDraining, 1); !strings.HasPrefix(s.Message, "unhealthy: exit code 1") {
			t.Errorf("status %+v", s)
		}
		b.after(10 * time.Second)
		s := b.want("a", api.TaskFailed, 1)
		if s.Err != "unhealthy: exit code 1: /ok: no such file" || !s.InMonitor || s.Exhausted || s.ExitCode == nil || *s.ExitCode != 137 {
			t.Errorf("status %+v: it never was healthy, however long after its start it failed", s)
		}
		if s.NextTry != 5*time.Second || s.RecentFailures != 1 {
			t.Errorf("status %+v", s)
		}
		b.after(5 * time.Second)
		b.want("a", api.TaskStarting, 2)
		b.after(time.Hour)
		if n := len(b.starts("a")); n > 20 {
			t.Errorf("%d attempts in an hour: a task that never is healthy does not back off", n)
		}
	})
}

func TestFlappingTaskGoesOn(t *testing.T) {
	inBubble(t, func(b *board) {
		steps := []string{"write /ok yes"}
		for range 20 { // two probes fail, one succeeds
			steps = append(steps, "sleep 5s", "delete /ok", "sleep 20s", "write /ok yes", "sleep 5s")
		}
		b.leader.tasks(checked("a", append(steps, "sleep 1s", "delete /ok", "wait")...))
		b.after(10*time.Minute + time.Second)
		b.want("a", api.TaskRunning, 1)
		before := len(b.leader.heard())
		b.after(20 * time.Second)
		b.want("a", api.TaskRunning, 1)
		for _, r := range b.leader.heard()[before:] {
			if len(r.report.Tasks) > 0 {
				t.Errorf("the leader is told of single probes: %+v", r.report.Tasks)
			}
		}
		b.after(11 * time.Second)
		if s := b.want("a", api.TaskFailed, 1); s.InMonitor {
			t.Errorf("status %+v: it was healthy for minutes", s)
		}
	})
}

func TestStartPeriod(t *testing.T) {
	inBubble(t, func(b *board) {
		a := checked("a", "sleep 62s", "write /ok yes", "sleep 30s", "delete /ok", "wait")
		a.Spec.ContainerSpec.Healthcheck.StartPeriod = 2 * time.Minute
		b.leader.tasks(a)
		b.after(61 * time.Second) // 12 failures don't count
		b.want("a", api.TaskStarting, 1)
		b.after(5 * time.Second) // found by the shorter start interval
		b.want("a", api.TaskRunning, 1)
		b.after(45 * time.Second) // within the start period, but it has been healthy: failures count
		b.want("a", api.TaskRunning, 1)
		b.after(7 * time.Second)
		b.want("a", api.TaskFailed, 1)
		want := slices.Repeat([]time.Duration{5 * time.Second}, 13)
		want = append(want, slices.Repeat([]time.Duration{10 * time.Second}, 6)...)
		if got := gaps(b.starts("a")[0], b.probes()); len(got) < 13 || !slices.Equal(got[:13], want[:13]) || !slices.Equal(got[13:], want[13:][:len(got)-13]) {
			t.Errorf("probes at %v", got)
		}
	})
}

func TestStartPeriodEnds(t *testing.T) {
	inBubble(t, func(b *board) {
		a := checked("a", "wait")
		a.Spec.ContainerSpec.Healthcheck.StartPeriod = time.Minute
		b.leader.tasks(a)
		b.after(75 * time.Second)
		b.want("a", api.TaskStarting, 1)
		b.after(6 * time.Second) // and three that count
		b.want("a", api.TaskFailed, 1)
	})
}

func TestSlowProbeFailsAndNeverOverlaps(t *testing.T) {
	inBubble(t, func(b *board) {
		a := checked("a", "wait")
		h := a.Spec.ContainerSpec.Healthcheck
		h.Test, h.Timeout, h.Interval = append([]string{api.HealthCommand}, sim.Program("sleep 1h")...), 30*time.Second, 5*time.Second
		b.leader.tasks(a)
		b.after(106 * time.Second)
		if s := b.want("a", api.TaskFailed, 1); s.Err != "unhealthy: no answer within 30s" {
			t.Errorf("status %+v", s)
		}
		want := []time.Duration{5 * time.Second, 35 * time.Second, 35 * time.Second}
		if got := gaps(b.starts("a")[0], b.probes()); !slices.Equal(got, want) {
			t.Errorf("probes after %v, want %v", got, want)
		}
	})
}

func TestProbeEndsWithItsTask(t *testing.T) {
	inBubble(t, func(b *board) {
		a := checked("a", "sleep 12s", "exit 3")
		a.Spec.ContainerSpec.Healthcheck.Timeout = time.Hour
		a.Spec.ContainerSpec.Healthcheck.Test = append([]string{api.HealthCommand}, sim.Program("sleep 1h")...)
		b.leader.tasks(a)
		b.after(13 * time.Second)
		if s := b.want("a", api.TaskFailed, 1); s.Err != "exit code 3" || !s.InMonitor {
			t.Errorf("status %+v", s)
		}
		if len(b.probes()) != 1 {
			t.Error("the probe was not begun")
		}
		b.after(15 * time.Second) // the second attempt is under its first probe
		b.leader.desire("a", api.TaskShutdown)
		b.after(time.Second)
		b.want("a", api.TaskShutdown, 2)
		b.probes()
	})
}

func TestImageHealthcheck(t *testing.T) {
	image := &api.HealthConfig{Test: append([]string{api.HealthCommand}, sim.Program("cat /ok")...), Interval: 10 * time.Second, Retries: 1}
	script := func(runtime.Container) sim.Script { return sim.Script{Healthcheck: image} }
	synctest.Test(t, func(t *testing.T) {
		b := newBoard(t, script)
		own, off, timed := task("own", "wait"), task("off", "wait"), task("timed", "write /ok yes", "wait")
		off.Spec.ContainerSpec.Healthcheck = &api.HealthConfig{Test: []string{api.HealthNone}}
		timed.Spec.ContainerSpec.Healthcheck = &api.HealthConfig{Interval: time.Minute}
		b.leader.tasks(own, off, timed)
		b.after(time.Second)
		b.want("own", api.TaskStarting, 1)
		b.want("off", api.TaskRunning, 1)
		b.after(10 * time.Second)
		b.want("own", api.TaskFailed, 1)
		b.want("timed", api.TaskStarting, 1)
		b.after(50 * time.Second)
		b.want("timed", api.TaskRunning, 1)
	})
}

func TestHealthSurvivesRestartOfEdged(t *testing.T) {
	inBubble(t, func(b *board) {
		b.leader.tasks(checked("a", "sleep 15s", "write /ok yes", "sleep 1h", "delete /ok", "wait"), checked("late", "sleep 55s", "write /ok yes", "wait"))
		b.after(21 * time.Second)
		b.want("a", api.TaskRunning, 1)
		b.want("late", api.TaskStarting, 1)
		b.restart()
		b.after(time.Second)
		b.want("a", api.TaskRunning, 1) // at once, and never back to starting: the leader complains of that
		b.want("late", api.TaskStarting, 1)
		b.after(25 * time.Second)
		b.restart() // its failures are forgotten
		b.after(25 * time.Second)
		b.want("late", api.TaskRunning, 1)
		b.after(time.Hour - 32*time.Second)
		if s := b.want("a", api.TaskFailed, 1); s.InMonitor {
			t.Errorf("status %+v", s)
		}
		b.wantRunning("late.1")
	})
}

func TestOutageOfTheRuntimeIsNotTheTasks(t *testing.T) {
	inBubble(t, func(b *board) {
		b.leader.tasks(checked("a", "write /ok yes", "wait"))
		b.after(11 * time.Second)
		b.want("a", api.TaskRunning, 1)
		b.host.SetDown(true)
		b.after(10 * time.Minute)
		b.want("a", api.TaskRunning, 1)
		b.host.SetDown(false)
		b.after(time.Minute)
		if s := b.want("a", api.TaskRunning, 1); s.Message != "" {
			t.Errorf("status %+v", s)
		}
	})
}

func TestTheRuntimeIsAwaited(t *testing.T) {
	inBubble(t, func(b *board) {
		b.host.SetDown(true)
		b.after(time.Minute)
		limit, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := b.agent.AwaitRuntime(limit); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("a runtime that is away: %v", err)
		}
		b.host.SetDown(false)
		if err := b.agent.AwaitRuntime(context.Background()); err != nil {
			t.Errorf("a runtime that is back: %v", err)
		}
	})
}

func TestHealthWritesLittle(t *testing.T) {
	inBubble(t, func(b *board) {
		b.leader.tasks(checked("a", "write /ok yes", "wait"))
		b.after(11 * time.Second)
		before := b.writes()
		b.after(time.Hour)
		if n := b.writes() - before; n != 0 {
			t.Errorf("%d writes by an hour of probes", n)
		}
	})
}

// server answers the connections of a task; it is a Dialer.
type server struct {
	mu     sync.Mutex
	answer string // "" refuses; "silence" never answers
	dialed []string
	open   int
}

func (s *server) say(answer string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.answer = answer
}

func (s *server) DialContext(_ context.Context, network, address string) (net.Conn, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.dialed = append(s.dialed, network+" "+address)
	if s.answer == "" {
		return nil, &net.OpError{Op: "dial", Err: errors.New("connection refused")}
	}
	ours, theirs := net.Pipe()
	s.open++
	go func(answer string) {
		defer func() {
			_ = theirs.Close()
			s.mu.Lock()
			defer s.mu.Unlock()
			s.open--
		}()
		if answer == "silence" {
			_, _ = io.Copy(io.Discard, theirs)
			return
		}
		buf := make([]byte, 4096)
		if n, err := theirs.Read(buf); err != nil || !strings.HasPrefix(string(buf[:n]), "GET /up?full=1 HTTP/1.1\r\nHost: 10.0.0.2:8080\r\n") {
			return
		}
		_, _ = io.WriteString(theirs, "HTTP/1.1 "+answer+"\r\nLocation: http://elsewhere/\r\nContent-Length: 2\r\n\r\nok")
	}(s.answer)
	return ours, nil
}

func TestHTTPProbe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &server{}
		b := newBoard(t, nil)
		b.kill()
		b.dial = s
		b.begin()
		a := task("a")
		a.Spec.ContainerSpec.Healthcheck = &api.HealthConfig{Test: []string{api.HealthHTTP, ":8080/up?full=1"}, Interval: 10 * time.Second, Timeout: 5 * time.Second, Retries: 2}
		b.leader.tasks(a)
		b.after(11 * time.Second)
		if st := b.want("a", api.TaskStarting, 1); st.Message != "health check fails: no connection: connection refused" {
			t.Errorf("status %+v", st)
		}
		s.say("200 OK")
		b.after(10 * time.Second)
		b.want("a", api.TaskRunning, 1)
		s.say("503 Not Now")
		b.after(10 * time.Second)
		s.say("302 Found") // and is not followed
		b.after(10 * time.Second)
		s.say("503 Not Now")
		b.after(10 * time.Second)
		b.want("a", api.TaskRunning, 1)
		s.say("silence")
		b.after(16 * time.Second)
		if st := b.want("a", api.TaskFailed, 1); st.Err != "unhealthy: no answer within 5s" {
			t.Errorf("status %+v", st)
		}
		if slices.ContainsFunc(s.dialed, func(d string) bool { return d != "tcp 10.0.0.2:8080" }) {
			t.Errorf("dialed %v", s.dialed)
		}
		if s.open != 0 {
			t.Errorf("%d connections are left open", s.open)
		}
	})
}

func TestTCPProbe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &server{answer: "silence"}
		b := newBoard(t, nil)
		b.kill()
		b.dial = s
		b.begin()
		a := task("a")
		a.Spec.ContainerSpec.Healthcheck = &api.HealthConfig{Test: []string{api.HealthTCP, "53"}, Interval: time.Second, Retries: 1}
		b.leader.tasks(a)
		b.after(1500 * time.Millisecond)
		b.want("a", api.TaskRunning, 1)
		s.say("")
		b.after(time.Second)
		if st := b.want("a", api.TaskFailed, 1); st.Err != "unhealthy: no connection: connection refused" {
			t.Errorf("status %+v", st)
		}
		if s.dialed[0] != "tcp 10.0.0.2:53" || s.open != 0 {
			t.Errorf("dialed %v; %d open", s.dialed, s.open)
		}
	})
}

func TestManyProbesAtOnceAreBounded(t *testing.T) {
	inBubble(t, func(b *board) {
		for i := range 12 {
			a := checked(api.TaskID(string(rune('a'+i))), "wait")
			a.Slot = i + 1
			a.Spec.ContainerSpec.Healthcheck.Test = append([]string{api.HealthCommand}, sim.Program("sleep 500ms")...)
			b.leader.tasks(a)
		}
		b.after(time.Minute)
		open := 0
		for _, e := range b.host.Journal() {
			switch e.Op {
			case sim.OpExec:
				open++
			case sim.OpExecEnd:
				open--
			}
			if open > execsAtOnce {
				t.Fatalf("%d probes at once", open)
			}
		}
		for i := range 12 {
			b.want(api.TaskID(string(rune('a'+i))), api.TaskRunning, 1) // waiting for a turn is not slowness
		}
	})
}

func TestExitWords(t *testing.T) {
	for code, want := range map[int]string{
		1: "exit code 1", 255: "exit code 255", 126: "exit code 126 (command can't be executed)", 127: "exit code 127 (command not found)",
		128: "exit code 128", 137: "exit code 137 (SIGKILL: killed)", 139: "exit code 139 (SIGSEGV: invalid memory access)", 129: "exit code 129 (SIGHUP)",
	} {
		if got := exitWords(code); got != want {
			t.Errorf("%d: %q, want %q", code, got, want)
		}
	}
}
