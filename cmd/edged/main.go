// Command edged runs on every board: it joins the board's fleet, or founds it,
// and keeps the tasks that the fleet assigns.
package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"github.com/spf13/pflag"

	"github.com/edgeswarm/edgeswarm/internal/build"
	"github.com/edgeswarm/edgeswarm/internal/host"
	"github.com/edgeswarm/edgeswarm/node"
)

// timerSlack is how late a timer may be: much less than any time-out, and as
// measured no hindrance to copying an image, which goes by acknowledgements.
const timerSlack = 4 * time.Millisecond

// Memory is trimmed once a board has started, and from time to time after it.
const firstTrim, laterTrims = 30 * time.Second, time.Hour

func run(ctx context.Context, args []string) error {
	_ = host.RelaxTimers(timerSlack) // where the kernel can't, edged works as well
	go trim(ctx)
	go host.ShiftGears(ctx)
	if len(args) > 0 && args[0] == node.LogProcess {
		return node.RunLogProcess(ctx, args[1:])
	}
	ending := len(args) > 0 && args[0] == node.EndTasks
	if ending {
		args = args[1:]
	}
	cfg, flags, err := load(args, os.LookupEnv, os.Stdout)
	if errors.Is(err, pflag.ErrHelp) {
		return nil
	}
	if err != nil {
		return err
	}
	if show, _ := flags.GetBool("version"); show {
		fmt.Println("edged", build.Version)
		return nil
	}
	if ending {
		return unprivileged(node.RunEndTasks(ctx, cfg), os.Geteuid())
	}
	return unprivileged(node.Run(ctx, cfg), os.Geteuid())
}

// unprivileged says what to do when a user other than root may not run a board.
func unprivileged(err error, uid int) error {
	if uid != 0 && errors.Is(err, fs.ErrPermission) {
		return fmt.Errorf("%w; run edged as root: it makes network namespaces and mounts", err)
	}
	return err
}

// trim keeps small what a board holds between its busy times.
func trim(ctx context.Context) {
	for wait := firstTrim; ; wait = laterTrims {
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
			_ = host.Trim() // where the kernel can't, edged works as well
		}
	}
}
