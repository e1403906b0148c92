package main

import (
	"context"
	"io"
	"os"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/edgeswarm/edgeswarm/api"
	"github.com/edgeswarm/edgeswarm/client"
	"github.com/edgeswarm/edgeswarm/cmd/edgectl/internal/flagvalue"
)

func newTaskExec(c *cli) *cobra.Command {
	start := &api.ExecStart{}
	env := flagvalue.NewList(flagvalue.Env, "NAME=value")
	dir := flagvalue.New(flagvalue.AbsPath, "path")
	cmd := &cobra.Command{
		Use:   "exec [OPTIONS] TASK COMMAND [ARG...]",
		Short: "Run a command in a running task, on whichever board it is",
		Long: `Run a command in a running task, on whichever board it is. TASK is an ID, its
beginning, or SERVICE.SLOT. It exits as the command did; 125 when the command
could not be run at all.`,
		Example: `  edgectl task exec web.1 cat /etc/hostname
  edgectl task exec -it web.1 sh`,
		Args: needArgs(2, -1), ValidArgsFunction: c.completeTasks,
		RunE: c.with(func(ctx context.Context, node *client.Client, args []string) error {
			start.Task, start.Command, start.Env, start.Dir = args[0], args[1:], lastOfEach(env.Values), dir.Or("")
			return c.exec(ctx, node, start)
		}),
	}
	fs := cmd.Flags()
	fs.SetInterspersed(false) // what follows the task is the command's
	fs.BoolVarP(&start.Stdin, "interactive", "i", false, "pass standard input on")
	fs.BoolVarP(&start.TTY, "tty", "t", false, "give the command a terminal")
	fs.VarP(env, "env", "e", "set an environment variable")
	fs.VarP(dir, "workdir", "w", "working directory")
	fs.StringVarP(&start.User, "user", "u", "", "user to run as (default: the task's)")
	return cmd
}

func (c *cli) exec(ctx context.Context, node *client.Client, start *api.ExecStart) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // ends the sender
	var tty *os.File
	if start.TTY && start.Stdin {
		if tty = terminal(c.in); tty == nil {
			return exitError{exitUsage, invalidf("-t with -i needs a terminal, and standard input is none: leave -t out")}
		}
	}
	var resized <-chan api.TerminalSize
	if screen := terminal(c.out); start.TTY && screen != nil {
		size := sizeOf(screen)
		start.Size = &size
		resized = watchSize(ctx, screen)
	}
	stream, err := node.Board().Exec(ctx)
	if err != nil {
		return exitError{exitUsage, err}
	}
	if err := stream.Send(&api.ExecInput{Start: start}); err != nil && err != io.EOF { // io.EOF: Recv says why
		return exitError{exitUsage, err}
	}
	if tty != nil {
		before, err := term.MakeRaw(int(tty.Fd()))
		if err != nil {
			return exitError{exitUsage, err}
		}
		defer func() { _ = term.Restore(int(tty.Fd()), before) }()
	}
	go sendInput(ctx, stream, c.execInput(ctx, start.Stdin), resized)
	return c.execOutput(ctx, stream)
}

// execInput reads standard input in pieces; the last message is its end. The
// goroutine ends with ctx or, while it reads, with the program: a read of
// standard input can't be called off.
func (c *cli) execInput(ctx context.Context, wanted bool) <-chan *api.ExecInput {
	pieces := make(chan *api.ExecInput)
	pass := func(p *api.ExecInput) bool {
		select {
		case pieces <- p:
			return true
		case <-ctx.Done():
			return false
		}
	}
	go func() {
		for wanted {
			buf := make([]byte, 32<<10)
			n, err := c.in.Read(buf)
			if n > 0 && !pass(&api.ExecInput{Data: buf[:n]}) {
				return
			}
			wanted = err == nil
		}
		pass(&api.ExecInput{EOF: true})
	}()
	return pieces
}

// execSender is the sending half of an exec.
type execSender interface {
	Send(*api.ExecInput) error
	CloseSend() error
}

// sendInput is the one sender on the stream. A failure shows in what is received.
func sendInput(ctx context.Context, stream execSender, pieces <-chan *api.ExecInput, resized <-chan api.TerminalSize) {
	for {
		var next *api.ExecInput
		select {
		case next = <-pieces:
			if next.EOF {
				pieces = nil
			}
		case size := <-resized:
			next = &api.ExecInput{Resize: &size}
		case <-ctx.Done():
			return
		}
		if stream.Send(next) != nil {
			return
		}
		if pieces == nil && resized == nil {
			_ = stream.CloseSend()
			return
		}
	}
}

func (c *cli) execOutput(ctx context.Context, stream interface {
	Recv() (*api.ExecOutput, error)
}) error {
	for {
		msg, err := stream.Recv()
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case err == io.EOF:
			return exitError{exitUsage, api.Errorf(api.Internal, "exec", "the node ended the exec without an exit code: look for the task with edgectl service ps")}
		case err != nil:
			return exitError{exitUsage, err}
		}
		to := c.out
		if msg.Stream == "stderr" {
			to = c.err
		}
		if _, err := to.Write(msg.Data); err != nil {
			return exitError{exitUsage, err}
		}
		if msg.Exit != nil {
			if *msg.Exit == 0 {
				return nil
			}
			return exitError{code: *msg.Exit}
		}
	}
}

func sizeOf(f *os.File) api.TerminalSize {
	width, height := terminalSize(f)
	return api.TerminalSize{Width: uint16(width), Height: uint16(height)}
}
