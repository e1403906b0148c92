package api

import (
	"fmt"
	"iter"
	"slices"
	"strconv"
	"strings"
)

// GenericResource is something that boards have and the fleet knows nothing of
// but its kind: its operator says what a board has of it, services ask for an
// amount, and each task is given its own. One of the two is set, as in Docker.
type GenericResource struct {
	// NamedResourceSpec is one of a kind that goes by name, such as the GPU with a
	// certain UUID: no two tasks have it at once.
	NamedResourceSpec *NamedGenericResource `json:",omitempty"`
	// DiscreteResourceSpec is an amount of what is all the same.
	DiscreteResourceSpec *DiscreteGenericResource `json:",omitempty"`
}

// NamedGenericResource is one thing by its name.
type NamedGenericResource struct{ Kind, Value string }

// DiscreteGenericResource is an amount of a kind.
type DiscreteGenericResource struct {
	Kind  string
	Value int64 // from 1
}

// Bounds on generic resources: a kind's and a name's length in bytes, how much
// there may be of a kind, and the size of all that a board has, in bytes.
const (
	maxGenericWord   = 128
	maxGenericAmount = 1 << 30
	maxGenericSize   = 8 << 10
)

// Kind is what it is one or several of; "" if the resource is neither.
func (r GenericResource) Kind() string {
	switch {
	case r.NamedResourceSpec != nil:
		return r.NamedResourceSpec.Kind
	case r.DiscreteResourceSpec != nil:
		return r.DiscreteResourceSpec.Kind
	default:
		return ""
	}
}

// Amount is how much it is: 1 of what goes by name.
func (r GenericResource) Amount() int64 {
	switch {
	case r.NamedResourceSpec != nil:
		return 1
	case r.DiscreteResourceSpec != nil:
		return r.DiscreteResourceSpec.Value
	default:
		return 0
	}
}

func (r GenericResource) value() string {
	if r.NamedResourceSpec != nil {
		return r.NamedResourceSpec.Value
	}
	return strconv.FormatInt(r.Amount(), 10)
}

// String renders it as it is written: "gpu=UUID1", "ssd=3".
func (r GenericResource) String() string { return r.Kind() + "=" + r.value() }

func (r GenericResource) equal(o GenericResource) bool {
	return (r.NamedResourceSpec == nil) == (o.NamedResourceSpec == nil) && r.String() == o.String()
}

// GenericText renders a list of them for people.
func GenericText(list []GenericResource) string {
	words := make([]string, len(list))
	for i, r := range list {
		words[i] = r.String()
	}
	return strings.Join(words, ", ")
}

// GenericAmount is how much there is of a kind in a list.
func GenericAmount(list []GenericResource, kind string) int64 {
	var n int64
	for r := range ofKind(list, kind) {
		n += r.Amount()
	}
	return n
}

// GenericNames are the names of a kind in a list, in its order; none of a kind
// that is an amount.
func GenericNames(list []GenericResource, kind string) (names []string) {
	for r := range ofKind(list, kind) {
		if r.NamedResourceSpec != nil {
			names = append(names, r.NamedResourceSpec.Value)
		}
	}
	return names
}

func ofKind(list []GenericResource, kind string) iter.Seq[GenericResource] {
	return func(yield func(GenericResource) bool) {
		for _, r := range list {
			if r.Kind() == kind && !yield(r) {
				return
			}
		}
	}
}

// GenericEnv are the variables by which a task learns what it was given, one for
// each kind, as in Swarm: DOCKER_RESOURCE_GPU=UUID1,UUID2.
func GenericEnv(given []GenericResource) []string {
	var env []string
	for _, r := range given {
		name := genericVariable(r.Kind())
		at := slices.IndexFunc(env, func(v string) bool { return strings.HasPrefix(v, name+"=") })
		if at < 0 {
			env = append(env, name+"="+r.value())
		} else {
			env[at] += "," + r.value()
		}
	}
	return env
}

func genericVariable(kind string) string { return "DOCKER_RESOURCE_" + strings.ToUpper(kind) }

// ParseGenericResources reads what a board has: "gpu=UUID1" and "gpu=UUID2", or
// "ssd=3". As in Docker, one number is an amount, and all else are names.
func ParseGenericResources(list []string) ([]GenericResource, error) {
	values, size := map[string][]string{}, 0
	var kinds []string
	for _, text := range list {
		kind, value, err := cutGeneric(text)
		if err != nil {
			return nil, err
		}
		if slices.Contains(values[kind], value) {
			return nil, fmt.Errorf("%q is given twice", text)
		}
		if values[kind] == nil {
			kinds = append(kinds, kind)
		}
		values[kind] = append(values[kind], value)
		size += len(text)
	}
	if size > maxGenericSize {
		return nil, fmt.Errorf("%d bytes of generic resources are more than the %d that a board may have", size, maxGenericSize)
	}
	if a, b, clash := sameVariable(kinds); clash {
		return nil, fmt.Errorf("%q and %q would be one variable, %s: use one spelling", a, b, genericVariable(a))
	}
	var all []GenericResource
	for _, kind := range kinds {
		of, err := genericOf(kind, values[kind])
		if err != nil {
			return nil, err
		}
		all = append(all, of...)
	}
	return all, nil
}

