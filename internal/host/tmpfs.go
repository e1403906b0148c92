package host

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// Tmpfs makes a folder whose files are in memory only, for root alone to list:
// it finds the one that is there, or mounts one of at most size bytes.
func Tmpfs(path string, size int64) error {
	if err := os.MkdirAll(path, 0o711); err != nil {
		return fmt.Errorf("make folder in memory: %w", err)
	}
	if isMountPoint(path) {
		return nil
	}
	options := fmt.Sprintf("mode=0711,size=%d", size)
	if err := unix.Mount("tmpfs", path, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, options); err != nil {
		return fmt.Errorf("mount tmpfs at %s: %w", path, err)
	}
	return nil
}

// isMountPoint reports whether a file system of its own is mounted at path.
func isMountPoint(path string) bool {
	var here, above unix.Stat_t
	return unix.Stat(path, &here) == nil && unix.Stat(path+"/..", &above) == nil && here.Dev != above.Dev
}
