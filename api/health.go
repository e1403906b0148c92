package api

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Docker's defaults of a health check.
const (
	DefaultHealthInterval      = 30 * time.Second
	DefaultHealthTimeout       = 30 * time.Second
	DefaultHealthStartInterval = 5 * time.Second
	DefaultHealthRetries       = 3
)

// minHealthTime is the least that a time of a check may be, as in Docker.
const minHealthTime = time.Millisecond

// HealthConfig is how a task proves that it serves. A field of 0 is what the
// image says, and where that says nothing, Docker's default.
type HealthConfig struct {
	// Test is one of
	//
	//	{}                       what the image says
	//	{"NONE"}                 no check, whatever the image says
	//	{"CMD", name, arg, …}    a command in the task: 0 is healthy
	//	{"CMD-SHELL", line}      the same, by the task's shell
	//	{"HTTP", ":8080/path"}   a GET of the task's port: 200 to 399 is healthy
	//	{"TCP", "8080"}          a connection to the task's port
	//
	// The last two are not Docker's; they need no program in the image.
	Test []string `json:",omitempty"`
	// Interval is the pause between the end of a probe and the next.
	Interval time.Duration `json:",omitempty"`
	// Timeout is how long a probe may take; one that takes longer has failed.
	Timeout time.Duration `json:",omitempty"`
	// Retries is how many probes in a row must fail for the task to be unhealthy.
	Retries int `json:",omitempty"`
	// StartPeriod is how long after its start a task's failing probes don't
	// count, until the first that succeeds; 0 is no such time.
	StartPeriod time.Duration `json:",omitempty"`
	// StartInterval is the Interval within the StartPeriod.
	StartInterval time.Duration `json:",omitempty"`
}

// Kinds of a health check: the first word of its Test.
const (
	HealthNone     = "NONE"
	HealthCommand  = "CMD"
	HealthShell    = "CMD-SHELL"
	HealthHTTP     = "HTTP"
	HealthTCP      = "TCP"
	healthTestForm = `it is {"NONE"}, {"CMD", command…}, {"CMD-SHELL", line}, {"HTTP", ":port/path"} or {"TCP", "port"}`
)

// Over returns the check with what h leaves open taken from the image's, which
// may be nil, and then from the defaults; h may be nil too. It returns nil if
// there is nothing to check.
func (h *HealthConfig) Over(image *HealthConfig) *HealthConfig {
	var full HealthConfig
	if h != nil {
		full = *h
	}
	if image == nil {
		image = &HealthConfig{}
	}
	if len(full.Test) == 0 {
		full.Test = image.Test
	}
	if len(full.Test) == 0 || full.Test[0] == HealthNone {
		return nil
	}
	full.Test = slices.Clone(full.Test)
	firstSet(&full.Interval, image.Interval, DefaultHealthInterval)
	firstSet(&full.Timeout, image.Timeout, DefaultHealthTimeout)
	firstSet(&full.Retries, image.Retries, DefaultHealthRetries)
	firstSet(&full.StartPeriod, image.StartPeriod, 0)
	firstSet(&full.StartInterval, image.StartInterval, DefaultHealthStartInterval)
	return &full
}

// firstSet sets a field that is 0 to the first of the values that is not.
func firstSet[T comparable](field *T, values ...T) {
	var zero T
	for _, v := range values {
		if *field == zero {
			*field = v
		}
	}
}

// CheckTest reports what is wrong with the Test.
func (h *HealthConfig) CheckTest() error {
	if len(h.Test) == 0 {
		return nil
	}
	operands := h.Test[1:]
	switch kind := h.Test[0]; {
	case kind == HealthNone && len(operands) == 0:
	case kind == HealthCommand && len(operands) > 0 && operands[0] != "":
	case kind == HealthShell && len(operands) == 1 && operands[0] != "":
	case kind == HealthHTTP && len(operands) == 1:
		_, _, err := ParseHealthHTTP(operands[0])
		return err
	case kind == HealthTCP && len(operands) == 1:
		_, err := ParseHealthTCP(operands[0])
		return err
	default:
		return fmt.Errorf("%q is no health check: %s", h.Test, healthTestForm)
	}
	for _, word := range operands {
		if strings.ContainsRune(word, 0) {
			return fmt.Errorf("%q holds a zero byte", word)
		}
	}
	return nil
}

