package main

import (
	"fmt"
	"slices"
	"strings"
)

// filter is --filter key=value: values of one key are alternatives, keys must
// all match. It implements pflag.Value.
type filter struct {
	keys   []string
	wanted map[string][]string
}

// newFilter makes a flag that knows some keys.
func newFilter(keys ...string) *filter { return &filter{keys: keys, wanted: map[string][]string{}} }

// Set implements pflag.Value.
func (f *filter) Set(s string) error {
	key, value, ok := strings.Cut(s, "=")
	if !ok || !slices.Contains(f.keys, key) {
		return fmt.Errorf("it is not a filter here: write KEY=VALUE, where KEY is one of %s", strings.Join(f.keys, ", "))
	}
	f.wanted[key] = append(f.wanted[key], value)
	return nil
}

// String implements pflag.Value.
func (f *filter) String() string { return "" }

// Type implements pflag.Value.
func (f *filter) Type() string { return "filter" }

func (f *filter) usage() string { return "show only what matches, by " + strings.Join(f.keys, ", ") }

// is reports whether a wanted value of key equals one of those a thing has.
func (f *filter) is(key string, has ...string) bool {
	return f.match(key, func(want string) bool { return slices.Contains(has, want) })
}

// begins is the same for the beginning of a value, as Docker's names and IDs.
func (f *filter) begins(key string, has ...string) bool {
	return f.match(key, func(want string) bool {
		return slices.ContainsFunc(has, func(h string) bool { return strings.HasPrefix(h, want) })
	})
}

// labelled is the same for labels: "key" or "key=value".
func (f *filter) labelled(key string, labels map[string]string) bool {
	return f.match(key, func(want string) bool {
		name, value, valued := strings.Cut(want, "=")
		has, ok := labels[name]
		return ok && (!valued || has == value)
	})
}

func (f *filter) match(key string, ok func(want string) bool) bool {
	wanted := f.wanted[key]
	return len(wanted) == 0 || slices.ContainsFunc(wanted, ok)
}
