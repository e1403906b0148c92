package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
)

// Exit codes; see the package's comment.
const (
	exitFailed      = 1
	exitUsage       = 125
	exitInterrupted = 130
)

// streams are the three that every program has.
type streams struct {
	in       io.Reader
	out, err io.Writer
}

// run carries out one command line.
func run(ctx context.Context, args []string, s streams) error {
	root := newRoot(&cli{streams: s})
	root.SetArgs(args)
	err := root.ExecuteContext(ctx)
	if err != nil && ctx.Err() != nil && !errors.As(err, &exitError{}) {
		return exitError{code: exitInterrupted} // who interrupts knows it
	}
	return err
}

// exitError ends the program with a code. Without an Err nothing is said.
type exitError struct {
	code int
	err  error
}

func (e exitError) Error() string {
	if e.err == nil {
		return fmt.Sprintf("exit %d", e.code)
	}
	return e.err.Error()
}

func (e exitError) Unwrap() error { return e.err }

// usageErrorf is for a command line that can't be understood.
func usageErrorf(format string, args ...any) error {
	return exitError{exitUsage, fmt.Errorf(format, args...)}
}

func exitCode(err error) int {
	var e exitError
	if errors.As(err, &e) {
		return e.code
	}
	return exitFailed
}

// report prints an error: each of several on a line of its own.
func report(w io.Writer, err error) {
	var e exitError
	if errors.As(err, &e) && e.err == nil {
		return
	}
	for line := range strings.Lines(err.Error()) {
		fmt.Fprintf(w, "edgectl: %s\n", strings.TrimRight(line, "\n"))
	}
}
