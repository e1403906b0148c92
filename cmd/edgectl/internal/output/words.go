package output

import (
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// Span says a duration as Docker does: one unit, rounded down.
func Span(d time.Duration) string {
	plural := func(n int64, unit string) string {
		if n == 1 {
			if unit == "hour" {
				return "About an hour"
			}
			if unit == "minute" {
				return "About a minute"
			}
			return "1 " + unit
		}
		return strconv.FormatInt(n, 10) + " " + unit + "s"
	}
	switch s, m, h := int64(d.Seconds()), int64(d.Minutes()), int64(d.Hours()); {
	case s < 1:
		return "Less than a second"
	case s < 60:
		return plural(s, "second")
	case m < 60:
		return plural(m, "minute")
	case h < 48:
		return plural(h, "hour")
	case h < 24*7*2:
		return plural(h/24, "day")
	case h < 24*60:
		return plural(h/24/7, "week")
	case h < 24*365*2:
		return plural(h/24/30, "month")
	default:
		return plural(h/24/365, "year")
	}
}

// Ago says how long ago a time was; "" for none. A time that a fast clock put
// into the future was just now.
func Ago(now, t time.Time) string {
	if t.IsZero() {
		return ""
	}
	s := Span(max(now.Sub(t), 0))
	return strings.ToLower(s[:1]) + s[1:] + " ago"
}

// Bytes says an amount of memory or disk.
func Bytes(n int64) string {
	units := []string{"B", "KiB", "MiB", "GiB", "TiB"}
	f, i := float64(n), 0
	for f >= 1024 && i < len(units)-1 {
		f, i = f/1024, i+1
	}
	return fmt.Sprintf("%.4g %s", f, units[i])
}

// CPUs says an amount of cores given in billionths.
func CPUs(nano int64) string { return strconv.FormatFloat(float64(nano)/1e9, 'f', -1, 64) }

// Title begins a word with a capital.
func Title(s string) string {
	if s == "" {
		return ""
	}
	return strings.ToUpper(s[:1]) + s[1:]
}

// Ellipsis cuts a text to n characters, the last of which then is "…".
func Ellipsis(s string, n int) string {
	if utf8.RuneCountInString(s) <= n {
		return s
	}
	return string([]rune(s)[:n-1]) + "…"
}

// Safe replaces control characters, so that a text from a node can't steer the
// terminal it is printed on.
func Safe(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r >= 0x80 && r < 0xa0 {
			return ' '
		}
		return r
	}, s)
}
