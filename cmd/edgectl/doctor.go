package main

import (
	"context"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/edgeswarm/edgeswarm/api"
	"github.com/edgeswarm/edgeswarm/client"
	"github.com/edgeswarm/edgeswarm/cmd/edgectl/internal/output"
)

// finding is what `doctor` prints of one; the fields are the template's.
type finding struct {
	Node string
	api.Finding
}

func newDoctor(c *cli) *cobra.Command {
	var format string
	cmd := &cobra.Command{
		Use:   "doctor [OPTIONS] [NODE|self]",
		Short: "Examine a board: what is amiss, why it matters, and how to mend it",
		Long: `Examine a board, the one that is spoken to unless another is named: its kernel,
control groups, containerd, disk, clock, power and network. What is amiss is
said with what to do about it. The disk's speed is measured, by writing 36 KiB.

It exits with 1 if anything is bad, so that the board can't do a part of its
work, and with 0 if it only could do better.`,
		Example: `  edgectl doctor
  edgectl doctor board2
  edgectl doctor --format '{{.Level}} {{.Check}}'`,
		Args: needArgs(0, 1), ValidArgsFunction: c.completeNodes,
		RunE: c.with(func(ctx context.Context, node *client.Client, args []string) error {
			req := &api.ExamineRequest{MeasureDisk: true}
			if len(args) > 0 && args[0] != self {
				req.Node = args[0]
			}
			found, err := node.Board().Examine(ctx, req)
			if err != nil {
				return err
			}
			return c.tellFindings(found, format)
		}),
	}
	registerFormat(cmd.Flags(), &format, "f")
	return cmd
}

func (c *cli) tellFindings(found *api.Examination, format string) error {
	rows := make([]finding, len(found.Findings))
	count := map[api.FindingLevel]int{}
	for i, f := range found.Findings {
		rows[i] = finding{found.Hostname, f}
		count[f.Level]++
	}
	var err error
	if format == "" || format == output.Table {
		err = printFindings(c.out, found)
	} else {
		err = output.Objects(c.out, format, rows)
	}
	if err == nil && count[api.FindingBad] > 0 {
		return exitError{code: exitFailed}
	}
	return err
}

func printFindings(w io.Writer, found *api.Examination) error {
	fmt.Fprintf(w, "Board: %s (%s)", output.Safe(found.Hostname), orNone(string(found.NodeID)))
	if found.Model != "" {
		fmt.Fprintf(w, ", %s", output.Safe(found.Model))
	}
	fmt.Fprint(w, "\n\n")
	tw := tabwriter.NewWriter(w, 0, 1, 2, ' ', 0)
	for _, f := range found.Findings {
		fmt.Fprintf(tw, "%s\t%s\t%s\n", strings.ToUpper(string(f.Level)), output.Safe(f.Check), output.Safe(f.What))
		if f.Why != "" {
			fmt.Fprintf(tw, "\t\twhy: %s\n", output.Safe(f.Why))
		}
		if f.Mend != "" {
			fmt.Fprintf(tw, "\t\tdo: %s\n", output.Safe(f.Mend))
		}
	}
	return tw.Flush()
}
