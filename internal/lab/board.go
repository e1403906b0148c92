package lab

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Start powers the board on: containerd, unless its edged keeps one, and edged,
// as its units would.
func (b Board) Start(ctx context.Context) error {
	boot, err := b.newBoot()
	if err != nil {
		return fmt.Errorf("start %s: %w", b.Name(), err)
	}
	if !b.managed() {
		if err := b.StartContainerd(ctx); err != nil {
			return err
		}
	}
	return b.startEdged(boot)
}

// StartContainerd starts the board's containerd alone.
func (b Board) StartContainerd(ctx context.Context) error {
	err := b.spawn("containerd", nil, "containerd", "--config", filepath.Join(b.RunDir(), "containerd.toml"))
	if err == nil {
		err = waitFor(ctx, 20*time.Second, func() error { return dialable(b.Containerd()) })
	}
	if err != nil {
		return fmt.Errorf("start containerd of %s: %w", b.Name(), err)
	}
	return nil
}

// StartEdged starts edged alone, in the boot that is under way.
func (b Board) StartEdged() error {
	boot, err := os.ReadFile(b.bootFile())
	if err != nil {
		return fmt.Errorf("start edged of %s: %w", b.Name(), err)
	}
	return b.startEdged(string(boot))
}

func (b Board) startEdged(boot string) error {
	further, err := b.cardArgs()
	if err != nil {
		return fmt.Errorf("start edged of %s: %w", b.Name(), err)
	}
	args := append([]string{
		filepath.Join(b.lab.cfg.Bin, "edged"),
		"--name", b.Name(),
		"--config", b.cardFile(),
		"--state-dir", filepath.Join(b.StateDir(), "edged"),
		"--run-dir", b.RunDir(),
		"--containerd", b.Containerd(),
		"--cgroup-parent", b.cgroup() + "/containers",
	}, further...)
	if err := b.spawn("edged", []string{"EDGE_BOOT_ID=" + boot}, args...); err != nil {
		return fmt.Errorf("start edged of %s: %w", b.Name(), err)
	}
	return nil
}

func (b Board) bootFile() string { return filepath.Join(b.RunDir(), "boot-id") }

// newBoot begins a boot: its own boot ID, for the shared kernel's would hide
// from edged that the board was off.
func (b Board) newBoot() (string, error) {
	boot := fmt.Sprintf("%s-%d", b.Name(), time.Now().UnixNano())
	return boot, os.WriteFile(b.bootFile(), []byte(boot), 0o644)
}

// Spawn starts another program on the board, as edged and containerd are
// started; PID, Signal and LogFile then know it by its name.
func (b Board) Spawn(name string, args ...string) error {
	if err := b.spawn(name, nil, args...); err != nil {
		return fmt.Errorf("start %s of %s: %w", name, b.Name(), err)
	}
	return nil
}

