package containerd

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"time"

	"github.com/containerd/containerd/api/services/tasks/v1"
	"github.com/containerd/containerd/api/types/task"
	"github.com/containerd/containerd/v2/core/containers"
	"github.com/containerd/containerd/v2/core/mount"
	"github.com/containerd/containerd/v2/core/snapshots"
	"github.com/containerd/errdefs"
	"github.com/containerd/typeurl/v2"
	"github.com/moby/sys/signal"
	"golang.org/x/sys/unix"

	"github.com/edgeswarm/edgeswarm/runtime"
)

const (
	ociRuntime = "io.containerd.runc.v2"
	// labelSnapshot marks the snapshots that we made for containers, and gcRoot
	// keeps the daemon's collector from those that have no container yet. So a
	// container costs the card two writes less than with a lease.
	labelSnapshot = "edgeswarm.snapshot"
	gcRoot        = "containerd.io/gc.root"
	// undoPatience bounds what is done after a call has failed or was given up.
	undoPatience = 10 * time.Second
)

// Prepare makes the container's root file system and its record. The record
// comes last: a container that has one is complete.
func (d *Driver) Prepare(ctx context.Context, c runtime.Container) error {
	switch _, err := d.record(ctx, "prepare container", c.ID); {
	case err == nil:
		return nil
	case !errors.Is(err, runtime.ErrNotFound):
		return err
	}
	if err := d.sweep(ctx); err != nil {
		return err
	}
	if _, err := d.mounts(c); err != nil {
		return err // before anything is unpacked for it
	}
	if _, _, err := containerDevices(c); err != nil {
		return err
	}
	img, mounts, err := d.snapshot(ctx, c)
	if err != nil {
		return err
	}
	if err := d.create(ctx, c, img, mounts); err != nil {
		undo, cancel := context.WithTimeout(context.WithoutCancel(ctx), undoPatience)
		defer cancel()
		if rmErr := d.snaps.Remove(undo, c.ID); rmErr != nil && !errdefs.IsNotFound(native(rmErr)) {
			d.log.Warn("snapshot of a container that can't be made stays behind", "container", c.ID, "error", rmErr)
		}
		return err
	}
	return nil
}

// snapshot makes the writable layer, or finds the one that an interrupted
// Prepare made.
func (d *Driver) snapshot(ctx context.Context, c runtime.Container) (*image, []mount.Mount, error) {
	labels := snapshots.WithLabels(map[string]string{labelSnapshot: string(c.Task), gcRoot: time.Now().UTC().Format(time.RFC3339)})
	for again := false; ; again = true {
		img, err := d.unpacked(ctx, c.Image)
		if err != nil {
			return nil, nil, err
		}
		mounts, err := d.snaps.Prepare(ctx, c.ID, img.chain, labels)
		if err = native(err); errdefs.IsAlreadyExists(err) {
			mounts, err = d.snaps.Mounts(ctx, c.ID)
		}
		if errdefs.IsNotFound(native(err)) && !again {
			d.forget(c.Image) // it was pruned meanwhile, and may have come back
			continue
		}
		return img, mounts, d.wrap("make root file system of container "+c.ID, err)
	}
}

func (d *Driver) create(ctx context.Context, c runtime.Container, img *image, mounts []mount.Mount) error {
	id, err := d.identityOf(ctx, img.chain, firstOf(c.Spec.User, img.config.User), c.Spec.Groups, mounts)
	if err != nil {
		return err
	}
	spec, err := d.spec(c, img.config, id)
	if err != nil {
		return err
	}
	stop := firstOf(c.Spec.StopSignal, img.config.StopSignal, "SIGTERM")
	if _, err := signal.ParseSignal(stop); err != nil {
		return invalid("stop signal %q: %v", stop, err)
	}
	raw, err := typeurl.MarshalAny(spec)
	if err != nil {
		return fmt.Errorf("encode specification of container %s: %w", c.ID, err)
	}
	extensions, err := img.health.extensions()
	if err != nil {
		return fmt.Errorf("encode health check of container %s: %w", c.ID, err)
	}
	_, err = d.client.ContainerService().Create(ctx, containers.Container{
		ID: c.ID, Extensions: extensions, Labels: labelsOf(c, spec.Linux.CgroupsPath, stop), Image: c.Spec.Image, Spec: raw,
		Runtime:     containers.RuntimeInfo{Name: ociRuntime},
		Snapshotter: d.cfg.Snapshotter, SnapshotKey: c.ID,
	})
	if err = native(err); errdefs.IsInvalidArgument(err) {
		return invalid("%v", err)
	} else if err != nil && !errdefs.IsAlreadyExists(err) {
		return d.wrap("make container "+c.ID, err)
	}
	return nil
}

