package node

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/edgeswarm/edgeswarm/runtime"
)

// EndTasks is the first argument that makes edged end what an edged that is
// gone has left running: before its program is taken off the board.
const EndTasks = "end-tasks"

// endWithin is how long that may take.
const endWithin = time.Minute

// RunEndTasks is edged in that role. What lasts stays: an edged that is
// installed again starts the tasks as after a reboot.
func RunEndTasks(ctx context.Context, cfg Config) (err error) {
	cfg, err = cfg.withDefaults()
	if err != nil {
		return err
	}
	dir, err := openStateDir(cfg.StateDir)
	if err != nil {
		return err // another edged may run on it, and would start them again
	}
	defer func() { err = errors.Join(err, dir.Close()) }()
	ctx, cancel := context.WithTimeout(ctx, endWithin)
	defer cancel()
	networks, err := newNetwork(cfg, dir)
	if err != nil {
		return err
	}
	err = endContainers(ctx, cfg, dir)
	return errors.Join(err, networks.End(ctx), newLogs(cfg, dir).Shutdown(ctx))
}

// endContainers removes all containers, and ends the daemon that edged kept.
func endContainers(ctx context.Context, cfg Config, dir *stateDir) (err error) {
	if cfg.Containerd == AutoContainerd {
		if choice, err := dir.containerd(); choice == "" || err != nil {
			return err // edged never ran here
		}
	}
	socket, managed, err := chooseContainerd(cfg, dir)
	if err != nil {
		return err
	}
	driver, err := newDriver(cfg, socket, nil)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, driver.Close()) }()
	containers, err := driver.List(ctx)
	if errors.Is(err, runtime.ErrUnavailable) && managed != nil {
		return nil // edged looked after it until it ended, so it has ended with all it ran
	}
	if err != nil {
		return fmt.Errorf("end tasks: %w", err)
	}
	for _, c := range containers {
		err = errors.Join(err, driver.Remove(ctx, c.ID))
	}
	if managed != nil {
		err = errors.Join(err, managed.Stop(ctx))
	}
	return err
}