// spawn starts a program inside the board, in its cgroup and with its
// hostname, on its own session: it outlives us. Output goes to NAME.log, the
// process ID to NAME.pid.
func (b Board) spawn(name string, env []string, args ...string) error {
	log, err := os.OpenFile(b.LogFile(name), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer log.Close()
	if err := b.makeCgroups(); err != nil {
		return err
	}
	pidFile := filepath.Join(b.RunDir(), name+".pid")
	// The shell joins the board's cgroups and sets its name before it becomes the program.
	script := `for f in ` + strings.Join(b.cgroupProcs(), " ") + `; do echo $$ > "$f"; done
hostname "$0"; echo $$ > "$1"; shift; exec "$@"`
	inside := append([]string{"--net=/run/netns/" + b.netns(), "unshare", "--uts", "sh", "-ec", script, b.Name(), pidFile}, args...)
	cmd := exec.Command("nsenter", inside...)
	cmd.Env = append(withoutSettings(os.Environ()), env...)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	_ = os.Remove(pidFile)
	if err := cmd.Start(); err != nil {
		return err
	}
	gone := make(chan error, 1)
	go func() { gone <- cmd.Wait() }() // reaps it, for as long as we live
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	return waitFor(ctx, 10*time.Second, func() error {
		select {
		case err := <-gone:
			return fatal{fmt.Errorf("%s ended at once (%v); see %s", name, err, b.LogFile(name))}
		default:
		}
		_, err := b.PID(name)
		return err
	})
}

// withoutSettings drops what the person at the keyboard set for a board of
// their own: the lab's boards have their cards.
func withoutSettings(environ []string) []string {
	return slices.DeleteFunc(environ, func(v string) bool { return strings.HasPrefix(v, "EDGE_") })
}

// LogFile is where a program of the board ("edged", "containerd") writes.
func (b Board) LogFile(name string) string { return filepath.Join(b.StateDir(), name+".log") }

// PID is the process ID of a program of the board that is running.
func (b Board) PID(name string) (int, error) {
	file := filepath.Join(b.RunDir(), name+".pid")
	if name == "containerd" && b.managed() {
		file = filepath.Join(b.RunDir(), "containerd", "pid") // edged's own note
	}
	raw, err := os.ReadFile(file)
	if err != nil {
		return 0, err
	}
	first, _, _ := strings.Cut(strings.TrimSpace(string(raw)), " ")
	pid, err := strconv.Atoi(first)
	if err != nil {
		return 0, fmt.Errorf("read %s.pid: %w", name, err)
	}
	if err := syscall.Kill(pid, 0); err != nil {
		return 0, fmt.Errorf("%s of %s is not running: %w", name, b.Name(), err)
	}
	return pid, nil
}

// Signal sends a signal to a program of the board, and for SIGKILL and SIGTERM
// waits until it is gone.
func (b Board) Signal(ctx context.Context, name string, sig syscall.Signal) error {
	pid, err := b.PID(name)
	if err != nil {
		return err
	}
	if err := syscall.Kill(pid, sig); err != nil {
		return fmt.Errorf("signal %s of %s: %w", name, b.Name(), err)
	}
	if sig != syscall.SIGKILL && sig != syscall.SIGTERM {
		return nil
	}
	return waitFor(ctx, 30*time.Second, func() error {
		if alive(pid) {
			return fmt.Errorf("%s of %s is still there", name, b.Name())
		}
		return nil
	})
}

// Kill pulls the plug: everything that runs on the board is killed at once,
// and its mounts go, as they would with the power. Its card stays.
func (b Board) Kill(ctx context.Context) error {
	if err := b.killAll(ctx); err != nil {
		return fmt.Errorf("kill %s: %w", b.Name(), err)
	}
	if err := unmountBelow(b.RunDir()); err != nil {
		return fmt.Errorf("kill %s: %w", b.Name(), err)
	}
	// What a board keeps in memory is gone; its sockets and tasks' FIFOs too.
	entries, err := os.ReadDir(b.RunDir())
	if err != nil {
		return fmt.Errorf("kill %s: %w", b.Name(), err)
	}
	for _, e := range entries {
		if e.Name() != "containerd.toml" {
			err = errors.Join(err, os.RemoveAll(filepath.Join(b.RunDir(), e.Name())))
		}
	}
	return errors.Join(err, b.dropLinks(ctx))
}

// dropLinks removes what tasks left in the board's namespace: a reboot would.
func (b Board) dropLinks(ctx context.Context) error {
	if _, err := os.Stat("/run/netns/" + b.netns()); err != nil {
		return nil
	}
	out, err := run(ctx, "ip", "-n", b.netns(), "-o", "link", "show")
	if err != nil {
		return err
	}
	for _, line := range strings.Split(out, "\n") {
		fields := strings.Fields(line)
		if len(fields) < 2 {
			continue
		}
		name, _, _ := strings.Cut(strings.TrimSuffix(fields[1], ":"), "@")
		if name == "lo" || name == "eth0" {
			continue
		}
		if _, err := run(ctx, "ip", "-n", b.netns(), "link", "del", name); err != nil && !strings.Contains(err.Error(), "Cannot find") {
			return err
		}
	}
	_, err = run(ctx, "nsenter", "--net=/run/netns/"+b.netns(), "nft", "flush", "ruleset")
	return err
}

// Unplug takes the board away with all its state.
func (b Board) Unplug(ctx context.Context) error {
	err := b.killAll(ctx)
	err = errors.Join(err, unmountBelow(b.RunDir()), unmountBelow(b.StateDir()))
	if _, statErr := os.Stat("/run/netns/" + b.netns()); statErr == nil {
		_, nsErr := run(ctx, "ip", "netns", "del", b.netns())
		err = errors.Join(err, nsErr)
	}
	return errors.Join(err, os.RemoveAll(b.RunDir()), os.RemoveAll(b.StateDir()), b.removeCgroups())
}

// Exec runs a program in the board's network, and returns what it printed.
func (b Board) Exec(ctx context.Context, args ...string) (string, error) {
	return run(ctx, append([]string{"nsenter", "--net=/run/netns/" + b.netns()}, args...)...)
}

// Edgectl runs edgectl against this board, and returns what it printed.
func (b Board) Edgectl(ctx context.Context, args ...string) (string, error) {
	return run(ctx, append([]string{filepath.Join(b.lab.cfg.Bin, "edgectl"), "--host", "unix://" + b.Socket()}, args...)...)
}

func dialable(socket string) error {
	conn, err := net.Dial("unix", socket)
	if err != nil {
		return err
	}
	return conn.Close()
}
