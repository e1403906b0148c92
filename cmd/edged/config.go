package main

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/spf13/pflag"
	"go.yaml.in/yaml/v3"

	"github.com/edgeswarm/edgeswarm/internal/build"
	"github.com/edgeswarm/edgeswarm/node"
)

// defaultFile is read if it is there.
const defaultFile = "/etc/edgeswarm/edge.yaml"

// settings are the one schema of a board's configuration: each flag is also
// the environment variable EDGE_NAME and the key name of the file. A flag wins
// over the environment, and that over the file.
func settings(cfg *node.Config, level *slog.Level) *pflag.FlagSet {
	f := pflag.NewFlagSet("edged", pflag.ContinueOnError)
	f.SortFlags = false
	f.StringVar(&cfg.Name, "name", "", "hostname in the fleet (default: the system's)")
	f.StringVar(&cfg.FleetKey, "fleet-key", "", "the fleet's key; boards that hold it find each other and form one fleet")
	f.StringVar(&cfg.JoinToken, "join-token", "", "token of the fleet to join")
	f.StringSliceVar(&cfg.JoinAddrs, "join-addr", nil, "host[:port] of managers to join at, with join-token")
	f.StringVar(&cfg.Listen, "listen", fmt.Sprintf(":%d", 2377), "the one UDP port")
	f.StringVar(&cfg.Advertise, "advertise-addr", "", "host[:port] where others reach this board (default: its interfaces' addresses)")
	f.StringToStringVar(&cfg.Labels, "label", nil, "node labels, taken up when the board joins")
	f.StringVar(&cfg.StateDir, "state-dir", node.DefaultStateDir, "what must last")
	f.StringVar(&cfg.RunDir, "run-dir", node.DefaultRunDir, "sockets and namespaces; emptied by a reboot")
	f.StringVar(&cfg.Containerd, "containerd", node.DefaultContainerd, "containerd's socket")
	f.StringVar(&cfg.Namespace, "namespace", "edgeswarm", "containerd namespace for our containers")
	f.StringVar(&cfg.CgroupParent, "cgroup-parent", "/edgeswarm", "where tasks' cgroups are made")
	f.StringVar(&cfg.TaskSubnets, "task-subnets", "10.210.0.0/16", "pool of the board's own task subnet")
	f.Int64Var(&cfg.ReserveMemory, "reserve-memory", 64<<20, "bytes kept from tasks for the system")
	f.StringVar(&cfg.BootID, "boot-id", "", "tells one boot from another (default: the kernel's)")
	f.TextVar(level, "log-level", slog.LevelInfo, "debug, info, warn or error")
	f.Bool("version", false, "print the version and end")
	return f
}

// load reads flags, environment and file. pflag.ErrHelp if help was asked for.
func load(args []string, environ func(string) (string, bool), out io.Writer) (node.Config, *pflag.FlagSet, error) {
	var level slog.Level
	cfg := node.Config{BuildTime: build.Time(), Version: build.Version}
	flags := settings(&cfg, &level)
	file := flags.String("config", defaultFile, "configuration file, YAML with these names as keys")
	flags.SetOutput(out)
	if err := flags.Parse(args); err != nil {
		return cfg, flags, err
	}
	if flags.NArg() > 0 {
		return cfg, flags, fmt.Errorf("unexpected argument %q: see edged --help", flags.Arg(0))
	}
	if err := fromEnvironment(flags, environ); err != nil {
		return cfg, flags, err
	}
	if err := fromFile(flags, *file, flags.Changed("config")); err != nil {
		return cfg, flags, err
	}
	cfg.Logger = slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: level}))
	return cfg, flags, nil
}

func fromEnvironment(flags *pflag.FlagSet, environ func(string) (string, bool)) error {
	var err error
	flags.VisitAll(func(f *pflag.Flag) {
		name := "EDGE_" + strings.ToUpper(strings.ReplaceAll(f.Name, "-", "_"))
		if value, ok := environ(name); ok && !f.Changed && err == nil {
			if setErr := flags.Set(f.Name, value); setErr != nil {
				err = fmt.Errorf("environment variable %s: %w", name, setErr)
			}
		}
	})
	return err
}

// fromFile reads the file's keys as flags. A key that is none is an error that
// names its line: a misspelt key must not be passed over in silence.
func fromFile(flags *pflag.FlagSet, path string, required bool) error {
	raw, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) && !required {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read configuration: %w", err)
	}
	var doc yaml.Node
	if err := yaml.Unmarshal(raw, &doc); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	if len(doc.Content) == 0 {
		return nil // empty, or comments only
	}
	top := doc.Content[0]
	if top.Kind != yaml.MappingNode {
		return fmt.Errorf("%s line %d: want lines of the form `name: value`", path, top.Line)
	}
	for i := 0; i+1 < len(top.Content); i += 2 {
		key, value := top.Content[i], top.Content[i+1]
		f := flags.Lookup(key.Value)
		if f == nil || f.Name == "config" || f.Name == "version" {
			return fmt.Errorf("%s line %d: unknown key %q; known are %s", path, key.Line, key.Value, strings.Join(keys(flags), ", "))
		}
		if f.Changed {
			continue // given by flag or environment
		}
		text, err := plain(value)
		if err == nil {
			err = flags.Set(f.Name, text)
		}
		if err != nil {
			return fmt.Errorf("%s line %d: %s: %w", path, value.Line, key.Value, err)
		}
	}
	return nil
}

// plain renders a YAML value as a flag takes it.
func plain(n *yaml.Node) (string, error) {
	switch n.Kind {
	case yaml.ScalarNode:
		return n.Value, nil
	case yaml.SequenceNode:
		var items []string
		if err := n.Decode(&items); err != nil {
			return "", errors.New("want a list of plain values")
		}
		return strings.Join(items, ","), nil
	case yaml.MappingNode:
		var pairs map[string]string
		if err := n.Decode(&pairs); err != nil {
			return "", errors.New("want a mapping of plain values")
		}
		items := make([]string, 0, len(pairs))
		for _, k := range slices.Sorted(maps.Keys(pairs)) {
			items = append(items, k+"="+pairs[k])
		}
		return strings.Join(items, ","), nil
	default:
		return "", errors.New("want a plain value, a list or a mapping")
	}
}

func keys(flags *pflag.FlagSet) []string {
	var names []string
	flags.VisitAll(func(f *pflag.Flag) {
		if f.Name != "config" && f.Name != "version" {
			names = append(names, f.Name)
		}
	})
	return names
}