// ParseHealthHTTP reads ":8080/path", "8080/path" or ":8080" as a port of the
// task and a path with, it may be, a query.
func ParseHealthHTTP(s string) (port uint16, path string, err error) {
	number, rest := s, "/"
	if i := strings.IndexByte(s, '/'); i >= 0 {
		number, rest = s[:i], s[i:]
	}
	port, err = ParseHealthTCP(number)
	if err != nil {
		return 0, "", fmt.Errorf("%q is not of the form :PORT/PATH, such as :8080/health", s)
	}
	if strings.ContainsFunc(rest, func(r rune) bool { return r <= ' ' || r == 0x7f || r == '#' }) {
		return 0, "", fmt.Errorf("path %q has a space, a control character or '#' in it", rest)
	}
	return port, rest, nil
}

// ParseHealthTCP reads "8080" or ":8080" as a port of the task.
func ParseHealthTCP(s string) (uint16, error) {
	n, err := strconv.ParseUint(strings.TrimPrefix(s, ":"), 10, 16)
	if err != nil || n == 0 {
		return 0, fmt.Errorf("%q is not a port between 1 and 65535", s)
	}
	return uint16(n), nil
}

func (c *check) health(at string, h *HealthConfig) {
	if h == nil {
		return
	}
	c.is(at+"Test", h.CheckTest())
	for _, t := range []struct {
		field string
		d     time.Duration
	}{{"Interval", h.Interval}, {"Timeout", h.Timeout}, {"StartPeriod", h.StartPeriod}, {"StartInterval", h.StartInterval}} {
		c.that(t.d == 0 || t.d >= minHealthTime, at+t.field, "%v is shorter than %v", t.d, minHealthTime)
	}
	c.that(h.Retries >= 0, at+"Retries", "%d is below 0", h.Retries)
	if len(h.Test) > 0 && h.Test[0] == HealthNone {
		c.that(h.Interval == 0 && h.Timeout == 0 && h.Retries == 0 && h.StartPeriod == 0 && h.StartInterval == 0,
			at+"Test", "there is nothing to time where there is no check: leave the check's other settings out")
	}
}

// HealthPatch changes a HealthConfig: what is nil is unchanged, 0 and an empty
// Test go back to what the image says.
type HealthPatch struct {
	Test          *[]string      `json:",omitempty"`
	Interval      *time.Duration `json:",omitempty"`
	Timeout       *time.Duration `json:",omitempty"`
	Retries       *int           `json:",omitempty"`
	StartPeriod   *time.Duration `json:",omitempty"`
	StartInterval *time.Duration `json:",omitempty"`
}

// mergeHealth returns the check as patched. Turning the check off forgets how
// it was timed; timing one that is off turns the image's on, as in Docker.
func mergeHealth(h *HealthConfig, patch *HealthPatch) (*HealthConfig, error) {
	if patch == nil {
		return h, nil
	}
	timed := patch.Interval != nil || patch.Timeout != nil || patch.Retries != nil || patch.StartPeriod != nil || patch.StartInterval != nil
	if patch.Test != nil && len(*patch.Test) > 0 && (*patch.Test)[0] == HealthNone {
		if timed {
			return nil, invalid("Health", errors.New("a check that is turned off can't be timed: leave one of the two out"))
		}
		return &HealthConfig{Test: []string{HealthNone}}, nil
	}
	var full HealthConfig
	if h != nil {
		full = *h
	}
	if len(full.Test) > 0 && full.Test[0] == HealthNone {
		full.Test = nil
	}
	set(&full.Test, patch.Test)
	set(&full.Interval, patch.Interval)
	set(&full.Timeout, patch.Timeout)
	set(&full.Retries, patch.Retries)
	set(&full.StartPeriod, patch.StartPeriod)
	set(&full.StartInterval, patch.StartInterval)
	if len(full.Test) == 0 && full.Interval == 0 && full.Timeout == 0 && full.Retries == 0 && full.StartPeriod == 0 && full.StartInterval == 0 {
		return nil, nil
	}
	return &full, nil
}
