package lab

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sort"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Down takes everything of the lab away: processes, mounts, namespaces,
// folders and cgroups, also what an interrupted run left. Nothing there is fine.
func (l *Lab) Down(ctx context.Context) error {
	boards, err := l.Boards()
	if err != nil {
		return err
	}
	for _, b := range boards {
		err = errors.Join(err, b.Unplug(ctx))
	}
	// What has lost its folder is found by its name.
	names, globErr := filepath.Glob("/run/netns/" + l.cfg.Name + "-*")
	err = errors.Join(err, globErr)
	for _, path := range names {
		if !l.ownsNamespace(filepath.Base(path)) {
			continue
		}
		pids, pidErr := run(ctx, "ip", "netns", "pids", filepath.Base(path))
		err = errors.Join(err, pidErr)
		for _, f := range strings.Fields(pids) {
			if pid, convErr := strconv.Atoi(f); convErr == nil {
				_ = syscall.Kill(pid, syscall.SIGKILL)
			}
		}
		_, delErr := run(ctx, "ip", "netns", "del", filepath.Base(path))
		err = errors.Join(err, delErr)
	}
	err = errors.Join(err, unmountBelow(l.runDir()), unmountBelow(l.stateDir()))
	return errors.Join(err, os.RemoveAll(l.runDir()), os.RemoveAll(l.stateDir()), removeCgroupTrees("/"+l.cfg.Name))
}

// ownsNamespace reports whether a namespace is of this lab, and not of one
// whose name begins with ours.
func (l *Lab) ownsNamespace(name string) bool {
	rest := strings.TrimPrefix(name, l.cfg.Name+"-")
	_, err := strconv.Atoi(rest)
	return rest == "lan" || err == nil
}

// killAll kills every process of the board: those in its cgroups and those in
// its network namespace. It repeats until none is left, because what dies may
// have started another.
func (b Board) killAll(ctx context.Context) error {
	return waitFor(ctx, 20*time.Second, func() error {
		pids, err := b.processes()
		if err != nil {
			return err
		}
		for _, pid := range pids {
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
		if len(pids) > 0 {
			return fmt.Errorf("%d processes still there", len(pids))
		}
		return nil
	})
}

// processes lists the board's living processes.
func (b Board) processes() ([]int, error) {
	ns := ""
	var st syscall.Stat_t
	if err := syscall.Stat("/run/netns/"+b.netns(), &st); err == nil {
		ns = fmt.Sprintf("net:[%d]", st.Ino)
	}
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil, fmt.Errorf("list processes: %w", err)
	}
	var pids []int
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil || pid == os.Getpid() || !alive(pid) {
			continue
		}
		link, _ := os.Readlink("/proc/" + e.Name() + "/ns/net")
		cgroups, _ := os.ReadFile("/proc/" + e.Name() + "/cgroup")
		if ns != "" && link == ns || bytes.Contains(append(cgroups, '\n'), []byte(":"+b.cgroup()+"/")) {
			pids = append(pids, pid)
		}
	}
	return pids, nil
}

// alive reports whether a process exists and is not a zombie.
func alive(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return false
	}
	i := bytes.LastIndexByte(stat, ')')
	return i > 0 && len(stat) > i+2 && stat[i+2] != 'Z' && stat[i+2] != 'X'
}

// unmountBelow unmounts everything under a folder, innermost first.
func unmountBelow(dir string) error {
	raw, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return fmt.Errorf("list mounts: %w", err)
	}
	var points []string
	for _, line := range strings.Split(string(raw), "\n") {
		if f := strings.Fields(line); len(f) > 4 && strings.HasPrefix(f[4], dir+"/") {
			points = append(points, f[4])
		}
	}
	sort.Sort(sort.Reverse(sort.StringSlice(points)))
	for _, p := range points {
		if err := unix.Unmount(p, unix.MNT_DETACH); err != nil && !errors.Is(err, unix.EINVAL) && !errors.Is(err, unix.ENOENT) {
			return fmt.Errorf("unmount %s: %w", p, err)
		}
	}
	return nil
}

// cgroupRoots are the mounted hierarchies: one with cgroup v2, else one for
// each v1 controller.
func cgroupRoots() []string {
	if _, err := os.Stat("/sys/fs/cgroup/cgroup.controllers"); err == nil {
		return []string{"/sys/fs/cgroup"}
	}
	roots, _ := filepath.Glob("/sys/fs/cgroup/*/cgroup.procs")
	for i := range roots {
		roots[i] = filepath.Dir(roots[i])
	}
	return roots
}

// cgroupProcs are the files that take the board's own programs.
func (b Board) cgroupProcs() []string {
	var files []string
	for _, root := range cgroupRoots() {
		if filepath.Base(root) == "cpuset" {
			continue // a fresh cpuset takes no process before it is given cores
		}
		files = append(files, root+b.cgroup()+"/system/cgroup.procs")
	}
	return files
}

func (b Board) makeCgroups() error {
	for _, f := range b.cgroupProcs() {
		if err := os.MkdirAll(filepath.Dir(f), 0o755); err != nil {
			return fmt.Errorf("make cgroup: %w", err)
		}
	}
	return nil
}

func (b Board) removeCgroups() error { return removeCgroupTrees(b.cgroup()) }

// removeCgroupTrees removes a cgroup with those below it, in every hierarchy.
// A killed process leaves its cgroup a moment later, so it tries for a while.
func removeCgroupTrees(path string) error {
	for _, root := range cgroupRoots() {
		err := waitFor(context.Background(), 5*time.Second, func() error { return removeCgroup(root + path) })
		if err != nil {
			return fmt.Errorf("remove cgroup: %w", err)
		}
	}
	return nil
}

func removeCgroup(dir string) error {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, e := range entries {
		if e.IsDir() {
			if err := removeCgroup(filepath.Join(dir, e.Name())); err != nil {
				return err
			}
		}
	}
	if err := os.Remove(dir); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}

// fatal is an error that waiting will not mend.
type fatal struct{ error }

// waitFor polls until ok, its limit, or the context's end.
func waitFor(ctx context.Context, limit time.Duration, ok func() error) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	for {
		err := ok()
		var f fatal
		if err == nil || errors.As(err, &f) {
			return err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("gave up: %w", err)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

func requireProgram(name string) error {
	if _, err := exec.LookPath(name); err != nil {
		return fmt.Errorf("%s is not installed: run `make deps`, which installs it from the distribution", name)
	}
	return nil
}

// run runs a program and returns what it printed; its error output is in the error.
func run(ctx context.Context, args ...string) (string, error) {
	var out, errOut bytes.Buffer
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	cmd.Stdout, cmd.Stderr = &out, &errOut
	if err := cmd.Run(); err != nil {
		said := strings.TrimSpace(errOut.String())
		if said == "" {
			said = strings.TrimSpace(out.String())
		}
		return out.String(), fmt.Errorf("%s: %w: %s", strings.Join(args, " "), err, said)
	}
	return out.String(), nil
}
