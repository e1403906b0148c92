package main

import (
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/edgeswarm/edgeswarm/cmd/edgectl/internal/output"
)

// offerValues lets a shell complete the values of every flag, of a command and
// those below it, that takes one of a few words.
func offerValues(cmd *cobra.Command) {
	cmd.LocalNonPersistentFlags().VisitAll(func(flag *pflag.Flag) {
		values, more := valuesOf(cmd, flag)
		if len(values) == 0 {
			return
		}
		if _, done := cmd.GetFlagCompletionFunc(flag.Name); done {
			return
		}
		directive := cobra.ShellCompDirectiveNoFileComp
		if more {
			directive |= cobra.ShellCompDirectiveNoSpace
		}
		// It errs only for a flag that the command does not have.
		_ = cmd.RegisterFlagCompletionFunc(flag.Name, cobra.FixedCompletions(values, directive))
	})
	for _, child := range cmd.Commands() {
		offerValues(child)
	}
}

// valuesOf are the words that a flag takes, by what its help says of it; more
// if something has to follow them.
func valuesOf(cmd *cobra.Command, flag *pflag.Flag) (values []string, more bool) {
	if f, ok := flag.Value.(*filter); ok {
		for _, key := range f.keys {
			values = append(values, key+"=")
		}
		return values, true
	}
	kind := flag.Value.Type()
	switch {
	case strings.Contains(kind, "|"):
		for word := range strings.SplitSeq(kind, "|") {
			if !slices.Contains([]string{"time", "duration", "number", "index"}, word) { // those it stands for
				values = append(values, word)
			}
		}
		return values, false
	case kind == "mode":
		return []string{modeReplicated, modeGlobal, modeReplicatedJob, modeGlobalJob}, false
	case flag.Name == "format" && cmd.Name() == "inspect":
		return []string{output.JSON}, false // objects have no table
	case flag.Name == "format":
		return []string{output.JSON, output.Table}, false
	default:
		return nil, false
	}
}
