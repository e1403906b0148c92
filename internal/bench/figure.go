package bench

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strconv"
)

// Figure is something that was measured, several times where it varies.
type Figure struct {
	Name   string
	Unit   string
	Values []float64
	// Limit is the most that is allowed; 0 allows nothing for a Figure that is
	// Bounded, and otherwise there is none.
	Limit   float64
	Bounded bool
	// Worst has the greatest value judged, else the median is.
	Worst bool
	// Strict wants less than Limit; else Limit itself is allowed.
	Strict bool
	// Command repeats it.
	Command string
}

// Median is the middle of the values, the mean of both middle ones where their
// number is even; 0 of none.
func (f Figure) Median() float64 {
	if len(f.Values) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(f.Values))
	middle := len(sorted) / 2
	if len(sorted)%2 == 1 {
		return sorted[middle]
	}
	return (sorted[middle-1] + sorted[middle]) / 2
}

// Judged is the value that the limit is for.
func (f Figure) Judged() float64 {
	if f.Worst && len(f.Values) > 0 {
		return slices.Max(f.Values)
	}
	return f.Median()
}

// OK reports whether the figure keeps its limit. One without values keeps none.
func (f Figure) OK() bool {
	switch {
	case !f.Bounded:
		return true
	case len(f.Values) == 0:
		return false
	case f.Strict:
		return f.Judged() < f.Limit
	default:
		return f.Judged() <= f.Limit
	}
}

// String is the figure in one line, for a failure.
func (f Figure) String() string {
	return fmt.Sprintf("%s: %s %s (all: %s; limit %s)", f.Name, number(f.Judged()), f.Unit, f.all(), f.limit())
}

func (f Figure) all() string {
	out := ""
	for i, v := range f.Values {
		if i > 0 {
			out += ", "
		}
		out += number(v)
	}
	return out
}

func (f Figure) limit() string {
	switch {
	case !f.Bounded:
		return "–"
	case f.Strict:
		return "< " + number(f.Limit)
	default:
		return "≤ " + number(f.Limit)
	}
}

func (f Figure) verdict() string {
	switch {
	case !f.Bounded:
		return ""
	case f.OK():
		return "met"
	default:
		return "**missed**"
	}
}

// number prints three digits or so: no clock here is better.
func number(v float64) string {
	switch {
	case v == float64(int64(v)):
		return strconv.FormatInt(int64(v), 10)
	case cmp.Compare(v, 100) >= 0:
		return strconv.FormatFloat(v, 'f', 0, 64)
	case v >= 10:
		return strconv.FormatFloat(v, 'f', 1, 64)
	default:
		return strconv.FormatFloat(v, 'f', 2, 64)
	}
}

// Table writes figures as rows of a Markdown table, and reports whether all
// keep their limits.
func Table(w io.Writer, figures []Figure) (ok bool, err error) {
	ok = true
	if _, err := fmt.Fprintln(w, "| Figure | Unit | Median | Least – most | Runs | Limit | Verdict | Repeat with |\n|---|---|---|---|---|---|---|---|"); err != nil {
		return false, err
	}
	for _, f := range figures {
		ok = ok && f.OK()
		spread := "–"
		if len(f.Values) > 0 {
			spread = number(slices.Min(f.Values)) + " – " + number(slices.Max(f.Values))
		}
		limit := f.limit()
		if f.Worst && f.Bounded {
			limit += " (worst)"
		}
		if _, err := fmt.Fprintf(w, "| %s | %s | %s | %s | %d | %s | %s | `%s` |\n",
			f.Name, f.Unit, number(f.Median()), spread, len(f.Values), limit, f.verdict(), f.Command); err != nil {
			return false, err
		}
	}
	return ok, nil
}
