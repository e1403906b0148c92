package host

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

func (s Survey) disk() DiskFacts {
	f := DiskFacts{Path: s.StateDir, FreeFiles: -1, Swap: s.swap()}
	var st unix.Stat_t
	var fs unix.Statfs_t
	if unix.Stat(s.StateDir, &st) != nil || unix.Statfs(s.StateDir, &fs) != nil {
		return f
	}
	f.Free, f.Total = int64(fs.Bavail)*int64(fs.Bsize), int64(fs.Blocks)*int64(fs.Bsize)
	if fs.Files > 0 {
		f.FreeFiles = int64(fs.Ffree)
	}
	number := deviceNumber(st.Dev)
	f.Device = s.blockDevice(number)
	for line := range strings.Lines(s.read("proc/self/mountinfo")) {
		before, after, _ := strings.Cut(line, " - ")
		if fields := strings.Fields(before); len(fields) > 2 && fields[2] == number {
			f.FileSystem, _, _ = strings.Cut(after, " ")
		}
	}
	if s.MeasureDisk {
		f.SyncMedian, f.SyncWorst = measureSync(s.StateDir)
	}
	return f
}

// deviceNumber is how the kernel writes a device's number. Its type is not the
// same on all platforms.
func deviceNumber[N uint32 | uint64](dev N) string {
	return fmt.Sprintf("%d:%d", unix.Major(uint64(dev)), unix.Minor(uint64(dev)))
}

// blockDevice is the disk with that number, or the one that a partition with
// that number is on; "" if it is no disk.
func (s Survey) blockDevice(number string) string {
	link, err := os.Readlink(s.path("sys/dev/block", number))
	if err != nil {
		return ""
	}
	if _, err := os.Stat(s.path("sys/dev/block", number, "partition")); err == nil {
		link = filepath.Dir(link)
	}
	return filepath.Base(link)
}

// swap reads /proc/swaps: a heading, and lines of path, kind, size in KiB,
// used, priority.
func (s Survey) swap() (areas []SwapArea) {
	for line := range strings.Lines(s.read("proc/swaps")) {
		f := strings.Fields(line)
		if len(f) < 3 {
			continue
		}
		kib, err := strconv.ParseInt(f[2], 10, 64)
		if err != nil {
			continue // the heading
		}
		area := SwapArea{Path: f[0], Size: kib << 10}
		var st unix.Stat_t
		if err := unix.Stat(s.path(f[0]), &st); err == nil && !strings.HasPrefix(f[0], "/dev/zram") {
			dev := uint64(st.Dev) // of the file system that a swap file is on
			if st.Mode&unix.S_IFMT == unix.S_IFBLK {
				dev = uint64(st.Rdev)
			}
			area.Device = s.blockDevice(deviceNumber(dev))
		}
		areas = append(areas, area)
	}
	return areas
}

// measureSync writes a block nine times, and says how long it took to last: the
// first time does not count, for it makes the file.
func measureSync(dir string) (median, worst time.Duration) {
	f, err := os.CreateTemp(dir, ".probe-*")
	if err != nil {
		return 0, 0
	}
	defer os.Remove(f.Name())
	defer f.Close()
	block := make([]byte, 4096)
	var took []time.Duration
	begun := time.Now()
	for i := 0; i < 9 && time.Since(begun) < 2*time.Second; i++ {
		block[0] = byte(i)
		before := time.Now()
		if _, err := f.WriteAt(block, 0); err != nil {
			return 0, 0
		}
		if err := unix.Fdatasync(int(f.Fd())); err != nil {
			return 0, 0
		}
		if i > 0 {
			took = append(took, time.Since(before))
		}
	}
	if len(took) == 0 {
		took = append(took, time.Since(begun)) // one alone took all the time
	}
	slices.Sort(took)
	return took[len(took)/2], took[len(took)-1]
}
