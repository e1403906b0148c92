// Package script runs golden transcripts: files of commands, each followed by
// what it printed. A test reads a transcript, runs its commands anew, and
// compares; with -update it writes down what they print now. It knows nothing
// of what the commands mean.
package script

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "rewrite golden transcripts with what their commands print now")

const (
	prompt = "> "
	indent = "    "
)

// Run runs every file that the pattern matches, as a test of its own. Each has
// an interpreter of its own, which is given one command at a time.
//
// Lines that begin with "> " are commands, those indented by four spaces are
// what the command above printed, and the others are comment.
func Run(t *testing.T, pattern string, interpreter func(t *testing.T) func(command string) (output string)) {
	files, err := filepath.Glob(pattern)
	if err != nil || len(files) == 0 {
		t.Fatalf("no transcript matches %s (%v)", pattern, err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			raw, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			got := replay(string(raw), interpreter(t))
			if got == string(raw) {
				return
			}
			if *update {
				if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			t.Errorf("%s: %s\nrun the test with -update and read what changed", file, difference(string(raw), got))
		})
	}
}

func replay(text string, run func(string) string) string {
	var out strings.Builder
	for line := range strings.Lines(text) {
		if strings.HasPrefix(line, indent) {
			continue
		}
		out.WriteString(line)
		command, ok := strings.CutPrefix(strings.TrimSuffix(line, "\n"), prompt)
		if !ok {
			continue
		}
		for printed := range strings.Lines(run(command)) {
			out.WriteString(indent + strings.TrimSuffix(printed, "\n") + "\n")
		}
	}
	return out.String()
}

// difference shows the first lines that differ, with the commands before them.
func difference(want, got string) string {
	a, b := strings.Split(want, "\n"), strings.Split(got, "\n")
	for i := range max(len(a), len(b)) {
		var x, y string
		if i < len(a) {
			x = a[i]
		}
		if i < len(b) {
			y = b[i]
		}
		if x != y {
			return strings.Join(a[max(0, i-5):min(i, len(a))], "\n") + "\n- " + x + "\n+ " + strings.Join(b[i:min(len(b), i+5)], "\n+ ")
		}
	}
	return "no difference"
}
