package admission

import (
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/edgeswarm/edgeswarm/api"
	"github.com/edgeswarm/edgeswarm/identity"
)

func TestMemoryLastsAndIsWrittenOnlyOnChange(t *testing.T) {
	dir := t.TempDir()
	m, err := OpenMemory(dir)
	if err != nil {
		t.Fatal(err)
	}
	if r := m.Read(); r.Veteran || r.Fleet != "" {
		t.Errorf("a fresh board remembers %+v", r)
	}
	managers := []api.ManagerAddr{{ID: node(1), Addrs: []netip.AddrPort{addr(1)}}}
	steps := []func() error{
		func() error { return m.Joined(fleet(1), managers) },
		func() error { return m.Joined(fleet(1), nil) }, // no managers heard of: the old ones stay
		func() error { return m.Folded(fleet(1)) },
		func() error { return m.Folded(fleet(1)) },
	}
	for i, step := range steps {
		path := filepath.Join(dir, memoryFile)
		before, _ := os.Stat(path)
		if err := step(); err != nil {
			t.Fatal(err)
		}
		after, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		if changed := before == nil || !os.SameFile(before, after); changed != (i%2 == 0) {
			t.Errorf("step %d: written %v", i, changed)
		}
	}
	again, err := OpenMemory(dir)
	if err != nil {
		t.Fatal(err)
	}
	r := again.Read()
	if !r.Veteran || r.Fleet != fleet(1) || len(r.Managers) != 1 || r.Managers[0].Addrs[0] != addr(1) || len(r.Folded) != 1 {
		t.Errorf("remembers %+v", r)
	}
	if err := again.Clear(); err != nil || again.Read().Veteran {
		t.Errorf("clear: %v, %+v", err, again.Read())
	}
}

func TestMemoryThatCannotBeRead(t *testing.T) {
	newer, err := api.Encode(Remembered{Version: memoryVersion + 1})
	if err != nil {
		t.Fatal(err)
	}
	for name, raw := range map[string][]byte{"damaged": {0xff, 1}, "use the newer edged": newer, "it is damaged": nil} {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, memoryFile), raw, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := OpenMemory(dir); err == nil || !strings.Contains(err.Error(), name) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestFoundMakesWhatAFleetBeginsWith(t *testing.T) {
	keeper, err := identity.Open(identity.Config{Dir: t.TempDir(), Now: time.Now})
	if err != nil {
		t.Fatal(err)
	}
	key := identity.GenerateFleetKey()
	for _, blind := range []bool{false, true} {
		now := built.Add(time.Hour)
		if blind {
			now = time.Unix(0, 0)
		}
		f, err := Found(FoundConfig{Identity: keeper, Name: "attic", Key: key, Now: now, Built: built, Addrs: []netip.AddrPort{addr(1)}})
		if err != nil {
			t.Fatal(err)
		}
		c := f.Cluster
		if c.FoundedAt.Before(built) || c.FoundedBlind != blind || c.Epoch != 1 || c.Level != api.FeatureLevel || c.FleetKey != key.Reveal() || c.Spec.Name != "attic" || c.Touched {
			t.Errorf("cluster %+v", c)
		}
		if f.Node.ID != keeper.Node() || len(f.Node.PublicKey) == 0 || f.Node.Spec.Role != api.RoleAuto || f.Node.Status.State != api.NodeReady {
			t.Errorf("node %+v", f.Node)
		}
		tokens, err := Tokens(c)
		if err != nil || len(tokens) != 2 || tokens[0].Token.Equal(tokens[1].Token) || tokens[0].Role != api.RoleWorker || !tokens[1].Token.PinsCA(c.RootCA.CertPEM) {
			t.Errorf("tokens %v: %v", tokens, err)
		}
		if err := keeper.Adopt(f.Credentials); err != nil || keeper.Fleet() != c.ID {
			t.Errorf("the founder's own credentials: %v", err)
		}
		back := api.Clone(c)
		if !back.FoundedAt.Equal(c.FoundedAt) {
			t.Error("the date of founding changes in the log")
		}
	}
}
