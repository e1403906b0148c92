package main

import (
	"os"
	"regexp"
	"strings"
	"testing"
)

var compatRow = regexp.MustCompile("^\\| `--([a-z0-9-]+)`(?:, `-[a-zA-Z]`)? \\| (same|different|absent) \\| (.*) \\|$")

// TestTheCompatibilityTableIsTrue holds docs/swarm-compatibility.md against the
// commands: what it calls there is there, what it calls absent is not, and no
// cell is empty that should say how or why.
func TestTheCompatibilityTableIsTrue(t *testing.T) {
	raw, err := os.ReadFile("../../docs/swarm-compatibility.md")
	if err != nil {
		t.Fatal(err)
	}
	root := newRoot(&cli{})
	rows, flags := map[string]int{}, func(string) bool { return false }
	command := ""
	for line := range strings.Lines(string(raw)) {
		line = strings.TrimSpace(line)
		if name, ok := strings.CutPrefix(line, "## `"); ok {
			command, _, _ = strings.Cut(name, "`")
			cmd, rest, err := root.Find(strings.Fields(command))
			if err != nil || len(rest) > 0 {
				t.Fatalf("%s is no command", command)
			}
			flags = func(name string) bool { return cmd.Flags().Lookup(name) != nil }
			continue
		}
		if !strings.HasPrefix(line, "| `--") {
			continue
		}
		m := compatRow.FindStringSubmatch(line)
		if m == nil {
			t.Errorf("%s: %q is not of the form of a row", command, line)
			continue
		}
		rows[command]++
		flag, verdict, note := m[1], m[2], strings.TrimSpace(m[3])
		if there := flags(flag); there != (verdict != "absent") {
			t.Errorf("%s --%s is called %s; it is there: %v", command, flag, verdict, there)
		}
		if note == "" && verdict != "same" {
			t.Errorf("%s --%s is %s: say how or why", command, flag, verdict)
		}
	}
	for command, least := range map[string]int{"service create": 70, "service update": 80, "service rollback": 2, "service scale": 1, "node update": 4, "network create": 17} {
		if rows[command] < least {
			t.Errorf("%d rows for %s, want all %d flags of Swarm's", rows[command], command, least)
		}
	}
}