// genericOf is what a board has of one kind.
func genericOf(kind string, values []string) (list []GenericResource, err error) {
	for _, value := range values {
		if _, err := strconv.ParseInt(value, 10, 64); err != nil {
			list = append(list, GenericResource{NamedResourceSpec: &NamedGenericResource{Kind: kind, Value: value}})
			continue
		}
		if len(values) > 1 {
			return nil, fmt.Errorf("%s=%s is an amount, but there are other values of %s: give one amount, or names that are no numbers", kind, value, kind)
		}
		amount, err := genericAmount(value)
		if err != nil {
			return nil, fmt.Errorf("%s=%s: %w", kind, value, err)
		}
		list = append(list, GenericResource{DiscreteResourceSpec: &DiscreteGenericResource{Kind: kind, Value: amount}})
	}
	return list, nil
}

// ParseGenericRequest reads what a service asks for: "gpu=2". Names can't be
// asked for: which ones a task is given is the scheduler's to choose.
func ParseGenericRequest(text string) (GenericResource, error) {
	kind, value, err := cutGeneric(text)
	if err != nil {
		return GenericResource{}, err
	}
	amount, err := genericAmount(value)
	if err != nil {
		return GenericResource{}, fmt.Errorf("%q: %w", text, err)
	}
	return GenericResource{DiscreteResourceSpec: &DiscreteGenericResource{Kind: kind, Value: amount}}, nil
}

func genericAmount(value string) (int64, error) {
	n, err := strconv.ParseInt(value, 10, 64)
	if err != nil || n < 1 || n > maxGenericAmount {
		return 0, fmt.Errorf("%q is not an amount from 1 to %d", value, maxGenericAmount)
	}
	return n, nil
}

func cutGeneric(text string) (kind, value string, err error) {
	kind, value, found := strings.Cut(text, "=")
	kind, value = strings.TrimSpace(kind), strings.TrimSpace(value)
	if !found || value == "" {
		return "", "", fmt.Errorf("%q is not of the form NAME=value, such as gpu=2", text)
	}
	if err := checkKind(kind); err != nil {
		return "", "", err
	}
	if len(value) > maxGenericWord || strings.ContainsFunc(value, func(r rune) bool { return r <= ' ' || r == ',' || r == '=' || r == 0x7f }) {
		return "", "", fmt.Errorf("value %q of %s: it has up to %d characters, and no space, comma or '='", value, kind, maxGenericWord)
	}
	return kind, value, nil
}

// checkKind accepts what can be part of a variable's name in Docker's way.
func checkKind(kind string) error {
	if kind == "" || len(kind) > maxGenericWord || strings.ContainsFunc(kind, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '_' && r != '-' && r != '.'
	}) {
		return fmt.Errorf("%q is not a generic resource's name: use letters, digits, '_', '-' and '.'", kind)
	}
	return nil
}

// sameVariable finds two kinds that a task could not tell apart.
func sameVariable(kinds []string) (a, b string, found bool) {
	for i, a := range kinds {
		for _, b := range kinds[:i] {
			if strings.EqualFold(a, b) {
				return b, a, true
			}
		}
	}
	return "", "", false
}

// HasGeneric reports whether the board has as much of generic resources as a task
// of the spec asks for, whoever holds it now.
func (d NodeDescription) HasGeneric(spec TaskSpec) bool {
	if spec.Resources == nil || spec.Resources.Reservations == nil {
		return true
	}
	for _, r := range spec.Resources.Reservations.GenericResources {
		if GenericAmount(d.Resources.GenericResources, r.Kind()) < r.Amount() {
			return false
		}
	}
	return true
}

// generic checks what a service asks for.
func (c *check) generic(field string, list []GenericResource) {
	var kinds []string
	for _, r := range list {
		c.that(r.DiscreteResourceSpec != nil && r.NamedResourceSpec == nil, field, "%s: ask for an amount, such as gpu=2; which of those that have names a task is given is chosen for it", r)
		c.is(field, checkKind(r.Kind()))
		c.that(!slices.Contains(kinds, r.Kind()), field, "%s is asked for twice", r.Kind())
		c.that(r.Amount() >= 1 && r.Amount() <= maxGenericAmount, field, "%s: the amount is not between 1 and %d", r, maxGenericAmount)
		kinds = append(kinds, r.Kind())
	}
	a, b, clash := sameVariable(kinds)
	c.that(!clash, field, "%q and %q are asked for, which are one variable, %s", a, b, genericVariable(a))
}

// Equal reports whether two amounts are the same.
func (r Resources) Equal(o Resources) bool {
	return r.NanoCPUs == o.NanoCPUs && r.MemoryBytes == o.MemoryBytes && r.Pids == o.Pids &&
		slices.EqualFunc(r.GenericResources, o.GenericResources, GenericResource.equal)
}

func mergeGeneric(t *TaskSpec, patch ServicePatch) {
	if len(patch.GenericResourceAdd) == 0 && len(patch.GenericResourceRemove) == 0 {
		return
	}
	if t.Resources == nil {
		t.Resources = &ResourceRequirements{}
	}
	var kept Resources
	if r := t.Resources.Reservations; r != nil {
		kept = *r
	}
	kept.GenericResources = mergeList(kept.GenericResources, patch.GenericResourceAdd, patch.GenericResourceRemove, GenericResource.Kind, same)
	t.Resources.Reservations = kept.orNil()
}

// orNil is nil if nothing is asked for.
func (r Resources) orNil() *Resources {
	if r.Equal(Resources{}) {
		return nil
	}
	return &r
}
