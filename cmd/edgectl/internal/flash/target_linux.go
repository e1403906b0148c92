package flash

import (
	"bufio"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// exclusive makes the kernel refuse a disk that is mounted or otherwise in use,
// whatever the checks before it overlooked.
const exclusive = unix.O_EXCL

// refuse tells why a disk must not be overwritten.
func refuse(device string, force bool) error {
	path, err := filepath.EvalSymlinks(device)
	if err != nil {
		return err
	}
	return judgeDisk(filepath.Base(path), device, force, "/sys/class/block", "/proc/self/mountinfo", "/proc/swaps")
}

// judgeDisk decides by what the kernel tells of a disk.
func judgeDisk(name, device string, force bool, sys, mounts, swaps string) error {
	dir := filepath.Join(sys, name)
	if _, err := os.Stat(dir); err != nil {
		return fmt.Errorf("%s is no disk that this system knows", device)
	}
	if _, err := os.Stat(filepath.Join(dir, "partition")); err == nil {
		whole := "the whole disk"
		if target, err := filepath.EvalSymlinks(dir); err == nil {
			whole = "/dev/" + filepath.Base(filepath.Dir(target))
		}
		return fmt.Errorf("%s is a partition: an image is written to the whole disk, %s", device, whole)
	}
	numbers := map[string]string{}
	parts, _ := filepath.Glob(filepath.Join(dir, "*", "dev"))
	for _, file := range append(parts, filepath.Join(dir, "dev")) {
		if raw, err := os.ReadFile(file); err == nil {
			numbers[strings.TrimSpace(string(raw))] = filepath.Base(filepath.Dir(file))
		}
	}
	if err := notMounted(device, numbers, mounts); err != nil {
		return err
	}
	if raw, err := os.ReadFile(swaps); err == nil {
		for _, part := range numbers {
			if strings.Contains(string(raw), "/dev/"+part+" ") || strings.Contains(string(raw), "/dev/"+part+"\t") {
				return fmt.Errorf("%s is in use: /dev/%s is this system's swap space", device, part)
			}
		}
	}
	for _, pattern := range []string{"holders/*", "*/holders/*"} {
		if holders, _ := filepath.Glob(filepath.Join(dir, pattern)); len(holders) > 0 {
			return fmt.Errorf("%s is in use: %s is built on it; this system may run from it", device, filepath.Base(holders[0]))
		}
	}
	if !force && !removable(name, dir) {
		return fmt.Errorf("%s is built into this machine, it seems, and no card: if it is the right one, add --force", device)
	}
	return nil
}

// notMounted looks for the disk and its partitions among the mounts
// (proc_pid_mountinfo(5)).
func notMounted(device string, numbers map[string]string, mounts string) error {
	f, err := os.Open(mounts)
	if err != nil {
		return err
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		fields := strings.Fields(lines.Text())
		if len(fields) < 5 {
			continue
		}
		part, ours := numbers[fields[2]]
		switch {
		case ours && fields[4] == "/":
			return fmt.Errorf("%s is the disk that this system runs from", device)
		case ours:
			return fmt.Errorf("%s is in use: /dev/%s is mounted at %s; unmount it first: umount %s", device, part, fields[4], fields[4])
		}
	}
	return nil
}

// removable tells a card or stick from a disk that is built in: SD cards say
// that they are not removable, their reader is.
func removable(name, dir string) bool {
	if raw, err := os.ReadFile(filepath.Join(dir, "removable")); err == nil && strings.TrimSpace(string(raw)) == "1" {
		return true
	}
	if strings.HasPrefix(name, "mmcblk") {
		kind, err := os.ReadFile(filepath.Join(dir, "device", "type"))
		return err == nil && strings.TrimSpace(string(kind)) == "SD" // not MMC, which is soldered in
	}
	if strings.HasPrefix(name, "loop") { // a file behind it
		return true
	}
	target, err := filepath.EvalSymlinks(dir)
	return err == nil && strings.Contains(target, "/usb")
}

// forget drops what the kernel keeps in memory of a file or disk.
func forget(f *os.File) { _ = unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED) }

// reread makes the kernel read the partition table.
func reread(f *os.File) { _ = unix.IoctlSetInt(int(f.Fd()), unix.BLKRRPART, 0) }
