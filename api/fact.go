package api

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
)

// Equal reports whether two descriptions say the same.
func (d NodeDescription) Equal(o NodeDescription) bool {
	return d.Hostname == o.Hostname && d.Platform == o.Platform && d.Resources.Equal(o.Resources) && d.Engine == o.Engine && d.BootID == o.BootID && d.Trouble == o.Trouble &&
		d.Model == o.Model && d.MemoryTotal == o.MemoryTotal && slices.EqualFunc(d.Devices, o.Devices, BoardDevices.equal) &&
		slices.Equal(d.Subnets, o.Subnets) && slices.Equal(d.Volumes, o.Volumes) && d.Mesh.Equal(o.Mesh)
}

// models are what a board's model answers to: all of it, and without the
// revision, which few mean when they name a board.
func (d NodeDescription) models() []string {
	name, _, _ := strings.Cut(d.Model, " Rev ")
	return []string{d.Model, name}
}

// devices are what a board answers to as its devices: classes and paths.
func (d NodeDescription) deviceNames() []string {
	var names []string
	for _, b := range d.Devices {
		names = append(names, b.Class)
		names = append(names, b.Paths...)
	}
	return names
}

// memorySize is the size under which the board's memory is sold: the kernel
// and the graphics keep a part of it, so that a board of 1 GB shows 906 MB.
// Sizes are the powers of two and one and a half times those.
func (d NodeDescription) memorySize() int64 {
	if d.MemoryTotal <= 0 {
		return 0
	}
	for size := int64(1 << 20); size < math.MaxInt64/4; size *= 2 {
		if d.MemoryTotal <= size {
			return size
		}
		if d.MemoryTotal <= size*3/2 {
			return size * 3 / 2
		}
	}
	return d.MemoryTotal
}

// parseMemory reads an amount of memory, such as 512m or 4GB.
func parseMemory(s string) (int64, error) {
	lower := strings.ToLower(strings.TrimSpace(s))
	digits := strings.TrimRight(lower, "bikmgt ")
	unit := strings.TrimSpace(lower[len(digits):])
	shift, known := map[string]int{"": 0, "k": 10, "m": 20, "g": 30, "t": 40}[strings.TrimSuffix(strings.TrimSuffix(unit, "b"), "i")]
	n, err := strconv.ParseInt(digits, 10, 64)
	if err != nil || !known || n <= 0 || n > math.MaxInt64>>shift {
		return 0, fmt.Errorf("%q is not an amount of memory: write it as 512m or 4g", s)
	}
	return n << shift, nil
}
