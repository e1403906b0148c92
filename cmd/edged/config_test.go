package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/pflag"

	"github.com/edgeswarm/edgeswarm/internal/settings"
	"github.com/edgeswarm/edgeswarm/node"
)

// given is where a board's settings come from.
type given struct {
	args []string
	env  map[string]string
	file string // "" for none
}

func (g given) load(t *testing.T) (node.Config, error) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "edge.yaml")
	if err := os.WriteFile(path, []byte(g.file), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg, _, err := load(append([]string{"--config", path}, g.args...), func(name string) (string, bool) {
		value, ok := g.env[name]
		return value, ok
	}, io.Discard)
	return cfg, err
}

func TestAFlagWinsOverTheEnvironmentAndThatOverTheFile(t *testing.T) {
	file := "name: file\nlisten: :1\nlabel: {from: file, only: file}\njoin-addr: [file]\n"
	env := map[string]string{"EDGE_NAME": "env", "EDGE_LISTEN": ":2", "EDGE_LABEL": "from=env", "EDGE_JOIN_ADDR": "env,env2"}
	args := []string{"--name", "flag", "--label", "from=flag", "--join-addr", "flag"}
	tests := map[string]struct {
		given
		name, listen string
		labels       map[string]string
		addrs        []string
	}{
		"nothing":         {listen: ":2377"},
		"file":            {given: given{file: file}, name: "file", listen: ":1", labels: map[string]string{"from": "file", "only": "file"}, addrs: []string{"file"}},
		"environment too": {given: given{file: file, env: env}, name: "env", listen: ":2", labels: map[string]string{"from": "env"}, addrs: []string{"env", "env2"}},
		"flags too":       {given: given{file: file, env: env, args: args}, name: "flag", listen: ":2", labels: map[string]string{"from": "flag"}, addrs: []string{"flag"}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			cfg, err := tt.load(t)
			if err != nil {
				t.Fatal(err)
			}
			if cfg.Name != tt.name || cfg.Listen != tt.listen || !maps.Equal(cfg.Labels, tt.labels) || !slices.Equal(cfg.JoinAddrs, tt.addrs) {
				t.Errorf("name %q, listen %q, labels %v, addresses %v", cfg.Name, cfg.Listen, cfg.Labels, cfg.JoinAddrs)
			}
			if cfg.ReserveMemory != 64<<20 || cfg.StateDir != node.DefaultStateDir {
				t.Errorf("a setting that none gives is not its default: %d, %s", cfg.ReserveMemory, cfg.StateDir)
			}
		})
	}
}

func TestValuesOfAFile(t *testing.T) {
	tests := map[string]struct {
		file string
		ok   func(node.Config) bool
	}{
		"a number":           {"reserve-memory: 1048576", func(c node.Config) bool { return c.ReserveMemory == 1<<20 }},
		"a level":            {"log-level: debug", func(c node.Config) bool { return c.Logger.Enabled(context.Background(), slog.LevelDebug) }},
		"a level by default": {"# nothing", func(c node.Config) bool { return !c.Logger.Enabled(context.Background(), slog.LevelDebug) }},
		"a list in one line": {"join-addr: a,b:1", func(c node.Config) bool { return slices.Equal(c.JoinAddrs, []string{"a", "b:1"}) }},
		"a list over lines":  {"join-addr:\n- a\n- '[fe80::1]:2377'\n", func(c node.Config) bool { return slices.Equal(c.JoinAddrs, []string{"a", "[fe80::1]:2377"}) }},
		"generic resources": {"node-generic-resource: [gpu=U1, gpu=U2, ssd=3]", func(c node.Config) bool {
			return slices.Equal(c.GenericResources, []string{"gpu=U1", "gpu=U2", "ssd=3"})
		}},
		"a mapping": {"label:\n  room: attic\n  floor: 2\n", func(c node.Config) bool {
			return maps.Equal(c.Labels, map[string]string{"room": "attic", "floor": "2"})
		}},
		"commas in labels": {`label: {a: "x,y", b: "p=q,r", c: z}`, func(c node.Config) bool {
			return maps.Equal(c.Labels, map[string]string{"a": "x,y", "b": "p=q,r", "c": "z"})
		}},
		"a comma in a label":    {`label: {a: "x,y"}`, func(c node.Config) bool { return maps.Equal(c.Labels, map[string]string{"a": "x,y"}) }},
		"labels as a list":      {"label: [a=1, b=2]", func(c node.Config) bool { return maps.Equal(c.Labels, map[string]string{"a": "1", "b": "2"}) }},
		"an empty mapping":      {"label: {}", func(c node.Config) bool { return len(c.Labels) == 0 }},
		"a key with no value":   {"fleet-key:\njoin-addr:\n", func(c node.Config) bool { return c.FleetKey == "" && len(c.JoinAddrs) == 0 }},
		"a key that says null":  {"fleet-key: null", func(c node.Config) bool { return c.FleetKey == "" }},
		"comments only":         {"# fleet-key: x\n", func(c node.Config) bool { return c.FleetKey == "" }},
		"a word that looks not": {"name: yes", func(c node.Config) bool { return c.Name == "yes" }},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			cfg, err := given{file: tt.file}.load(t)
			if err != nil {
				t.Fatal(err)
			}
			if !tt.ok(cfg) {
				t.Errorf("%s: read as %+v", tt.file, cfg)
			}
		})
	}
}

