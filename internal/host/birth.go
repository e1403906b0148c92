package host

import (
	"time"

	"golang.org/x/sys/unix"
)

// Birth is when a file was made, where its file system knows; else zero.
func Birth(path string) time.Time {
	var s unix.Statx_t
	if err := unix.Statx(unix.AT_FDCWD, path, 0, unix.STATX_BTIME, &s); err != nil || s.Mask&unix.STATX_BTIME == 0 {
		return time.Time{}
	}
	return time.Unix(s.Btime.Sec, int64(s.Btime.Nsec))
}
