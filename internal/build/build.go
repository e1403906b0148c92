// Package build says which build of Edgeswarm this is. The linker fills it in
// (see the Makefile); it holds nothing else.
package build

import (
	"strconv"
	"time"
)

// Version is the release, as git describes it.
var Version = "dev"

// unix is the time of the commit that was built, in seconds, as text.
var unix = "1767225600"

// Time is when the built commit was made: no board's clock can truly be
// earlier, so it is the floor of every board's time.
func Time() time.Time {
	s, err := strconv.ParseInt(unix, 10, 64)
	if err != nil {
		return time.Unix(1767225600, 0).UTC() // 2026-01-01
	}
	return time.Unix(s, 0).UTC()
}
