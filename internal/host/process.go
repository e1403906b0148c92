package host

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// AwaitExit waits until a process ends, which need not be a child of this one.
// One that is gone already is fine; ctx's end is an error.
func AwaitExit(ctx context.Context, pid int) error {
	fd, err := unix.PidfdOpen(pid, unix.PIDFD_NONBLOCK)
	if errors.Is(err, unix.ESRCH) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("watch process %d: %w", pid, err)
	}
	file := os.NewFile(uintptr(fd), "pidfd")
	defer file.Close()
	release := context.AfterFunc(ctx, func() { _ = file.SetReadDeadline(time.Unix(0, 1)) })
	defer release()
	raw, err := file.SyscallConn()
	if err != nil {
		return fmt.Errorf("watch process %d: %w", pid, err)
	}
	err = raw.Read(func(fd uintptr) bool { // it can be read from once the process has ended
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 0)
		return n > 0 || err != nil && !errors.Is(err, unix.EINTR)
	})
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err != nil {
		return fmt.Errorf("watch process %d: %w", pid, err)
	}
	return nil
}

// ProcessBegan tells a living process from another that is given its number
// later: it is when the process began, in the kernel's ticks since the boot. An
// error if it has ended.
func ProcessBegan(pid int) (uint64, error) {
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, err
	}
	// The name, in parentheses, may hold anything; 20 fields after it is the time.
	fields := strings.Fields(string(raw[bytes.LastIndexByte(raw, ')')+1:]))
	if len(fields) < 20 || fields[0] == "Z" || fields[0] == "X" {
		return 0, fmt.Errorf("process %d has ended", pid)
	}
	return strconv.ParseUint(fields[19], 10, 64)
}

// ProgramReplaced reports whether the file of a process's program is another by
// now, as it is after an upgrade.
func ProgramReplaced(pid int) bool {
	path, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", pid))
	return err == nil && strings.HasSuffix(path, " (deleted)")
}

// MoveToCgroup puts a process into a control group, in every hierarchy that
// takes it, and makes the group if need be.
func MoveToCgroup(pid int, cgroup string) error {
	roots := []string{"/sys/fs/cgroup"}
	if _, err := os.Stat("/sys/fs/cgroup/cgroup.controllers"); err != nil { // version 1
		files, _ := filepath.Glob("/sys/fs/cgroup/*/cgroup.procs")
		roots = roots[:0]
		for _, f := range files {
			if dir := filepath.Dir(f); filepath.Base(dir) != "cpuset" { // which takes none before it has cores
				roots = append(roots, dir)
			}
		}
	}
	for _, root := range roots {
		dir := filepath.Join(root, cgroup)
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return fmt.Errorf("make control group: %w", err)
		}
		if err := os.WriteFile(filepath.Join(dir, "cgroup.procs"), strconv.AppendInt(nil, int64(pid), 10), 0); err != nil {
			return fmt.Errorf("move process to control group: %w", err)
		}
	}
	return nil
}

// LimitMemory bounds what the processes of a control group may use together, in
// bytes.
func LimitMemory(cgroup string, most int64) error {
	file := filepath.Join("/sys/fs/cgroup/memory", cgroup, "memory.limit_in_bytes") // version 1
	if _, err := os.Stat("/sys/fs/cgroup/cgroup.controllers"); err == nil {
		dir := filepath.Join("/sys/fs/cgroup", cgroup)
		file = filepath.Join(dir, "memory.max")
		if _, err := os.Stat(file); errors.Is(err, os.ErrNotExist) {
			if err := os.WriteFile(filepath.Join(filepath.Dir(dir), "cgroup.subtree_control"), []byte("+memory"), 0); err != nil {
				return fmt.Errorf("limit memory: %w", err)
			}
		}
	}
	if err := os.WriteFile(file, strconv.AppendInt(nil, most, 10), 0); err != nil {
		return fmt.Errorf("limit memory: %w", err)
	}
	return nil
}

// RemoveCgroup lets go of a control group that is empty. One that is not, or is
// not there, stays as it is.
func RemoveCgroup(cgroup string) {
	for _, pattern := range []string{"/sys/fs/cgroup", "/sys/fs/cgroup/*"} {
		dirs, _ := filepath.Glob(pattern + cgroup)
		for _, dir := range dirs {
			_ = unix.Rmdir(dir)
		}
	}
}
