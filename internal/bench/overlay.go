package bench

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/edgeswarm/edgeswarm/identity"
)

// overlay is a network between tasks of two boards: ours by one of our drivers,
// or Docker's.
type overlay struct {
	*fleet
	name, driver string
	more         []string // of network create
	// ends are the processes of its two tasks, whose networks are measured.
	from, to int
	addr     string // of the second

	speed, delay Figure
}

// Lengths of one measurement.
const (
	overlayTime  = 5 * time.Second
	overlayPings = 500
)

// Overlays measures networks between a task on one board and a task on another:
// how much one connection carries and how long an answer takes, by our drivers
// and by Docker's overlay, in plain on both sides, in turn on the same machine.
// Boards are joined by a bridge, so it is the ways through the kernel that are
// compared, and userspace WireGuard where the kernel has none.
func Overlays(ctx context.Context, cfg Config, runs int) (figures []Figure, err error) {
	cfg = cfg.withDefaults()
	ours, err := cfg.newFleet(3, identity.GenerateFleetKey().Reveal())
	if err != nil {
		return nil, err
	}
	theirs, err := cfg.newSwarm(3)
	if err != nil {
		return nil, err
	}
	defer func() {
		ctx := context.WithoutCancel(ctx)
		err = errors.Join(err, ours.lab.Down(ctx), theirs.lab.Down(ctx))
	}()
	cfg.Progress("starting three boards with edged, and three with dockerd")
	if err := errors.Join(ours.lab.Lay(ctx, 3), ours.up(ctx), theirs.upSwarm(ctx)); err != nil {
		return nil, err
	}
	if err := loadBoth(ctx, cfg, ours, theirs); err != nil {
		return nil, err
	}
	all := []*overlay{
		{fleet: ours, name: "vxlan", driver: "vxlan"},
		{fleet: theirs, name: "Docker's overlay", driver: "overlay"},
		{fleet: ours, name: "mesh", driver: "mesh"},
	}
	for i, o := range all {
		cfg.Progress("a pair of tasks by %s", o.name)
		if err := o.join(ctx, fmt.Sprint("pair", i)); err != nil {
			return nil, fmt.Errorf("%s: %w", o.name, err)
		}
		o.speed = Figure{Name: "one connection between tasks of two boards, " + o.name, Unit: "Gbit/s", Command: overlayCommand}
		o.delay = Figure{Name: "an answer between tasks of two boards, " + o.name, Unit: "µs", Command: overlayCommand}
	}
	for run := range runs {
		cfg.Progress("run %d of %d", run+1, runs)
		for i := range all { // none is always the one that finds the machine warm
			if err := all[(i+run)%len(all)].measure(ctx); err != nil {
				return nil, err
			}
		}
	}
	plain, docker := all[0], all[1]
	for _, o := range all {
		figures = append(figures, o.speed, o.delay)
	}
	ratio := func(name string, a, b Figure) Figure {
		return Figure{Name: name, Unit: "×", Values: []float64{a.Median() / b.Median()}, Limit: 1, Bounded: true, Command: overlayCommand}
	}
	return append(figures, ratio("what Docker's overlay carries, in what vxlan does", docker.speed, plain.speed),
		ratio("vxlan's answer, in Docker's", plain.delay, docker.delay)), nil
}

const overlayCommand = "OVERLAYS=5 make bench-swarm"