// sweep removes, once, the snapshots that a Prepare made which a crash cut
// off: no record speaks of them.
func (d *Driver) sweep(ctx context.Context) error {
	select { // the first Prepare holds the others back
	case d.sweeping <- struct{}{}:
		defer func() { <-d.sweeping }()
	case <-ctx.Done():
		return fmt.Errorf("prepare container: %w", ctx.Err())
	}
	if d.swept {
		return nil
	}
	records, err := d.client.ContainerService().List(ctx)
	if err != nil {
		return d.wrap("list containers", err)
	}
	used := make(map[string]bool, len(records))
	for _, rec := range records {
		used[rec.SnapshotKey] = true
	}
	var orphans []string
	err = d.snaps.Walk(ctx, func(_ context.Context, s snapshots.Info) error {
		if s.Kind == snapshots.KindActive && !used[s.Name] {
			orphans = append(orphans, s.Name)
		}
		return nil
	}, fmt.Sprintf("labels.%q", labelSnapshot))
	if err != nil {
		return d.wrap("list snapshots", err)
	}
	for _, name := range orphans {
		if err := d.snaps.Remove(ctx, name); err != nil && !errdefs.IsNotFound(native(err)) {
			return d.wrap("remove a snapshot that was left behind", err)
		}
	}
	d.swept = true
	return nil
}

// Start begins the container's process.
func (d *Driver) Start(ctx context.Context, id string) (int, error) {
	const op = "start container"
	rec, err := d.record(ctx, op, id)
	if err != nil {
		return 0, err
	}
	p, err := d.process(ctx, op, id)
	if err != nil {
		return 0, err
	}
	if s := d.status(rec, p); s.State != runtime.Created {
		return s.PID, nil // a container is one attempt: what has ended is not begun again
	}
	if p == nil {
		if err := d.createProcess(ctx, rec); err != nil {
			return 0, err
		}
	}
	begun := containers.Container{ID: id, Labels: map[string]string{labelStarted: time.Now().UTC().Format(time.RFC3339Nano)}}
	if _, err := d.client.ContainerService().Update(ctx, begun, "labels."+labelStarted); err != nil {
		return 0, d.wrap(op+" "+id, err)
	}
	r, err := d.tasks.Start(ctx, &tasks.StartRequest{ContainerID: id})
	if err != nil {
		return 0, d.startError(op+" "+id, err)
	}
	return int(r.Pid), nil
}

// createProcess makes the shim and the namespaces, with the process held
// before its first instruction.
func (d *Driver) createProcess(ctx context.Context, rec containers.Container) error {
	spec, err := specOf(rec)
	if err != nil {
		return err
	}
	terminal := spec.Process != nil && spec.Process.Terminal
	stdout, stderr := bothOrNone(rec.Labels[labelStdout], rec.Labels[labelStderr])
	if terminal { // what it writes comes all one way
		stdout, stderr = firstOf(stdout, os.DevNull), ""
	}
	for _, path := range []string{stdout, stderr} {
		release, err := holdFIFO(path)
		if err != nil {
			return err
		}
		defer release()
	}
	mounts, err := d.snaps.Mounts(ctx, rec.SnapshotKey)
	if err != nil {
		return d.wrap("find root file system of container "+rec.ID, err)
	}
	_, err = d.tasks.Create(ctx, &tasks.CreateTaskRequest{
		ContainerID: rec.ID, Rootfs: mount.ToProto(mounts), Stdout: stdout, Stderr: stderr, Terminal: terminal,
	})
	if errdefs.IsAlreadyExists(native(err)) {
		return nil
	}
	return d.startError("make process of container "+rec.ID, err)
}

