package flagvalue

import (
	"errors"
	"fmt"
	"math"
	"math/big"
	"path"
	"strconv"
	"strings"
	"time"

	"github.com/edgeswarm/edgeswarm/api"
)

// Count reads a whole number of 0 or more.
func Count(s string) (uint64, error) {
	n, err := strconv.ParseUint(s, 10, 32)
	switch {
	case err == nil:
		return n, nil
	case strings.HasPrefix(s, "-"):
		return 0, errors.New("it can't be below 0: give 0 or more")
	case errors.Is(err, strconv.ErrRange):
		return 0, fmt.Errorf("it is too large: give at most %d", uint32(math.MaxUint32))
	default:
		return 0, errors.New("it is not a whole number: give one, such as 3")
	}
}

// Duration reads a duration of 0 or more.
func Duration(s string) (time.Duration, error) {
	d, err := time.ParseDuration(s)
	if err != nil {
		return 0, errors.New("it is not a duration: give a number with its unit, such as 10s or 1m30s")
	}
	if d < 0 {
		return 0, errors.New("it can't be below 0: give a duration such as 10s")
	}
	return d, nil
}

// Ratio reads a number of 0 to 1.
func Ratio(s string) (float64, error) {
	f, err := strconv.ParseFloat(s, 64)
	if err != nil || !(f >= 0 && f <= 1) { // refuses NaN too
		return 0, errors.New("it must lie between 0 and 1: 0.2 accepts that one task of five fails")
	}
	return f, nil
}

// CPUs reads an amount of cores as billionths of one.
func CPUs(s string) (int64, error) {
	r, ok := new(big.Rat).SetString(s)
	if !ok || strings.ContainsAny(s, "/eExX_") {
		return 0, errors.New("it is not an amount of cores: give a number such as 0.5 or 2")
	}
	r.Mul(r, big.NewRat(1e9, 1))
	switch {
	case r.Sign() < 0:
		return 0, errors.New("it can't be below 0: give an amount of cores such as 0.5")
	case !r.IsInt() || r.Sign() > 0 && r.Cmp(big.NewRat(1e6, 1)) < 0:
		return 0, errors.New("it is too small or too fine: give at least 0.001 cores")
	case !r.Num().IsInt64():
		return 0, errors.New("no board has so many cores: give a number such as 2")
	}
	return r.Num().Int64(), nil
}

// Bytes reads an amount of memory: a number of bytes, or one with a unit of
// b, k, m, g or t, each 1024 of the one before, also written kb or KiB.
func Bytes(s string) (int64, error) {
	lower := strings.ToLower(strings.TrimSpace(s))
	number := strings.TrimRight(lower, "bikmgt")
	unit := strings.TrimSuffix(strings.TrimSuffix(strings.TrimPrefix(lower, number), "b"), "i")
	shift, known := map[string]int{"": 0, "k": 10, "m": 20, "g": 30, "t": 40}[unit]
	f, err := strconv.ParseFloat(strings.TrimSpace(number), 64)
	switch {
	case err != nil || !known || math.IsNaN(f) || math.IsInf(f, 0):
		return 0, errors.New("it is not an amount of memory: give a number with its unit, such as 64m or 1.5g")
	case f < 0:
		return 0, errors.New("it can't be below 0: give an amount such as 64m")
	case f*float64(int64(1)<<shift) >= math.MaxInt64:
		return 0, errors.New("no board has so much memory: give an amount such as 64m")
	}
	return int64(f * float64(int64(1)<<shift)), nil
}

// minMemory is the least that a container can start in, as in Docker.
const minMemory = 4 << 20

// Memory reads an amount of memory for a task: 0, or at least 4 MiB.
func Memory(s string) (int64, error) {
	n, err := Bytes(s)
	if err == nil && n > 0 && n < minMemory {
		return 0, errors.New("no container can start in so little: give at least 4m, or 0 for no bound")
	}
	return n, err
}

// Choice reads one of a few words.
func Choice[T ~string](words ...T) func(string) (T, error) {
	return func(s string) (T, error) {
		names := make([]string, len(words))
		for i, w := range words {
			if string(w) == s {
				return w, nil
			}
			names[i] = string(w)
		}
		return "", fmt.Errorf("it is not one of the choices: give %s", strings.Join(names[:len(names)-1], ", ")+" or "+names[len(names)-1])
	}
}

// Text reads anything.
func Text(s string) (string, error) { return s, nil }

// AbsPath reads an absolute path inside a task.
func AbsPath(s string) (string, error) {
	if s != "" && !path.IsAbs(s) {
		return "", errors.New("it is not an absolute path: begin it with /")
	}
	return s, nil
}

// maxLabel is the longest DNS label.
const maxLabel = 63

// Label reads a name that can stand in DNS, in lower case as the fleet keeps it.
func Label(s string) (string, error) {
	if s == "" || len(s) > maxLabel || s[0] == '-' || s[len(s)-1] == '-' || strings.IndexFunc(s, notInLabel) >= 0 {
		return "", fmt.Errorf("it is not a DNS label: use 1 to %d of the letters a-z, digits and hyphens, with no hyphen at either end", maxLabel)
	}
	return s, nil
}

func notInLabel(r rune) bool {
	return (r < 'a' || r > 'z') && (r < '0' || r > '9') && r != '-'
}

// Constraint reads a placement constraint into the form that is stored.
func Constraint(s string) (string, error) {
	c, err := api.ParseConstraint(s)
	if err != nil {
		return "", err
	}
	return c.String(), nil
}

// Signal reads a signal's name or number.
func Signal(s string) (string, error) {
	upper := strings.ToUpper(s)
	if n, err := strconv.Atoi(s); err == nil && n > 0 && n < 65 {
		return s, nil
	}
	name := strings.TrimPrefix(upper, "SIG")
	if name == "" || strings.IndexFunc(name, func(r rune) bool {
		return (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '+' && r != '-'
	}) >= 0 || name[0] < 'A' {
		return "", errors.New("it is not a signal: give a name such as SIGTERM")
	}
	return "SIG" + name, nil
}

// Bool reads true or false.
func Bool(s string) (bool, error) {
	b, err := strconv.ParseBool(s)
	if err != nil {
		return false, errors.New("it is neither true nor false: give one of them")
	}
	return b, nil
}

// Hostname reads labels with dots between.
func Hostname(s string) (string, error) {
	for label := range strings.SplitSeq(s, ".") {
		if _, err := Label(label); err != nil || len(s) > maxHostname {
			return "", fmt.Errorf("it is not a hostname: use DNS labels with dots between, at most %d characters", maxHostname)
		}
	}
	return s, nil
}

// maxHostname is what Linux takes as a hostname.
const maxHostname = 64