// join makes the network and its two tasks.
func (o *overlay) join(ctx context.Context, network string) error {
	if _, err := o.ask(ctx, 1, "network", "create", "--driver", o.driver, network); err != nil {
		return err
	}
	pids := make([]int, 2)
	for i := range pids {
		b := o.lab.Board(i + 1)
		service := fmt.Sprintf("%s-%d", network, i+1)
		// Without an address that balances: Docker's needs IPVS.
		if _, err := o.ask(ctx, 1, "service", "create", "--detach", "--name", service, "--network", network, "--endpoint-mode", "dnsrr",
			"--constraint", "node.hostname=="+b.Name(), imageName); err != nil {
			return err
		}
		if err := o.awaitRunning(ctx, 1, service, 1, 0); err != nil {
			return err
		}
		pid, addr, err := o.task(ctx, i+1, service, network)
		if err != nil {
			return err
		}
		pids[i], o.addr = pid, addr
	}
	o.from, o.to = pids[0], pids[1]
	return until(ctx, 200*time.Millisecond, func(ctx context.Context) error {
		_, err := o.in(ctx, o.from, "ping", "-q", "-c1", "-W1", o.addr)
		return err
	})
}

// task is the process of a service's only task, and its address.
func (o *overlay) task(ctx context.Context, board int, service, network string) (pid int, addr string, err error) {
	args := []string{"task", "inspect", "--format", "{{.Status.PID}} {{(index .Addresses 0).Addr}}", service + ".1"}
	if o.daemon == "dockerd" {
		id, err := o.ask(ctx, board, "ps", "--quiet", "--filter", "label=com.docker.swarm.service.name="+service)
		if err != nil {
			return 0, "", err
		}
		args = []string{"inspect", "--format", fmt.Sprintf(`{{.State.Pid}} {{(index .NetworkSettings.Networks %q).IPAddress}}`, network), strings.TrimSpace(id)}
	}
	out, err := o.ask(ctx, board, args...)
	if err != nil {
		return 0, "", err
	}
	if _, err := fmt.Sscan(out, &pid, &addr); err != nil {
		return 0, "", fmt.Errorf("task of %s: %q: %w", service, out, err)
	}
	return pid, addr, nil
}

// in runs a program in the network of a process.
func (o *overlay) in(ctx context.Context, pid int, program ...string) (string, error) {
	cmd := exec.CommandContext(ctx, "nsenter", append([]string{"--net=/proc/" + strconv.Itoa(pid) + "/ns/net"}, program...)...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("%s: %w: %s", strings.Join(program, " "), err, out)
	}
	return string(out), nil
}

var pingTimes = regexp.MustCompile(`= [0-9.]+/([0-9.]+)/`)

func (o *overlay) measure(ctx context.Context) error {
	out, err := o.in(ctx, o.from, "ping", "-q", "-c", strconv.Itoa(overlayPings), "-i", "0.002", o.addr)
	if err != nil {
		return err
	}
	found := pingTimes.FindStringSubmatch(out)
	if found == nil {
		return fmt.Errorf("ping tells no times: %s", out)
	}
	delay, err := strconv.ParseFloat(found[1], 64)
	if err != nil {
		return err
	}
	o.delay.Values = append(o.delay.Values, 1000*delay)

	ctx, cancel := context.WithCancel(ctx)
	served := make(chan struct{})
	go func() {
		defer close(served)
		_, _ = o.in(ctx, o.to, "iperf3", "--server") // it is ended; and what goes wrong, who asks it tells
	}()
	defer func() { cancel(); <-served }()
	var result struct {
		Error string `json:"error"` // it ends with 0 all the same
		End   struct {
			Received struct {
				BitsPerSecond float64 `json:"bits_per_second"`
			} `json:"sum_received"`
		} `json:"end"`
	}
	err = until(ctx, 100*time.Millisecond, func(ctx context.Context) error {
		out, err := o.in(ctx, o.from, "iperf3", "--json", "--time", fmt.Sprint(overlayTime.Seconds()), "--client", o.addr)
		if err != nil {
			return err
		}
		result.Error = ""
		if err := json.Unmarshal([]byte(out), &result); err != nil {
			return fmt.Errorf("read what iperf3 tells: %w", err)
		}
		if result.Error != "" {
			return errors.New(result.Error)
		}
		return nil
	})
	o.speed.Values = append(o.speed.Values, result.End.Received.BitsPerSecond/1e9)
	return err
}
