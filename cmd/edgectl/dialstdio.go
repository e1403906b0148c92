package main

import (
	"github.com/spf13/cobra"

	"github.com/edgeswarm/edgeswarm/client"
)

// newDialStdio is the far end of an ssh target. It is no command for people.
func newDialStdio(c *cli) *cobra.Command {
	return &cobra.Command{
		Use: "dial-stdio", Short: "Join standard input and output to the node's socket", Hidden: true, Args: noArgs,
		Example: `  ssh pi@board1 edgectl dial-stdio`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return client.Proxy(cmd.Context(), c.host, c.in, c.out)
		},
	}
}
