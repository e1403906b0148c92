package host

import (
	"fmt"
	"os"
	"runtime/debug"
	"strings"

	"golang.org/x/sys/unix"
)

// Trim gives the system back what only a busy time needed: freed memory, and
// the mapping of the parts of the program that are not in use. Those stay in the
// page cache while it has room, and are mapped again when they are called; on a
// board that is short of memory they are the first to go.
func Trim() error {
	debug.FreeOSMemory()
	program, err := os.Readlink("/proc/self/exe")
	if err != nil {
		return fmt.Errorf("trim memory: %w", err)
	}
	smaps, err := os.ReadFile("/proc/self/smaps")
	if err != nil {
		return fmt.Errorf("trim memory: %w", err)
	}
	for _, m := range cleanMappings(string(smaps), program) {
		if _, _, errno := unix.Syscall(unix.SYS_MADVISE, m.begin, m.end-m.begin, unix.MADV_DONTNEED); errno != 0 {
			return fmt.Errorf("trim memory: %w", errno)
		}
	}
	return nil
}

type mapping struct{ begin, end uintptr }

// cleanMappings finds in /proc/PID/smaps what is mapped of a file, can't be
// written and has no page that differs from the file: dropping it loses nothing.
func cleanMappings(smaps, file string) []mapping {
	var clean []mapping
	var current mapping
	candidate := false
	for line := range strings.Lines(smaps) {
		var m mapping
		var mode string
		if n, _ := fmt.Sscanf(line, "%x-%x %s", &m.begin, &m.end, &mode); n == 3 {
			current = m
			candidate = len(mode) == 4 && mode[1] != 'w' && mode[3] == 'p' && strings.HasSuffix(strings.TrimSpace(line), " "+file)
			continue
		}
		if rest, ok := strings.CutPrefix(line, "Anonymous:"); ok && candidate && strings.TrimSpace(rest) == "0 kB" {
			clean = append(clean, current)
		}
	}
	return clean
}
