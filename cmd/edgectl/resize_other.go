//go:build !unix

package main

import (
	"context"
	"os"
	"time"

	"github.com/edgeswarm/edgeswarm/api"
)

// watchSize tells each new size of a terminal until ctx ends. There is no
// signal for it here, so it looks.
func watchSize(ctx context.Context, f *os.File) <-chan api.TerminalSize {
	sizes := make(chan api.TerminalSize)
	go func() {
		tick := time.NewTicker(250 * time.Millisecond)
		defer tick.Stop()
		for last := sizeOf(f); ; {
			select {
			case <-tick.C:
			case <-ctx.Done():
				return
			}
			size := sizeOf(f)
			if size == last {
				continue
			}
			last = size
			select {
			case sizes <- size:
			case <-ctx.Done():
				return
			}
		}
	}()
	return sizes
}
