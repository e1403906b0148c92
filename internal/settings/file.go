package settings

import (
	"encoding/csv"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/spf13/pflag"
	"go.yaml.in/yaml/v3"
)

// Parse reads a command line. The error says where help is.
func Parse(flags *pflag.FlagSet, args []string) error {
	if err := flags.Parse(args); errors.Is(err, pflag.ErrHelp) {
		return err
	} else if err != nil {
		return fmt.Errorf("%w: see %s --help", err, flags.Name())
	}
	if flags.NArg() > 0 {
		return fmt.Errorf("unexpected argument %q: see %s --help", flags.Arg(0), flags.Name())
	}
	return Judge(flags)
}

// FromEnvironment sets what no flag has from variables such as EDGE_FLEET_KEY.
func FromEnvironment(flags *pflag.FlagSet, environ func(string) (string, bool)) error {
	var err error
	flags.VisitAll(func(f *pflag.Flag) {
		name := "EDGE_" + strings.ToUpper(strings.ReplaceAll(f.Name, "-", "_"))
		if value, ok := environ(name); ok && !f.Changed && err == nil {
			if setErr := set(flags, f, value); setErr != nil {
				err = fmt.Errorf("environment variable %s: %w", name, setErr)
			}
		}
	})
	return err
}

// FromFile sets what neither flag nor environment has from a file's keys.
func FromFile(flags *pflag.FlagSet, path string, required bool) error {
	raw, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) && !required {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read configuration: %w", err)
	}
	for _, wrong := range FromYAML(flags, raw) {
		return fmt.Errorf("%s %w", path, wrong)
	}
	return nil
}

// FromYAML sets what is not set yet from a file's content. What is wrong is
// told, each with its line, and passed over: the other keys count. A key that
// is none is wrong: a misspelt one must not be passed over in silence.
func FromYAML(flags *pflag.FlagSet, raw []byte) (wrong []error) {
	var doc yaml.Node
	if err := yaml.Unmarshal(raw, &doc); err != nil {
		return []error{errors.New(strings.TrimPrefix(err.Error(), "yaml: "))} // it names the line
	}
	if len(doc.Content) == 0 {
		return nil // empty, or comments only
	}
	top := doc.Content[0]
	if top.Kind != yaml.MappingNode {
		return []error{fmt.Errorf("line %d: want lines of the form `name: value`", top.Line)}
	}
	lines := map[string]int{}
	for i := 0; i+1 < len(top.Content); i += 2 {
		key, value := top.Content[i], top.Content[i+1]
		f := flags.Lookup(key.Value)
		if f == nil || notKeys[f.Name] {
			wrong = append(wrong, fmt.Errorf("line %d: unknown key %q; known are %s", key.Line, key.Value, strings.Join(Keys(flags), ", ")))
			continue
		}
		if line := lines[f.Name]; line > 0 {
			wrong = append(wrong, fmt.Errorf("line %d: %s is set already, on line %d: keep one of the two", key.Line, f.Name, line))
			continue
		}
		lines[f.Name] = key.Line
		if err := fromNode(flags, f, value); err != nil {
			wrong = append(wrong, fmt.Errorf("line %d: %s: %w", value.Line, key.Value, err))
		}
	}
	return wrong
}

// notKeys are flags that make no sense in a file.
var notKeys = map[string]bool{"config": true, "version": true}

// Keys are the settings that a file may have.
func Keys(flags *pflag.FlagSet) []string {
	var names []string
	flags.VisitAll(func(f *pflag.Flag) {
		if !notKeys[f.Name] && !f.Hidden {
			names = append(names, f.Name)
		}
	})
	return names
}

// set gives a flag a value that is right, or none.
func set(flags *pflag.FlagSet, f *pflag.Flag, value string) error {
	if err := judge(f.Name, value); err != nil {
		return err
	}
	return cause(flags.Set(f.Name, value))
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

// Kinds of flags that take more than one plain value, as pflag calls them.
const (
	listFlag  = "stringSlice"
	arrayFlag = "stringArray" // values with commas in them, each set by itself
	mapFlag   = "stringToString"
)

func fromNode(flags *pflag.FlagSet, f *pflag.Flag, value *yaml.Node) error {
	changed := f.Changed // given by flag or environment: judged all the same
	if value.Kind == yaml.SequenceNode && f.Value.Type() == arrayFlag {
		for _, item := range value.Content {
			if item.Kind != yaml.ScalarNode {
				return errors.New("want a list of plain values")
			}
			if err := apply(flags, f, item.Value, changed); err != nil {
				return err
			}
		}
		return nil
	}
	text, err := plain(value, f.Value.Type())
	if err != nil || text == "" {
		return err
	}
	return apply(flags, f, text, changed)
}

func apply(flags *pflag.FlagSet, f *pflag.Flag, text string, changed bool) error {
	if changed {
		return nil
	}
	return set(flags, f, text)
}

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
	case kind == listFlag || kind == arrayFlag:
		return "", errors.New("want a plain value or a list of them")
	case kind == mapFlag:
		return "", errors.New("want a mapping, such as {room: attic}")
	default:
		return "", errors.New("want one plain value")
	}
	if kind == mapFlag && len(items) == 1 {
		items = append(items, items[0]) // pflag takes a line with one `=` as it is: a quote in it would be lost
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

// YAML renders the settings that were given, as FromYAML reads them.
func YAML(flags *pflag.FlagSet) ([]byte, error) {
	var doc yaml.Node
	doc.Kind = yaml.MappingNode
	var failed error
	flags.VisitAll(func(f *pflag.Flag) {
		if !f.Changed || notKeys[f.Name] {
			return
		}
		var value yaml.Node
		var err error
		switch v := f.Value.(type) {
		case pflag.SliceValue:
			err = value.Encode(v.GetSlice())
		default:
			if f.Value.Type() == mapFlag {
				pairs, mapErr := flags.GetStringToString(f.Name)
				err = errors.Join(mapErr, value.Encode(pairs))
			} else {
				value.SetString(f.Value.String())
			}
		}
		failed = errors.Join(failed, err)
		var key yaml.Node
		key.SetString(f.Name)
		doc.Content = append(doc.Content, &key, &value)
	})
	if failed != nil || len(doc.Content) == 0 {
		return nil, failed
	}
	return yaml.Marshal(&doc)
}
