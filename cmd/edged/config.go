package main

import (
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"

	"github.com/spf13/pflag"

	"github.com/edgeswarm/edgeswarm/internal/build"
	"github.com/edgeswarm/edgeswarm/internal/settings"
	"github.com/edgeswarm/edgeswarm/node"
)

// defaultFile is read if it is there.
const defaultFile = "/etc/edgeswarm/edge.yaml"

// usage is the help around the list of flags.
const usage = `edged runs on every board: it joins the board's fleet, or founds it, and keeps
the tasks that the fleet assigns. Steer it with edgectl.

Usage:
  edged [OPTIONS]

Each option is also a key of the configuration file, which is YAML, and an
environment variable. These three say the same:

  --fleet-key KEY      EDGE_FLEET_KEY=KEY      fleet-key: KEY

An option wins over the environment, and that over the file.

Options:
%s`

// load reads flags, environment and file: a flag wins over the environment,
// and that over the file. pflag.ErrHelp if help was asked for.
func load(args []string, environ func(string) (string, bool), out io.Writer) (node.Config, *pflag.FlagSet, error) {
	var b settings.Board
	flags := b.Flags()
	flags.Usage = func() {
		fmt.Fprintf(flags.Output(), usage, strings.ReplaceAll(flags.FlagUsages(), "[=true|false]", ""))
	}
	flags.Bool("version", false, "print the version and end")
	file := flags.String("config", defaultFile, "configuration `file`")
	flags.SetOutput(out)
	err := settings.Parse(flags, args)
	if err == nil {
		err = settings.FromEnvironment(flags, environ)
	}
	if err == nil {
		err = settings.FromFile(flags, *file, flags.Changed("config"))
	}
	return config(b), flags, err
}

// config is what a board's settings mean to a node.
func config(b settings.Board) node.Config {
	return node.Config{
		Name: b.Name, StateDir: b.StateDir, RunDir: b.RunDir,
		Listen: b.Listen, Advertise: b.Advertise,
		FleetKey: b.FleetKey, JoinToken: b.JoinToken, JoinAddrs: b.JoinAddrs, Labels: b.Labels,
		Containerd: b.Containerd, Namespace: b.Namespace, CgroupParent: b.CgroupParent, TaskSubnets: b.TaskSubnets, MeshPort: b.MeshPort,
		RegistryMirrors: b.RegistryMirrors, Consoles: b.Consoles, Trouble: b.Trouble,
		ReserveMemory: b.ReserveMemory, GenericResources: b.GenericResources, BootID: b.BootID,
		BuildTime: build.Time(), Version: build.Version,
		Logger: slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: b.LogLevel})),
	}
}
