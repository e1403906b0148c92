package identity

import (
	"fmt"
	"strings"
	"testing"
)

func TestCodes(t *testing.T) {
	seen := map[string]bool{}
	for range 1000 {
		c := NewCode("K7QMP")
		if back, err := ParseCode(c.Reveal()); err != nil || back != c || !c.Opens(back.Secret()) {
			t.Fatalf("%s: %v %v", c.Reveal(), back, err)
		}
		seen[c.Secret()] = true
		for _, text := range []string{fmt.Sprint(c), fmt.Sprintf("%#v", c), fmt.Sprintf("%+v", c), c.LogValue().String()} {
			if strings.Contains(text, c.Secret()) {
				t.Fatalf("%q tells the secret", text)
			}
		}
	}
	if len(seen) < 990 {
		t.Errorf("%d different secrets of 1000", len(seen))
	}
	if (Code{}).Opens("") || NewCode("K7QMP").Opens("") {
		t.Error("nothing opens a code")
	}
	for text, want := range map[string]string{
		"k7qmp-3xpdw": "K7QMP-3XPDW", " K7QMP 3XPDW ": "K7QMP-3XPDW", "k7qmp3xpdw": "K7QMP-3XPDW", "OILoi-00000": "01101-00000",
	} {
		if c, err := ParseCode(text); err != nil || c.Reveal() != want {
			t.Errorf("%q: %s, %v", text, c.Reveal(), err)
		}
	}
	for _, text := range []string{"", "K7QMP", "K7QMP-3XPD", "K7QMP-3XPDWW", "K7QMP-3XPDU", "K7QMP-3XPD\x00", "K7QMP-3XPDé"} {
		if _, err := ParseCode(text); err == nil || strings.Contains(err.Error(), "\n") {
			t.Errorf("%q: %v", text, err)
		}
	}
}

// What both ends show depends on everything that makes their channel theirs.
func TestShownCodeBindsAll(t *testing.T) {
	parts := [4][]byte{[]byte("channel"), []byte("said"), []byte("dialer"), []byte("acceptor")}
	show := func(p [4][]byte) string { return ShownCode(p[0], p[1], p[2], p[3]) }
	for i := range parts {
		other := parts
		other[i] = append([]byte("x"), parts[i]...)
		if show(other) == show(parts) {
			t.Errorf("part %d does not count", i)
		}
	}
	if ShownCode([]byte("ab"), []byte("c"), nil, nil) == ShownCode([]byte("a"), []byte("bc"), nil, nil) {
		t.Error("parts run into each other")
	}
}
