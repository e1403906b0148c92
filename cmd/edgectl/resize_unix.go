//go:build unix

package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/edgeswarm/edgeswarm/api"
)

// watchSize tells each new size of a terminal until ctx ends.
func watchSize(ctx context.Context, f *os.File) <-chan api.TerminalSize {
	changed := make(chan os.Signal, 1)
	signal.Notify(changed, syscall.SIGWINCH)
	sizes := make(chan api.TerminalSize)
	go func() {
		defer signal.Stop(changed)
		for {
			select {
			case <-changed:
			case <-ctx.Done():
				return
			}
			select {
			case sizes <- sizeOf(f):
			case <-ctx.Done():
				return
			}
		}
	}()
	return sizes
}
