package e2e

import (
	"fmt"
	"strings"
	"testing"
)

// TestAcceptance: a board whose card holds nothing waits, shows a code, and is
// let in by it and by nothing else.
func TestAcceptance(t *testing.T) {
	t.Parallel()
	f := newFleet(t, 2, false)
	f.until("edged answers", soon, func() error {
		if s := f.try(1, "status"); s.Code != 0 {
			return fmt.Errorf("%s", s.Err)
		}
		return nil
	})
	f.must(1, "init", "--name", "shed")
	f.until("the founder leads", patient, func() error { return f.voters(1, 1) })
	var code string
	f.until("board2 shows a code", patient, func() error {
		_, said, ok := strings.Cut(f.try(2, "status", "--format", "{{.Message}}").Out, "edgectl node accept ")
		if code = strings.TrimSpace(said); !ok {
			return fmt.Errorf("%+v", f.try(2, "status"))
		}
		return nil
	})
	if list := f.must(1, "node", "waiting"); !strings.Contains(list, code[:5]) || !strings.Contains(list, "board2") || strings.Contains(list, code[6:]) {
		t.Errorf("node waiting, with the code %s:\n%s", code, list)
	}
	f.refused(1, "two groups", "node", "accept", code[:5])
	f.refused(1, "no board waits", "node", "accept", "00000"+code[5:])
	f.refused(2, "no fleet", "node", "accept", code)
	f.must(1, "node", "accept", code)
	f.whole(2)
	f.refused(1, "no board waits", "node", "accept", code)
	if list := f.must(2, "node", "waiting", "--quiet"); strings.TrimSpace(list) != "" {
		t.Errorf("still waiting: %s", list)
	}
}
