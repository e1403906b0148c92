package main

import (
	"context"
	"fmt"
	"runtime/debug"
	"time"

	"github.com/spf13/cobra"

	"github.com/edgeswarm/edgeswarm/client"
	"github.com/edgeswarm/edgeswarm/cmd/edgectl/internal/output"
	"github.com/edgeswarm/edgeswarm/internal/build"
)

// versions is what `version` prints.
type versions struct {
	Client clientVersion
	Node   *nodeVersion // nil when none answers
}

type (
	clientVersion struct {
		Version, GoVersion, Platform string
		Built                        time.Time
	}
	nodeVersion struct{ Hostname, Version, Platform, Runtime string }
)

func newVersion(c *cli) *cobra.Command {
	var format string
	cmd := &cobra.Command{
		Use:   "version [OPTIONS]",
		Short: "Show the version of edgectl and of the node it speaks to",
		Example: `  edgectl version
  edgectl version --format '{{.Client.Version}}'`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return c.version(cmd.Context(), format) },
	}
	registerFormat(cmd.Flags(), &format, "f")
	return cmd
}

func (c *cli) version(ctx context.Context, format string) error {
	v := versions{Client: clientVersion{Version: build.Version, Built: build.Time()}}
	if info, ok := debug.ReadBuildInfo(); ok {
		v.Client.GoVersion = info.GoVersion
		v.Client.Platform = setting(info, "GOOS") + "/" + setting(info, "GOARCH")
	}
	var nodeErr error
	v.Node, nodeErr = c.nodeVersion(ctx)
	if format != "" && format != output.Table {
		return output.Objects(c.out, format, []versions{v})
	}
	fmt.Fprintf(c.out, "Client:\n Version:   %s\n Built:     %s\n Go:        %s\n Platform:  %s\n", v.Client.Version, v.Client.Built.Format(time.RFC3339), v.Client.GoVersion, v.Client.Platform)
	if v.Node == nil {
		fmt.Fprintf(c.out, "\nNode: none reached: %v\n", nodeErr)
		return nil
	}
	fmt.Fprintf(c.out, "\nNode:\n Hostname:  %s\n Version:   %s\n Platform:  %s\n Runtime:   %s\n", v.Node.Hostname, v.Node.Version, v.Node.Platform, v.Node.Runtime)
	return nil
}

func (c *cli) nodeVersion(ctx context.Context) (*nodeVersion, error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	node, err := client.New(ctx, client.Config{Target: c.host, Patience: -1})
	if err != nil {
		return nil, err
	}
	defer node.Close()
	s, err := node.Board().GetBoard(ctx)
	if err != nil {
		return nil, err
	}
	return &nodeVersion{Hostname: s.Hostname, Version: s.Version, Platform: s.Description.Platform.String(), Runtime: s.Description.Engine.Runtime}, nil
}

func setting(info *debug.BuildInfo, key string) string {
	for _, s := range info.Settings {
		if s.Key == key {
			return s.Value
		}
	}
	return "unknown"
}
