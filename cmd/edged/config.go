package main

import (
	"encoding/csv"
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

	"github.com/edgeswarm/edgeswarm/api"
	"github.com/edgeswarm/edgeswarm/internal/build"
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

// settings are the one schema of a board's configuration: each flag is also
// the environment variable EDGE_NAME and the key name of the file. A flag wins
// over the environment, and that over the file.
func settings(cfg *node.Config, level *slog.Level) *pflag.FlagSet {
	f := pflag.NewFlagSet("edged", pflag.ContinueOnError)
	f.SortFlags = false
	f.Usage = func() { fmt.Fprintf(f.Output(), usage, strings.ReplaceAll(f.FlagUsages(), "[=true|false]", "")) }
	f.StringVar(&cfg.Name, "name", "", "hostname in the fleet (default: the system's)")
	f.StringVar(&cfg.FleetKey, "fleet-key", "", "the fleet's `key`; boards that hold it find each other and form one fleet")
	f.StringVar(&cfg.JoinToken, "join-token", "", "`token` of the fleet to join")
	f.StringSliceVar(&cfg.JoinAddrs, "join-addr", nil, "`host[:port]` of a manager to join at, with join-token; several with commas, or a list in the file")
	f.StringVar(&cfg.Listen, "listen", fmt.Sprintf(":%d", api.DefaultPort), "`[host]:port`, the one UDP port")
	f.StringVar(&cfg.Advertise, "advertise-addr", "", "`host[:port]` where others reach this board (default: its interfaces' addresses)")
	f.StringToStringVar(&cfg.Labels, "label", nil, "node labels as `key=value`, taken up when the board joins; several with commas, or a mapping in the file")
	f.Lookup("label").DefValue = "" // pflag's own is []
	f.StringVar(&cfg.StateDir, "state-dir", node.DefaultStateDir, "`folder` of what must last")
	f.StringVar(&cfg.RunDir, "run-dir", node.DefaultRunDir, "`folder` of sockets and namespaces; emptied by a reboot")
	f.StringVar(&cfg.Containerd, "containerd", node.AutoContainerd, "`path` of containerd's socket; managed, for one that edged starts and keeps; or auto: the system's if it runs when the board first starts, else managed")
	f.StringVar(&cfg.Namespace, "namespace", "edgeswarm", "containerd namespace for our containers")
	f.StringVar(&cfg.CgroupParent, "cgroup-parent", "/edgeswarm", "`path` where tasks' cgroups are made")
	f.StringVar(&cfg.TaskSubnets, "task-subnets", "10.210.0.0/16", "`prefix` to take the board's own task subnet from")
	f.Int64Var(&cfg.ReserveMemory, "reserve-memory", 64<<20, "`bytes` kept from tasks for the system")
	f.StringVar(&cfg.BootID, "boot-id", "", "`ID` that tells one boot from another (default: the kernel's)")
	f.TextVar(level, "log-level", slog.LevelInfo, "least `level` to log: debug, info, warn or error")
	f.Bool("version", false, "print the version and end")
	return f
}

// load reads flags, environment and file. pflag.ErrHelp if help was asked for.
func load(args []string, environ func(string) (string, bool), out io.Writer) (node.Config, *pflag.FlagSet, error) {
	var level slog.Level
	cfg := node.Config{BuildTime: build.Time(), Version: build.Version}
	flags := settings(&cfg, &level)
	file := flags.String("config", defaultFile, "configuration `file`")
	flags.SetOutput(out)
	if err := flags.Parse(args); errors.Is(err, pflag.ErrHelp) {
		return cfg, flags, err
	} else if err != nil {
		return cfg, flags, fmt.Errorf("%w: see edged --help", err)
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
				err = fmt.Errorf("environment variable %s: %w", name, cause(setErr))
			}
		}
	})
	return err
}

// cause strips what a flag's error says of the command line, where the value
// came from elsewhere.
func cause(err error) error {
	var bad *pflag.InvalidValueError
	if errors.As(err, &bad) {
		return fmt.Errorf("%q: %w", bad.GetValue(), bad.Unwrap())
	}
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
	lines := map[string]int{}
	for i := 0; i+1 < len(top.Content); i += 2 {
		key, value := top.Content[i], top.Content[i+1]
		f := flags.Lookup(key.Value)
		if f == nil || f.Name == "config" || f.Name == "version" {
			return fmt.Errorf("%s line %d: unknown key %q; known are %s", path, key.Line, key.Value, strings.Join(keys(flags), ", "))
		}
		if line := lines[f.Name]; line > 0 {
			return fmt.Errorf("%s line %d: %s is set already, on line %d: keep one of the two", path, key.Line, f.Name, line)
		}
		lines[f.Name] = key.Line
		text, err := plain(value, f.Value.Type())
		if err == nil && text != "" && !f.Changed { // else given by flag or environment
			if err = flags.Set(f.Name, text); err != nil {
				err = cause(err)
			}
		}
		if err != nil {
			return fmt.Errorf("%s line %d: %s: %w", path, value.Line, key.Value, err)
		}
	}
	return nil
}

// Kinds of flags that take more than one plain value, as pflag calls them.
const (
	listFlag = "stringSlice"
	mapFlag  = "stringToString"
)

// plain renders a YAML value as a flag of that kind takes it; "" for none.
func plain(n *yaml.Node, kind string) (string, error) {
	var items []string
	switch {
	case n.Kind == yaml.ScalarNode && n.Tag == "!!null":
		return "", nil
	case n.Kind == yaml.ScalarNode:
		return n.Value, nil
	case n.Kind == yaml.SequenceNode && (kind == listFlag || kind == mapFlag):
		if err := n.Decode(&items); err != nil {
			return "", errors.New("want a list of plain values")
		}
	case n.Kind == yaml.MappingNode && kind == mapFlag:
		var pairs map[string]string
		if err := n.Decode(&pairs); err != nil {
			return "", errors.New("want a mapping of plain values")
		}
		for _, k := range slices.Sorted(maps.Keys(pairs)) {
			items = append(items, k+"="+pairs[k])
		}
	case kind == listFlag:
		return "", errors.New("want a plain value or a list of them")
	case kind == mapFlag:
		return "", errors.New("want a mapping, such as {room: attic}")
	default:
		return "", errors.New("want one plain value")
	}
	return record(items)
}

// record joins values as pflag's lists take them: a line of CSV.
func record(items []string) (string, error) {
	if len(items) == 0 {
		return "", nil
	}
	var line strings.Builder
	w := csv.NewWriter(&line)
	if err := w.Write(items); err != nil {
		return "", err
	}
	w.Flush()
	return strings.TrimSuffix(line.String(), "\n"), w.Error()
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
