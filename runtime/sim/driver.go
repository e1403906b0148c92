package sim

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/edgeswarm/edgeswarm/api"
	"github.com/edgeswarm/edgeswarm/runtime"
)

// Driver drives a Host's containers.
type Driver struct{ host *Host }

var _ runtime.Driver = (*Driver)(nil)

// Info implements runtime.Driver.
func (d *Driver) Info(ctx context.Context) (runtime.Info, error) {
	unlock, err := d.enter(ctx, "ask for version")
	if err != nil {
		return runtime.Info{}, err
	}
	defer unlock()
	return runtime.Info{Name: "sim", Version: "1"}, nil
}

// Gone implements runtime.Driver.
func (d *Driver) Gone(ctx context.Context) error {
	d.host.mu.Lock()
	outage := d.host.outage
	d.host.mu.Unlock()
	if outage == nil {
		return nil
	}
	select {
	case <-outage:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// enter takes the host's lock if the runtime answers.
func (d *Driver) enter(ctx context.Context, doing string) (unlock func(), err error) {
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("%s: %w", doing, err)
	}
	d.host.mu.Lock()
	if d.host.outage == nil {
		d.host.mu.Unlock()
		return nil, fmt.Errorf("%s: %w", doing, runtime.ErrUnavailable)
	}
	return d.host.mu.Unlock, nil
}

// open enters and finds a container.
func (d *Driver) open(ctx context.Context, doing, id string) (*container, func(), error) {
	unlock, err := d.enter(ctx, doing)
	if err != nil {
		return nil, nil, err
	}
	c, ok := d.host.containers[id]
	if !ok {
		unlock()
		return nil, nil, fmt.Errorf("%s %s: %w", doing, id, runtime.ErrNotFound)
	}
	return c, unlock, nil
}

// Prepare implements runtime.Driver.
func (d *Driver) Prepare(ctx context.Context, c runtime.Container) error {
	var script Script
	if d.host.config.Script != nil {
		script = d.host.config.Script(c)
	}
	if err := pause(ctx, script.PrepareTime); err != nil {
		return fmt.Errorf("prepare %s: %w", c.ID, err)
	}
	unlock, err := d.enter(ctx, "prepare "+c.ID)
	if err != nil {
		return err
	}
	defer unlock()
	if d.host.containers[c.ID] != nil {
		return nil
	}
	if script.PrepareErr != nil {
		return fmt.Errorf("prepare %s: %w", c.ID, script.PrepareErr)
	}
	if want := d.host.config.Image; want != "" && c.Image != want {
		return fmt.Errorf("prepare %s: image %s: %w", c.ID, c.Image, runtime.ErrNotFound)
	}
	for _, m := range c.Mounts {
		if m.Type != api.MountBind {
			continue
		}
		if _, err := os.Stat(m.Source); err != nil {
			return fmt.Errorf("prepare %s: %w: mount source %s: %w", c.ID, runtime.ErrInvalid, m.Source, err)
		}
	}
	for _, dev := range c.Devices {
		if _, err := os.Stat(dev.PathOnHost); err != nil {
			return fmt.Errorf("prepare %s: %w: device %s: %w", c.ID, runtime.ErrInvalid, dev.PathOnHost, err)
		}
	}
	made := &container{Container: c, script: script}
	d.host.containers[c.ID] = made
	d.host.log(OpPrepare, made)
	return nil
}

// Start implements runtime.Driver.
func (d *Driver) Start(ctx context.Context, id string) (int, error) {
	c, unlock, err := d.open(ctx, "start", id)
	if err != nil {
		return 0, err
	}
	delay := c.script.StartTime
	unlock()
	if err := pause(ctx, delay); err != nil {
		return 0, fmt.Errorf("start %s: %w", id, err)
	}
	if c, unlock, err = d.open(ctx, "start", id); err != nil {
		return 0, err
	}
	defer unlock()
	if c.process != nil {
		return c.process.pid, nil
	}
	if c.script.StartErr != nil {
		return 0, fmt.Errorf("start %s: %w", id, c.script.StartErr)
	}
	if err := d.host.launch(c); err != nil {
		return 0, fmt.Errorf("start %s: %w", id, err)
	}
	return c.process.pid, nil
}

// Wait implements runtime.Driver.
func (d *Driver) Wait(ctx context.Context, id string) (runtime.Exit, error) {
	c, unlock, err := d.open(ctx, "wait for", id)
	if err != nil {
		return runtime.Exit{}, err
	}
	p, outage := c.process, d.host.outage
	unlock()
	if p == nil {
		return runtime.Exit{}, fmt.Errorf("wait for %s: %w", id, runtime.ErrNotRunning)
	}
	select {
	case <-p.ended:
	default:
		select {
		case <-p.ended:
		case <-p.lost:
			return runtime.Exit{}, fmt.Errorf("wait for %s: %w", id, runtime.ErrUnavailable)
		case <-outage:
			return runtime.Exit{}, fmt.Errorf("wait for %s: %w", id, runtime.ErrUnavailable)
		case <-ctx.Done():
			return runtime.Exit{}, fmt.Errorf("wait for %s: %w", id, ctx.Err())
		}
	}
	return *p.exit, nil // written before ended was closed
}

// Stop implements runtime.Driver.
func (d *Driver) Stop(ctx context.Context, id, signal string, grace time.Duration) error {
	n, err := signalNumber(signal)
	if err != nil {
		return fmt.Errorf("stop %s: %w", id, err)
	}
	c, unlock, err := d.open(ctx, "stop", id)
	if err != nil {
		return err
	}
	p, outage := c.process, d.host.outage
	if p != nil && p.exit == nil {
		d.host.log(OpSignal, c)
		p.signal(n)
	}
	unlock()
	if p == nil {
		return nil
	}
	timer := time.NewTimer(grace)
	defer timer.Stop()
	select {
	case <-p.ended:
	case <-timer.C:
		d.host.mu.Lock()
		p.signal(sigkill)
		d.host.mu.Unlock()
	case <-p.lost:
	case <-outage:
		return fmt.Errorf("stop %s: %w", id, runtime.ErrUnavailable)
	case <-ctx.Done():
		return fmt.Errorf("stop %s: %w", id, ctx.Err())
	}
	return nil
}

// Remove implements runtime.Driver.
func (d *Driver) Remove(ctx context.Context, id string) error {
	unlock, err := d.enter(ctx, "remove "+id)
	if err != nil {
		return err
	}
	defer unlock()
	c, ok := d.host.containers[id]
	if !ok {
		return nil
	}
	if c.process != nil {
		c.process.signal(sigkill)
	}
	delete(d.host.containers, id)
	d.host.log(OpRemove, c)
	return nil
}

// List implements runtime.Driver.
func (d *Driver) List(ctx context.Context) ([]runtime.Status, error) {
	unlock, err := d.enter(ctx, "list containers")
	if err != nil {
		return nil, err
	}
	defer unlock()
	return d.host.list(), nil
}

// pause waits for d or the context.
func pause(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return nil
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
