package flagvalue

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"strings"
	"unicode"
)

// Pair is a label: a key and its value.
type Pair struct{ Key, Value string }

// ParsePair reads "key=value", or "key" for an empty value.
func ParsePair(s string) (Pair, error) {
	key, value, _ := strings.Cut(s, "=")
	if key == "" {
		return Pair{}, errors.New("it has no key: write key=value")
	}
	if strings.ContainsFunc(key, unicode.IsSpace) {
		return Pair{}, errors.New("its key has a space in it, which a key can't have: write key=value")
	}
	return Pair{key, value}, nil
}

// Map makes a map of pairs; a later one wins, nil for none.
func Map(pairs []Pair) map[string]string {
	if len(pairs) == 0 {
		return nil
	}
	m := make(map[string]string, len(pairs))
	for _, p := range pairs {
		m[p.Key] = p.Value
	}
	return m
}

// Env reads "NAME=value", or "NAME" for its value in this process, as Docker
// does. A name without a value anywhere gives "".
func Env(s string) (string, error) {
	name, _, has := strings.Cut(s, "=")
	if name == "" {
		return "", errors.New("it has no name: write NAME=value")
	}
	if strings.ContainsFunc(name, unicode.IsSpace) {
		return "", errors.New("its name has a space in it, which a name can't have: write NAME=value")
	}
	if strings.ContainsRune(s, 0) {
		return "", errors.New("it has a NUL character, which no environment can hold")
	}
	if has {
		return s, nil
	}
	value, found := os.LookupEnv(name)
	if !found {
		return "", nil
	}
	return name + "=" + value, nil
}

// EnvFile reads a file of variables, one a line; empty lines and lines that
// begin with # are passed over.
func EnvFile(path string) ([]string, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("--env-file %s: %w", path, errors.Unwrap(err))
	}
	defer f.Close()
	var env []string
	scan := bufio.NewScanner(f)
	for n := 1; scan.Scan(); n++ {
		line := strings.TrimLeftFunc(strings.TrimPrefix(scan.Text(), "\ufeff"), unicode.IsSpace)
		if line == "" || line[0] == '#' {
			continue
		}
		v, err := Env(line)
		if err != nil {
			return nil, fmt.Errorf("--env-file %s: line %d: %w", path, n, err)
		}
		if v != "" {
			env = append(env, v)
		}
	}
	if err := scan.Err(); err != nil {
		return nil, fmt.Errorf("--env-file %s: %w", path, err)
	}
	return env, nil
}

// Words splits a command as a shell would: quotes and backslashes protect
// spaces. Nothing is expanded.
func Words(s string) ([]string, error) {
	var words []string
	var word strings.Builder
	var quote rune
	inWord, escaped := false, false
	for _, r := range s {
		switch {
		case escaped:
			if quote == '"' && r != '"' && r != '\\' {
				word.WriteByte('\\')
			}
			word.WriteRune(r)
			escaped = false
		case r == '\\' && quote != '\'':
			escaped, inWord = true, true
		case quote != 0:
			if r == quote {
				quote = 0
			} else {
				word.WriteRune(r)
			}
		case r == '\'' || r == '"':
			quote, inWord = r, true
		case unicode.IsSpace(r):
			if inWord {
				words = append(words, word.String())
				word.Reset()
			}
			inWord = false
		default:
			word.WriteRune(r)
			inWord = true
		}
	}
	if quote != 0 || escaped {
		return nil, errors.New("a quote is not closed, or a backslash ends it: write it as for a shell")
	}
	if inWord {
		words = append(words, word.String())
	}
	return words, nil
}
