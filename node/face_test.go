package node

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/edgeswarm/edgeswarm/api"
)

func TestAScreenShowsWhoABoardIsAndHowItIs(t *testing.T) {
	member := api.BoardStatus{NodeID: "0123456789abcdefghijklmno", Hostname: "attic", Version: "v1", Addr: "192.0.2.10:2377", Membership: api.MembershipMember, FleetID: "fleet1", FleetName: "home"}
	alone := member
	alone.Membership, alone.Message, alone.Addr = api.MembershipNone, "waits for a key", ""
	alone.Description.Trouble = "edge.yaml line 3: unknown key"
	for name, tt := range map[string]struct {
		status api.BoardStatus
		want   []string
		not    string
	}{
		"a member": {member, []string{"Edgeswarm v1", "attic (0123456789ab)", "192.0.2.10:2377", "home (fleet1)"}, "trouble"},
		"alone":    {alone, []string{"none yet: plug in", "none: waits for a key", "trouble   edge.yaml line 3"}, "fleet1"},
	} {
		text := face(&tt.status)
		for _, want := range tt.want {
			if !strings.Contains(text, want) {
				t.Errorf("%s: lacks %q:\n%s", name, want, text)
			}
		}
		if strings.Contains(text, tt.not) {
			t.Errorf("%s: has %q:\n%s", name, tt.not, text)
		}
	}
}

func TestAScreenIsClearedAndALineIsNot(t *testing.T) {
	for name, clears := range map[string]bool{"tty1": true, "ttyS0": false, "ttyAMA0": false} {
		path := filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(path, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := draw(path, "one\ntwo\n"); err != nil {
			t.Fatal(err)
		}
		raw, err := os.ReadFile(path)
		if err != nil || strings.Contains(string(raw), "\x1b[2J") != clears || !strings.HasSuffix(string(raw), "\r\none\r\ntwo\r\n") {
			t.Errorf("%s: %q, %v", name, raw, err)
		}
	}
}