// bothOrNone discards one stream where the other is wanted: the shim takes
// no path for both, but not for one.
func bothOrNone(stdout, stderr string) (string, string) {
	if stdout != "" || stderr != "" {
		return firstOf(stdout, os.DevNull), firstOf(stderr, os.DevNull)
	}
	return "", ""
}

// holdFIFO opens both ends of a FIFO while the shim opens its own: without a
// reader it would wait for one, and nothing may depend on the log process's
// being there just now.
func holdFIFO(path string) (release func(), err error) {
	if path == "" || path == os.DevNull {
		return func() {}, nil
	}
	f, err := os.OpenFile(path, os.O_RDWR|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, fmt.Errorf("open the task's log: %w", err)
	}
	if info, err := f.Stat(); err != nil || info.Mode().Type() != fs.ModeNamedPipe {
		_ = f.Close()
		return nil, invalid("the task's log %s is not a FIFO", path)
	}
	return func() { _ = f.Close() }, nil
}

// startError tells apart a container that can never start.
func (d *Driver) startError(op string, err error) error {
	if cause, ok := neverStarts(err); ok {
		return invalid("%s", cause)
	}
	return d.wrap(op, err)
}

// neverStarts recognizes what runc says of a command that can't be executed:
// it has no codes for that, only words.
func neverStarts(err error) (cause string, ok bool) {
	err = native(err)
	if err == nil || errdefs.IsUnavailable(err) || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return "", false
	}
	text := strings.TrimSuffix(err.Error(), ": unknown")
	_, cause, ok = strings.Cut(text, "unable to start container process: ")
	if !ok {
		return "", false
	}
	for _, sign := range []string{
		"executable file not found", "no such file or directory", "permission denied", "exec format error",
		"is a directory", "not a directory",
	} {
		if strings.Contains(cause, sign) {
			return cause, true
		}
	}
	return "", false
}

// Remove deletes the process, the record and the root file system, whichever
// of them there are.
func (d *Driver) Remove(ctx context.Context, id string) error {
	const op = "remove container"
	defer d.noteRemoving(id)()
	if err := d.removeProcess(ctx, id); err != nil {
		return err
	}
	if err := d.client.ContainerService().Delete(ctx, id); err != nil && !errdefs.IsNotFound(native(err)) {
		return d.wrap(op+" "+id, err)
	}
	if err := d.snaps.Remove(ctx, id); err != nil && !errdefs.IsNotFound(native(err)) {
		return d.wrap("remove root file system of container "+id, err)
	}
	return nil
}

// noteRemoving marks a container as being removed until the returned function
// is called.
func (d *Driver) noteRemoving(id string) (done func()) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.removing[id]++
	return func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		if d.removing[id]--; d.removing[id] == 0 {
			delete(d.removing, id)
		}
	}
}

func (d *Driver) isRemoving(id string) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.removing[id] > 0
}

func (d *Driver) removeProcess(ctx context.Context, id string) error {
	const op = "remove process of container"
	p, err := d.process(ctx, op, id)
	if err != nil || p == nil {
		return err
	}
	if p.Status != task.Status_STOPPED {
		if err := d.kill(ctx, id, unix.SIGKILL); err != nil {
			return err
		}
		if _, err := d.tasks.Wait(ctx, &tasks.WaitRequest{ContainerID: id}); err != nil && !errdefs.IsNotFound(native(err)) {
			return d.wrap(op+" "+id, err)
		}
	}
	_, err = d.tasks.Delete(ctx, &tasks.DeleteTaskRequest{ContainerID: id})
	if errdefs.IsNotFound(native(err)) {
		return nil
	}
	return d.wrap(op+" "+id, err)
}

func (d *Driver) kill(ctx context.Context, id string, sig unix.Signal) error {
	_, err := d.tasks.Kill(ctx, &tasks.KillRequest{ContainerID: id, Signal: uint32(sig)})
	if isDone(err) {
		return nil
	}
	return d.wrap(fmt.Sprintf("send %s to container %s", unix.SignalName(sig), id), err)
}
