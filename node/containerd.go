package node

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/edgeswarm/edgeswarm/internal/host"
	"github.com/edgeswarm/edgeswarm/runtime/containerd"
	"github.com/edgeswarm/edgeswarm/runtime/containerd/daemon"
)

// What Config.Containerd may be, other than a path.
const (
	AutoContainerd    = "auto"
	ManagedContainerd = "managed"
)

const (
	// containerdRoom is the managed daemon's folder, in the state directory and
	// in the run directory.
	containerdRoom = "containerd"
	// containerdFile says which daemon was chosen for this board.
	containerdFile = "containerd.choice"
)

// systemContainerd is the socket of the one that the distribution starts.
const systemContainerd = containerd.DefaultSocket

// chooseContainerd says where the board's tasks run, and keeps the choice that
// it makes by itself: tasks that run in one daemon would be started once more
// in another, if the first were just being upgraded when edged starts.
func chooseContainerd(cfg Config, dir *stateDir) (socket string, managed *daemon.Daemon, err error) {
	choice := cfg.Containerd
	if choice == AutoContainerd {
		if choice, err = dir.containerd(); err != nil {
			return "", nil, err
		}
	}
	if choice == "" {
		choice = ManagedContainerd
		if conn, err := net.Dial("unix", systemContainerd); err == nil {
			conn.Close()
			choice = systemContainerd
		}
	}
	if cfg.Containerd == AutoContainerd || choice == ManagedContainerd {
		if err := dir.keepContainerd(choice); err != nil {
			return "", nil, err
		}
	}
	if choice != ManagedContainerd {
		return choice, nil, nil
	}
	own := cfg.managedContainerd()
	return own.Socket(), daemon.New(own), nil
}

// managedContainerd describes the board's own daemon.
func (c Config) managedContainerd() daemon.Config {
	d := daemon.Config{
		Root: filepath.Join(c.StateDir, containerdRoom), Dir: filepath.Join(c.RunDir, containerdRoom),
		Cgroup: c.ownCgroup("containerd"), Logger: c.Logger.With("room", "runtime"),
	}
	d.Unit, d.Session = "edged-containerd.service", !underSystemd()
	if c.RunDir != DefaultRunDir {
		d.Unit = "edged-containerd-" + strings.ReplaceAll(strings.Trim(c.RunDir, "/"), "/", "-") + ".service"
	}
	return d
}

// underSystemd reports whether systemd started this very process, as a service:
// from a shell on a machine with systemd, edged is just a program.
func underSystemd() bool { return os.Getenv("SYSTEMD_EXEC_PID") == strconv.Itoa(os.Getpid()) }

// ownCgroup is where a process goes that must not end with edged; beside the
// tasks'.
func (c Config) ownCgroup(name string) string {
	return path.Join(path.Dir(c.CgroupParent), "edged-"+name)
}

func newDriver(cfg Config, socket string, managed *daemon.Daemon) (*containerd.Driver, error) {
	d := containerd.Config{
		Socket: socket, Namespace: cfg.Namespace, CgroupRoot: cfg.CgroupParent, RunDir: cfg.RunDir, Init: initProgram(), Logger: cfg.Logger.With("room", "runtime"),
	}
	if managed != nil {
		d.Trouble = managed.Trouble
	}
	return containerd.New(d)
}

// containerd is which one was chosen for this board, "" if none was yet.
func (d *stateDir) containerd() (string, error) {
	raw, err := os.ReadFile(d.room(containerdFile))
	if errors.Is(err, os.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("read which containerd was chosen: %w", err)
	}
	return strings.TrimSpace(string(raw)), nil
}

func (d *stateDir) keepContainerd(choice string) error {
	if before, err := d.containerd(); err != nil || before == choice {
		return err
	}
	if err := host.WriteFile(d.room(containerdFile), []byte(choice+"\n"), 0o600); err != nil {
		return fmt.Errorf("note which containerd was chosen: %w", err)
	}
	return nil
}
