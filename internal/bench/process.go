package bench

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/edgeswarm/edgeswarm/internal/lab"
)

// usage is what a process has used since it began.
type usage struct {
	RSS     int64 // bytes now
	Written int64 // bytes that went to storage
	CPU     float64
}

// ticksPerSecond of /proc/PID/stat: USER_HZ is 100 on every Linux we run on.
const ticksPerSecond = 100

// processUsage reads what the kernel counts of a process.
func processUsage(pid int) (usage, error) {
	dir := filepath.Join("/proc", strconv.Itoa(pid))
	var u usage
	var err error
	if u.RSS, err = field(filepath.Join(dir, "status"), "VmRSS:"); err != nil {
		return u, err
	}
	u.RSS <<= 10 // it says kB and means KiB
	if u.Written, err = field(filepath.Join(dir, "io"), "write_bytes:"); err != nil {
		return u, err
	}
	stat, err := os.ReadFile(filepath.Join(dir, "stat"))
	if err != nil {
		return u, err
	}
	// The name, in brackets, may hold anything; utime and stime are the 12th and
	// 13th after it.
	_, rest, _ := bytes.Cut(stat[bytes.LastIndexByte(stat, ')'):], []byte(") "))
	fields := strings.Fields(string(rest))
	if len(fields) < 13 {
		return u, fmt.Errorf("read %s/stat: unknown form", dir)
	}
	user, errUser := strconv.ParseFloat(fields[11], 64)
	system, errSystem := strconv.ParseFloat(fields[12], 64)
	u.CPU = (user + system) / ticksPerSecond
	return u, errors.Join(errUser, errSystem)
}

// field is the first number of the line that begins with name.
func field(path, name string) (int64, error) {
	raw, err := os.ReadFile(path)
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(raw)) {
		if rest, ok := strings.CutPrefix(line, name); ok {
			return strconv.ParseInt(strings.Fields(rest)[0], 10, 64)
		}
	}
	return 0, fmt.Errorf("no %s in %s", name, path)
}

// commands lists the processes whose command line holds all the words.
func commands(words ...string) []int {
	paths, _ := filepath.Glob("/proc/[0-9]*/cmdline") // errs only for a bad pattern
	var pids []int
	for _, path := range paths {
		raw, _ := os.ReadFile(path) // it may have ended
		found := len(raw) > 0
		for _, word := range words {
			found = found && strings.Contains(string(raw), word)
		}
		if pid, err := strconv.Atoi(filepath.Base(filepath.Dir(path))); err == nil && found {
			pids = append(pids, pid)
		}
	}
	return pids
}

// logProcess finds the log process of a board: edged starts it, and names the
// board's run folder in its arguments.
func logProcess(b lab.Board) (int, error) {
	pids := commands("log-process", b.RunDir()+"/")
	if len(pids) != 1 {
		return 0, fmt.Errorf("%s has %d log processes", b.Name(), len(pids))
	}
	return pids[0], nil
}
