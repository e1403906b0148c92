package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/edgeswarm/edgeswarm/internal/boardimage"
)

const (
	newRoot = "/root"
	// patience is how long a card may take to appear: USB disks are slow.
	patience = 60 * time.Second
	// restartAfter is when a board that found no system tries again: a card may
	// have been put in, or had a bad moment.
	restartAfter = 60 * time.Second
	realInit     = "/usr/lib/systemd/systemd"
)

// firstProcess is the board's first process. It never returns: it becomes the
// system's own, or restarts the board.
func firstProcess() {
	err := reachSystem()
	if err == nil {
		err = fmt.Errorf("start %s: %w", realInit, unix.Exec(realInit, []string{realInit}, []string{"PATH=/usr/sbin:/usr/bin", "TERM=linux"}))
	}
	fmt.Printf("\nedgeinit: this board can't start: %v\nedgeinit: it tries again in %v; if that does not help, flash the card anew\n", err, restartAfter)
	time.Sleep(restartAfter)
	unix.Sync()
	_ = unix.Reboot(unix.LINUX_REBOOT_CMD_RESTART)
	select {} // a first process must not end
}

// reachSystem mounts the system and makes it the root.
func reachSystem() error {
	for _, m := range []struct{ kind, target string }{{"devtmpfs", "/dev"}, {"proc", "/proc"}, {"sysfs", "/sys"}} {
		if err := unix.Mount(m.kind, m.target, m.kind, unix.MS_NOSUID|unix.MS_NOEXEC, ""); err != nil && !errors.Is(err, unix.EBUSY) {
			return fmt.Errorf("mount %s: %w", m.target, err)
		}
	}
	raw, err := os.ReadFile("/proc/cmdline")
	if err != nil {
		return err
	}
	slot, err := slotOf(string(raw))
	if err != nil {
		return err
	}
	modules, err := openModules("/modules")
	if err != nil {
		return err
	}
	disk, err := awaitCard(modules)
	if err != nil {
		return err
	}
	system := boardimage.Device(disk, slot)
	if err := unix.Mount(system, newRoot, "squashfs", unix.MS_RDONLY, ""); err != nil {
		return fmt.Errorf("mount the system on %s: %w", system, err)
	}
	if err := writable(); err != nil {
		return err
	}
	note := fmt.Sprintf("disk=%s\nslot=%d\n", disk, slot)
	if err := os.WriteFile(newRoot+"/run/edgeboot/boot", []byte(note), 0o644); err != nil {
		return err
	}
	return switchRoot()
}

// slotOf reads from the kernel's arguments which system to start.
func slotOf(arguments string) (int, error) {
	for _, a := range strings.Fields(arguments) {
		if value, ok := strings.CutPrefix(a, "edge.slot="); ok {
			switch value {
			case "a":
				return boardimage.SlotA, nil
			case "b":
				return boardimage.SlotB, nil
			}
			return 0, fmt.Errorf("kernel argument %s: want a or b", a)
		}
	}
	return boardimage.SlotA, nil
}

// awaitCard loads drivers for what devices appear until one of them is our card.
func awaitCard(modules *modules) (string, error) {
	if err := modules.always(); err != nil {
		return "", err
	}
	var seen []string
	for begin := time.Now(); time.Since(begin) < patience; time.Sleep(50 * time.Millisecond) {
		modules.forDevices("/sys/devices")
		var disk string
		if disk, seen = findCard("/sys/class/block", "/dev"); disk != "" {
			return disk, nil
		}
	}
	return "", fmt.Errorf("no card of Edgeswarm in %v; disks seen: %s", patience, strings.Join(append(seen, "no other"), ", "))
}

// findCard looks for the disk that bears our table, and whose systems the
// kernel knows by now. The others are named for a message.
func findCard(sys, dev string) (disk string, seen []string) {
	names, _ := filepath.Glob(filepath.Join(sys, "*"))
	for _, name := range names {
		if _, err := os.Stat(filepath.Join(name, "partition")); err == nil {
			continue
		}
		path := filepath.Join(dev, filepath.Base(name))
		if _, err := boardimage.Read(path); err != nil {
			if !errors.Is(err, unix.ENOMEDIUM) && !errors.Is(err, unix.ENXIO) && !errors.Is(err, os.ErrNotExist) {
				seen = append(seen, path+" ("+err.Error()+")")
			}
			continue
		}
		if _, err := os.Stat(boardimage.Device(path, boardimage.SlotA)); err == nil {
			return path, seen
		}
	}
	return "", seen
}

// writable gives the read-only system what must be written, in memory: all of
// it is gone with the power, and what must last is on the data partition.
func writable() error {
	run := newRoot + "/run"
	if err := unix.Mount("tmpfs", run, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "mode=755,size=20%"); err != nil {
		return fmt.Errorf("mount /run: %w", err)
	}
	if err := unix.Mount("tmpfs", newRoot+"/var", "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "mode=755,size=20%"); err != nil {
		return fmt.Errorf("mount /var: %w", err)
	}
	for _, dir := range []string{"/edgeboot", "/edgeboot/etc", "/edgeboot/etc/upper", "/edgeboot/etc/work"} {
		if err := os.Mkdir(run+dir, 0o755); err != nil {
			return err
		}
	}
	options := "lowerdir=" + newRoot + "/etc,upperdir=" + run + "/edgeboot/etc/upper,workdir=" + run + "/edgeboot/etc/work"
	if err := unix.Mount("overlay", newRoot+"/etc", "overlay", unix.MS_NOSUID|unix.MS_NODEV, options); err != nil {
		return fmt.Errorf("mount /etc: %w", err)
	}
	return nil
}

// switchRoot makes newRoot the root, and gives back the memory of the initramfs.
func switchRoot() error {
	for _, dir := range []string{"/dev", "/proc", "/sys"} {
		if err := unix.Mount(dir, newRoot+dir, "", unix.MS_MOVE, ""); err != nil {
			return fmt.Errorf("move %s: %w", dir, err)
		}
	}
	for _, name := range []string{"/modules", "/init"} {
		_ = os.RemoveAll(name) // memory only
	}
	if err := unix.Chdir(newRoot); err != nil {
		return err
	}
	if err := unix.Mount(".", "/", "", unix.MS_MOVE, ""); err != nil {
		return fmt.Errorf("make the system the root: %w", err)
	}
	if err := unix.Chroot("."); err != nil {
		return err
	}
	return unix.Chdir("/")
}
