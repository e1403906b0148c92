package flagvalue

import "fmt"

// Opt is a flag that tells "not given" from every value. It implements
// pflag.Value, and may be registered under two names that are one flag: a
// second, different value is refused.
type Opt[T comparable] struct {
	// Value is nil until the flag is given.
	Value *T

	parse func(string) (T, error)
	kind  string
	given string
}

// New makes a flag; kind names its value in the help.
func New[T comparable](parse func(string) (T, error), kind string) *Opt[T] {
	return &Opt[T]{parse: parse, kind: kind}
}

// Set implements pflag.Value.
func (o *Opt[T]) Set(s string) error {
	v, err := o.parse(s)
	if err != nil {
		return err
	}
	if o.Value != nil && *o.Value != v {
		return fmt.Errorf("it was already given as %s, and both mean the same setting: give one value", o.given)
	}
	o.Value, o.given = &v, s
	return nil
}

// String implements pflag.Value: as it was given.
func (o *Opt[T]) String() string { return o.given }

// Type implements pflag.Value.
func (o *Opt[T]) Type() string { return o.kind }

// Or returns the value, or def when the flag was not given.
func (o *Opt[T]) Or(def T) T {
	if o.Value == nil {
		return def
	}
	return *o.Value
}

// List is a flag that may be given many times. It implements pflag.Value.
type List[T any] struct {
	Values []T

	parse func(string) (T, error)
	kind  string
}

// NewList makes a repeatable flag.
func NewList[T any](parse func(string) (T, error), kind string) *List[T] {
	return &List[T]{parse: parse, kind: kind}
}

// Set implements pflag.Value.
func (l *List[T]) Set(s string) error {
	v, err := l.parse(s)
	if err != nil {
		return err
	}
	l.Values = append(l.Values, v)
	return nil
}

// String implements pflag.Value; a list has no default to show.
func (l *List[T]) String() string { return "" }

// Type implements pflag.Value.
func (l *List[T]) Type() string { return l.kind }
