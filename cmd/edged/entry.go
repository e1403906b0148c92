//go:build !manual

package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/edgeswarm/edgeswarm/node"
)

func main() {
	if len(os.Args) > 1 && os.Args[1] == node.InitProcess {
		os.Exit(node.RunInitProcess(os.Args[2:]))
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "edged:", err)
		stop()
		os.Exit(1)
	}
}
