package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/edgeswarm/edgeswarm/api"
)

// flagError rewrites what is wrong with a flag: a value that can't work is
// refused, anything else is a command line that can't be understood.
func flagError(cmd *cobra.Command, err error) error {
	var bad *pflag.InvalidValueError
	if errors.As(err, &bad) {
		return invalidf("--%s %s: %w", bad.GetFlag().Name, bad.GetValue(), bad.Unwrap())
	}
	return usageErrorf("%w; see %s --help", err, cmd.CommandPath())
}

// invalidf is for a value that is refused before anything is sent.
func invalidf(format string, args ...any) error {
	return api.Errorf(api.Invalid, "", format, args...)
}

// noArgs takes none, and names the commands that were perhaps meant.
func noArgs(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	if !cmd.HasSubCommands() {
		return usageErrorf("%s takes no argument %q; see %[1]s --help", cmd.CommandPath(), args[0])
	}
	hint := ""
	if near := cmd.SuggestionsFor(args[0]); len(near) > 0 {
		hint = "; did you mean " + strings.Join(near, " or ") + "?"
	}
	return usageErrorf("%q is not a command of %s%s; see %[2]s --help", args[0], cmd.CommandPath(), hint)
}

// needArgs takes at least least arguments, and at most most; most < 0 is any
// number.
func needArgs(least, most int) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		switch {
		case len(args) < least:
			return usageErrorf("%s needs %s; write %s", cmd.CommandPath(), count(least, "argument"), cmd.UseLine())
		case most >= 0 && len(args) > most:
			return usageErrorf("%s takes %s, and %q is one too many; write %s", cmd.CommandPath(), count(most, "argument"), args[most], cmd.UseLine())
		default:
			return nil
		}
	}
}

// count says a number with its noun.
func count(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

// each does one thing for every argument, and goes on after one that fails.
func each(args []string, do func(string) error) error {
	var errs []error
	for _, arg := range args {
		if err := do(arg); err != nil {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}
