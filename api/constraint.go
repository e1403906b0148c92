package api

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Constraint is one condition on the nodes that a task may run on, in Swarm's
// words: "node.labels.zone==attic", "node.role!=manager".
type Constraint struct {
	// Key is node.id, node.hostname, node.role, node.platform.os,
	// node.platform.arch, what a board reports of itself (node.model,
	// node.memory, node.device), or node.labels. and a label's name.
	Key   string
	Not   bool // != instead of ==
	Value string
}

// nodeLabels is what keys of labels begin with.
const nodeLabels = "node.labels."

// constraintKeys yield, for each key that is not a label, what a node answers
// to: any of the values makes a match.
var constraintKeys = map[string]func(*Node) []string{
	"node.id":            func(n *Node) []string { return []string{string(n.ID)} },
	"node.hostname":      func(n *Node) []string { return []string{n.Description.Hostname, n.Spec.Name} },
	"node.role":          func(n *Node) []string { return []string{string(n.role())} },
	"node.platform.os":   func(n *Node) []string { return []string{n.Description.Platform.Normal().OS} },
	"node.platform.arch": func(n *Node) []string { return []string{n.Description.Platform.Normal().Architecture} },
	"node.model":         func(n *Node) []string { return n.Description.models() },
	"node.memory":        func(n *Node) []string { return []string{strconv.FormatInt(n.Description.memorySize(), 10)} },
	"node.device":        func(n *Node) []string { return n.Description.deviceNames() },
}

// role is a node's role as Swarm knows it. One that the operator left to the
// fleet is a manager while it votes, so far as the reader was told.
func (n *Node) role() NodeRole {
	if n.Spec.Role == RoleManager || n.Spec.Role != RoleWorker && n.ManagerStatus != nil && n.ManagerStatus.Voter {
		return RoleManager
	}
	return RoleWorker
}

// ParseConstraint reads "key==value" or "key!=value". Its error says what is
// wrong with it and what is known.
func ParseConstraint(s string) (Constraint, error) {
	at := strings.Index(s, "==")
	if not := strings.Index(s, "!="); at < 0 || not >= 0 && not < at {
		at = not
	}
	if at < 0 {
		return Constraint{}, fmt.Errorf("constraint %q has neither == nor !=: write it as node.labels.zone==attic", s)
	}
	c := Constraint{Key: strings.TrimSpace(s[:at]), Not: s[at] == '!', Value: strings.TrimSpace(s[at+2:])}
	if label, ok := strings.CutPrefix(c.Key, nodeLabels); ok {
		if label == "" || strings.ContainsAny(label, " \t\n=!") {
			return Constraint{}, fmt.Errorf("constraint %q names no label: write it as node.labels.zone==attic", s)
		}
	} else if _, known := constraintKeys[c.Key]; !known {
		return Constraint{}, fmt.Errorf("constraint %q has an unknown key %q: known are node.id, node.hostname, node.role, node.platform.os, node.platform.arch, node.model, node.memory, node.device and node.labels.NAME", s, c.Key)
	}
	if c.Value == "" || strings.ContainsAny(c.Value, "=\n") {
		return Constraint{}, fmt.Errorf("constraint %q has no value that could match: write it as node.labels.zone==attic", s)
	}
	if err := c.possible(); err != nil {
		return Constraint{}, fmt.Errorf("constraint %q: %w", s, err)
	}
	return c, nil
}

// possible reports a value that no node can have.
func (c Constraint) possible() error {
	switch c.Key {
	case "node.memory":
		_, err := parseMemory(c.Value)
		return err
	case "node.role":
		if r := strings.ToLower(c.Value); r != "manager" && r != "worker" {
			return fmt.Errorf("%q is not a node's role: write manager or worker", c.Value)
		}
	case "node.device":
		if !strings.HasPrefix(c.Value, "/dev/") && !slices.Contains(DeviceClasses(), strings.ToLower(c.Value)) {
			return fmt.Errorf("%q is no device: write /dev/NAME, or one of %s", c.Value, strings.Join(DeviceClasses(), ", "))
		}
	}
	return nil
}

// String renders the constraint in the one form that is stored. One that could
// not be read has its whole text as key (see ParseConstraints).
func (c Constraint) String() string {
	if c.Value == "" {
		return c.Key
	}
	if c.Not {
		return c.Key + "!=" + c.Value
	}
	return c.Key + "==" + c.Value
}

// Match reports whether the node satisfies the constraint. As in Swarm, values
// are compared without regard to case, and a label that a node does not have
// differs from every value.
func (c Constraint) Match(n *Node) bool { return c.holds(n) != c.Not }

func (c Constraint) holds(n *Node) bool {
	if c.Value == "" {
		return false
	}
	if label, ok := strings.CutPrefix(c.Key, nodeLabels); ok {
		value, has := n.Spec.Labels[label]
		return has && strings.EqualFold(value, c.Value)
	}
	values, known := constraintKeys[c.Key]
	if !known {
		return false
	}
	want := c.Value
	switch c.Key {
	case "node.platform.arch":
		want = Platform{Architecture: want}.Normal().Architecture
	case "node.memory":
		if size, err := parseMemory(want); err == nil {
			want = strconv.FormatInt(size, 10)
		}
	}
	for _, value := range values(n) {
		if value != "" && strings.EqualFold(value, want) {
			return true
		}
	}
	return false
}

// Constraints are conditions that must all hold.
type Constraints []Constraint

// ParseConstraints reads a placement's constraints. One that can't be read
// comes back as an error, and as a condition that no node satisfies.
func ParseConstraints(list []string) (Constraints, error) {
	var first error
	all := make(Constraints, len(list))
	for i, s := range list {
		c, err := ParseConstraint(s)
		if err != nil {
			first = cmp.Or(first, err)
			c = Constraint{Key: s} // no node knows it
		}
		all[i] = c
	}
	return all, first
}

// Match reports whether the node satisfies all constraints.
func (all Constraints) Match(n *Node) bool {
	_, unmet := all.Unmet(n)
	return !unmet
}

// Unmet names the first constraint that the node does not satisfy.
func (all Constraints) Unmet(n *Node) (Constraint, bool) {
	for _, c := range all {
		if !c.Match(n) {
			return c, true
		}
	}
	return Constraint{}, false
}
