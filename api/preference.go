package api

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// PlacementPreference orders the nodes that fit; it rules none out. The first
// of several counts most.
type PlacementPreference struct {
	Spread *SpreadOver `json:",omitempty"`
}

// SpreadOver spreads a service's tasks evenly over the values of something that
// nodes have. Nodes without it are one value of their own.
type SpreadOver struct {
	// SpreadDescriptor is a constraint's key, such as "node.labels.zone".
	SpreadDescriptor string
}

// ParsePreference reads "spread=node.labels.zone".
func ParsePreference(s string) (PlacementPreference, error) {
	strategy, over, found := strings.Cut(s, "=")
	if strategy = strings.TrimSpace(strategy); !found || strategy != "spread" {
		return PlacementPreference{}, fmt.Errorf("placement preference %q is not of the one kind there is: write it as spread=node.labels.zone", s)
	}
	p := PlacementPreference{Spread: &SpreadOver{SpreadDescriptor: strings.TrimSpace(over)}}
	return p, p.check()
}

func (p PlacementPreference) check() error {
	if p.Spread == nil {
		return errors.New("a placement preference that prefers nothing: write it as spread=node.labels.zone")
	}
	// What a constraint may ask for is what there is to spread over.
	if _, err := ParseConstraint(p.Spread.SpreadDescriptor + "==x"); err != nil {
		return fmt.Errorf("there is no %q to spread over: known are node.labels.NAME and the keys of constraints, such as node.hostname and node.platform.arch", p.Spread.SpreadDescriptor)
	}
	return nil
}

func (p PlacementPreference) String() string {
	if p.Spread == nil {
		return ""
	}
	return "spread=" + p.Spread.SpreadDescriptor
}

// Value is what the node has of what tasks are spread over; "" if nothing.
func (s SpreadOver) Value(n *Node) string {
	if label, ok := strings.CutPrefix(s.SpreadDescriptor, nodeLabels); ok {
		return n.Spec.Labels[label]
	}
	if values, known := constraintKeys[s.SpreadDescriptor]; known {
		return values(n)[0]
	}
	return ""
}

func (c *check) preferences(field string, list []PlacementPreference) {
	for i, p := range list {
		c.is(field, p.check())
		c.that(!slices.ContainsFunc(list[:i], p.same), field, "%s is named twice", p)
	}
}

func (p PlacementPreference) same(o PlacementPreference) bool { return p.String() == o.String() }

func mergePreferences(t *TaskSpec, patch ServicePatch) {
	if len(patch.PreferenceAdd) == 0 && len(patch.PreferenceRemove) == 0 {
		return
	}
	if t.Placement == nil {
		t.Placement = &Placement{}
	}
	t.Placement.Preferences = mergeList(t.Placement.Preferences, patch.PreferenceAdd, patch.PreferenceRemove,
		PlacementPreference.String, PlacementPreference.String)
}
