package main

import (
	"strings"
	"testing"

	"github.com/edgeswarm/edgeswarm/api"
)

// TestDoctorFailsForWhatIsBad: a script can tell a board that can't do its work
// from one that could do better, and the findings are printed all the same.
func TestDoctorFailsForWhatIsBad(t *testing.T) {
	f := newFleet()
	if r := f.edgectl(t, "doctor"); r.code != 0 || !strings.Contains(r.out, "dphys-swapfile") {
		t.Errorf("a warning: exit %d: %s%s", r.code, r.out, r.err)
	}
	f.findings = append(f.findings, api.Finding{Check: "memory limits", Level: api.FindingBad, What: "none\x1b[2J", Mend: "add cgroup_enable=memory"})
	for _, args := range [][]string{{"doctor"}, {"doctor", "--format", "json"}, {"doctor", "--format", "{{.Mend}}"}} {
		r := f.edgectl(t, args...)
		if r.code != 1 || !strings.Contains(r.out, "cgroup_enable=memory") || r.err != "" {
			t.Errorf("%v: exit %d: %s%s", args, r.code, r.out, r.err)
		}
		if strings.Contains(r.out, "\x1b") {
			t.Errorf("%v: a board's words reach the terminal as they are: %q", args, r.out)
		}
	}
	if r := f.edgectl(t, "doctor", "nowhere"); r.code != 1 || !strings.Contains(r.err, "nowhere") {
		t.Errorf("no such node: exit %d: %s", r.code, r.err)
	}
	if r := f.edgectl(t, "doctor", "a", "b"); r.code != exitUsage {
		t.Errorf("two nodes: exit %d: %s", r.code, r.err)
	}
}