func TestWhatIsWrongIsNamedWithItsPlace(t *testing.T) {
	tests := map[string]struct {
		given
		want []string
	}{
		"unknown key":            {given{file: "name: a\nfleet-kye: x"}, []string{"edge.yaml line 2", `unknown key "fleet-kye"`, "fleet-key, join-token"}},
		"config in the file":     {given{file: "config: x"}, []string{"line 1", "unknown key"}},
		"version in the file":    {given{file: "version: true"}, []string{"line 1", "unknown key"}},
		"a key twice":            {given{file: "name: a\nlisten: :1\nname: b"}, []string{"edge.yaml line 3", "name is set already, on line 1"}},
		"wrong type":             {given{file: "\nreserve-memory: lots"}, []string{"edge.yaml line 2: reserve-memory", `"lots"`, "integer"}},
		"a list for one value":   {given{file: "name: [a, b]"}, []string{"line 1: name", "want one plain value"}},
		"a mapping for one":      {given{file: "name:\n  a: b"}, []string{"line 2: name", "want one plain value"}},
		"a mapping for a list":   {given{file: "join-addr: {a: b}"}, []string{"line 1: join-addr", "a list"}},
		"lists in a list":        {given{file: "join-addr: [[a]]"}, []string{"line 1: join-addr", "a list of plain values"}},
		"a label without a key":  {given{file: "label: attic"}, []string{"line 1: label", `"attic"`, "key=value"}},
		"a deep label":           {given{file: "label: {a: {b: c}}"}, []string{"line 1: label", "mapping of plain values"}},
		"a level there is not":   {given{file: "log-level: loud"}, []string{"line 1: log-level", `"loud"`}},
		"a list of lines":        {given{file: "- a"}, []string{"edge.yaml line 1", "name: value"}},
		"no YAML":                {given{file: "name: [a"}, []string{"edge.yaml", "line 1"}},
		"wrong, though outvoted": {given{file: "name: [a]", args: []string{"--name", "b"}}, []string{"line 1: name"}},
		"environment":            {given{env: map[string]string{"EDGE_RESERVE_MEMORY": "lots"}}, []string{"EDGE_RESERVE_MEMORY", `"lots"`, "integer"}},
		"flag":                   {given{args: []string{"--reserve-memory", "lots"}}, []string{`"lots"`, "--reserve-memory"}},
		"unknown flag":           {given{args: []string{"--nope"}}, []string{"--nope", "edged --help"}},
		"argument":               {given{args: []string{"start"}}, []string{`"start"`, "edged --help"}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			_, err := tt.load(t)
			if err == nil {
				t.Fatal("accepted")
			}
			for _, want := range tt.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("%q lacks %q", err, want)
				}
			}
			if strings.Contains(err.Error(), "\n") {
				t.Errorf("more than a line: %q", err)
			}
		})
	}
}

func TestAFileMustBeThereOnlyIfItWasNamed(t *testing.T) {
	none := func(string) (string, bool) { return "", false }
	if _, _, err := load([]string{"--config", filepath.Join(t.TempDir(), "none.yaml")}, none, io.Discard); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("got %v", err)
	}
	var b settings.Board
	if err := settings.FromFile(b.Flags(), filepath.Join(t.TempDir(), "none.yaml"), false); err != nil {
		t.Error(err)
	}
}

func TestHelpNamesEverySettingAndWhereItMayStand(t *testing.T) {
	var out strings.Builder
	_, flags, err := load([]string{"--help"}, func(string) (string, bool) { return "", false }, &out)
	if !errors.Is(err, pflag.ErrHelp) {
		t.Fatal(err)
	}
	for _, want := range append(settings.Keys(flags), "EDGE_FLEET_KEY=", "fleet-key: KEY", defaultFile) {
		if !strings.Contains(out.String(), want) {
			t.Errorf("lacks %s", want)
		}
	}
	for _, slip := range []string{"stringToString", "slog", "[]", "true|false"} {
		if strings.Contains(out.String(), slip) {
			t.Errorf("shows %s", slip)
		}
	}
}

func TestWhoMayNotRunABoardIsToldWhatToDo(t *testing.T) {
	denied := fmt.Errorf("make run directory: %w", os.ErrPermission)
	if err := unprivileged(denied, 1000); !errors.Is(err, os.ErrPermission) || !strings.Contains(err.Error(), "as root") {
		t.Errorf("got %v", err)
	}
	for _, err := range []error{unprivileged(denied, 0), unprivileged(io.EOF, 1000), unprivileged(nil, 1000)} {
		if err != nil && strings.Contains(err.Error(), "as root") {
			t.Errorf("got %v", err)
		}
	}
}
