// Package host reads what this board is: its platform, memory, cores and boot.
// It is the only room that asks the Go runtime about the machine.
package host

import (
	"bytes"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"

	"github.com/edgeswarm/edgeswarm/api"
)

// Platform is what binaries this board runs. On 32-bit ARM the variant is the
// board's own, not the one this program was built for.
func Platform() api.Platform {
	p := api.Platform{Architecture: runtime.GOARCH, OS: runtime.GOOS}
	if p.Architecture == "arm" {
		p.Variant = armVariant()
	}
	return p
}

func armVariant() string {
	raw, err := os.ReadFile("/proc/cpuinfo")
	if err == nil {
		for line := range strings.Lines(string(raw)) {
			name, value, _ := strings.Cut(line, ":")
			if strings.TrimSpace(name) != "CPU architecture" {
				continue
			}
			if n, err := strconv.Atoi(strings.TrimSpace(value)); err == nil && n >= 7 {
				return "v7"
			}
		}
	}
	return "v6"
}

// Cores is the number of cores that this program may use.
func Cores() int { return runtime.NumCPU() }

// Memory is the board's memory in bytes.
func Memory() (int64, error) {
	raw, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		return 0, fmt.Errorf("read memory size: %w", err)
	}
	for line := range bytes.Lines(raw) {
		if f := bytes.Fields(line); len(f) == 3 && string(f[0]) == "MemTotal:" {
			kib, err := strconv.ParseInt(string(f[1]), 10, 64)
			return kib << 10, err
		}
	}
	return 0, fmt.Errorf("read memory size: no MemTotal in /proc/meminfo")
}

// BootID changes with every boot of the board.
func BootID() (string, error) {
	raw, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return "", fmt.Errorf("read boot ID: %w", err)
	}
	return strings.TrimSpace(string(raw)), nil
}

// Stacks writes the stacks of all goroutines, for a diagnosis.
func Stacks() []byte {
	buf := make([]byte, 1<<20)
	return buf[:runtime.Stack(buf, true)]
}
