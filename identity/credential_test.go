package identity

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/edgeswarm/edgeswarm/api"
)

func TestFleetKeyRoundTrip(t *testing.T) {
	k := GenerateFleetKey()
	for _, s := range []string{k.Reveal(), strings.ToLower(k.Reveal()), "  " + k.Reveal() + "\r\n"} {
		got, err := ParseFleetKey(s)
		if err != nil || !got.Equal(k) || got.Tag() != k.Tag() || got.Reveal() != k.Reveal() {
			t.Errorf("ParseFleetKey(%q) = %v, %v", s, got, err)
		}
	}
	if other := GenerateFleetKey(); other.Equal(k) || other.Tag() == k.Tag() {
		t.Error("two generated keys are equal")
	}
	if (FleetKey{}).Equal(FleetKey{}) {
		t.Error("no key equals no key: two boards without one would trust each other")
	}
}

func TestParseFleetKeyRefuses(t *testing.T) {
	sealed := func(secret []byte) string {
		return FleetKey{secret}.Reveal()
	}
	good := GenerateFleetKey().Reveal()
	mistyped := []byte(good)
	if last := len(mistyped) - 5; mistyped[last] == 'A' {
		mistyped[last] = 'B'
	} else {
		mistyped[last] = 'A'
	}
	token, err := NewToken(newTestCA(t).Root().CertPEM)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ name, in, want string }{
		{"empty", "", "empty"},
		{"a password", "correct horse battery staple", "generated, never chosen"},
		{"short", good[:len(good)-3], "3 characters are missing"},
		{"long", good + "AB", "2 characters too many"},
		{"mistyped", string(mistyped), "mistyped"},
		{"a token", token.Reveal(), "join token"},
		{"zeros", sealed(make([]byte, 16)), "too easy to guess"},
		{"counting", sealed([]byte{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16}), "too easy to guess"},
		{"a word twice", sealed([]byte("passwordpassword")), "too easy to guess"},
		{"not base 32", fleetKeyPrefix + strings.Repeat("!", sealedLength), "mistyped"},
	} {
		_, err := ParseFleetKey(c.in)
		if api.KindOf(err) != api.Invalid || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %v, want %q", c.name, err, c.want)
		}
	}
}

func TestSecretsDontPrint(t *testing.T) {
	k := GenerateFleetKey()
	token, err := NewToken(newTestCA(t).Root().CertPEM)
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range []any{k, token, &k, &token, []any{k, token}} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s"} {
			out := fmt.Sprintf(verb, v)
			if strings.Contains(out, k.Reveal()[10:20]) || strings.Contains(out, token.Reveal()[45:55]) {
				t.Errorf("%s prints a secret: %s", verb, out)
			}
		}
	}
}

func TestTokenRoundTripAndPin(t *testing.T) {
	ca, other := newTestCA(t), newTestCA(t)
	token, err := NewToken(ca.Root().CertPEM)
	if err != nil {
		t.Fatal(err)
	}
	got, err := ParseToken(strings.ToLower(token.Reveal()))
	if err != nil || !got.Equal(token) {
		t.Fatalf("ParseToken: %v, %v", got, err)
	}
	if !got.PinsCA(ca.Root().CertPEM) || got.PinsCA(other.Root().CertPEM) || got.PinsCA(nil) {
		t.Error("the pin fits another CA than its own")
	}
	both := append(append([]byte(nil), ca.Root().CertPEM...), other.Root().CertPEM...)
	if got.PinsCA(both) {
		t.Error("a second CA rode in behind the pinned one")
	}
	second, _ := NewToken(ca.Root().CertPEM)
	if second.Equal(token) || (Token{}).Equal(Token{}) {
		t.Error("different tokens, or none, are equal")
	}
}

func TestParseTokenRefuses(t *testing.T) {
	a, _ := NewToken(newTestCA(t).Root().CertPEM)
	b, _ := NewToken(newTestCA(t).Root().CertPEM)
	parts := strings.Split(a.Reveal(), "-")
	for _, c := range []struct{ name, in, want string }{
		{"empty", " ", "empty"},
		{"a fleet key", GenerateFleetKey().Reveal(), "fleet key"},
		{"Swarm's", "SWMTKN-1-abc-def", "does not begin with"},
		{"cut", a.Reveal()[:50], "missing"},
		{"doubled", a.Reveal() + "-" + parts[3], "doubled"},
		{"another's secret", strings.Join(parts[:3], "-") + "-" + strings.Split(b.Reveal(), "-")[3], "mistyped"},
		{"bad hash", tokenPrefix + strings.Repeat("1", caHashLength) + "-" + parts[3], "character"},
	} {
		_, err := ParseToken(c.in)
		if api.KindOf(err) != api.Invalid || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", c.name, err, c.want)
		}
	}
}

type prover interface {
	Prove(role Role, channel, transcript []byte) []byte
	Verify(role Role, channel, transcript, proof []byte) bool
}

func TestProofsAreBound(t *testing.T) {
	ca := newTestCA(t)
	token, _ := NewToken(ca.Root().CertPEM)
	otherToken, _ := NewToken(ca.Root().CertPEM)
	key := GenerateFleetKey()
	channel, elsewhere := bytes.Repeat([]byte{1}, 32), bytes.Repeat([]byte{2}, 32)
	said := []byte("I am n1")
	for name, pair := range map[string][2]prover{"key": {key, GenerateFleetKey()}, "token": {token, otherToken}} {
		p, other := pair[0], pair[1]
		proof := p.Prove(Dialer, channel, said)
		if !p.Verify(Dialer, channel, said, proof) {
			t.Errorf("%s: a true proof fails", name)
		}
		for what, ok := range map[string]bool{
			"reflected":          p.Verify(Acceptor, channel, said, proof),
			"on another channel": p.Verify(Dialer, elsewhere, said, proof),
			"of other words":     p.Verify(Dialer, channel, []byte("I am n2"), proof),
			"by another secret":  other.Verify(Dialer, channel, said, proof),
			"empty":              p.Verify(Dialer, channel, said, nil),
			"cut":                p.Verify(Dialer, channel, said, proof[:16]),
			"without a channel":  p.Verify(Dialer, nil, said, p.Prove(Dialer, nil, said)),
			"in no role":         p.Verify("", channel, said, p.Prove("", channel, said)),
			"shifted":            p.Verify(Dialer, append(bytes.Clone(channel), said...), nil, proof),
		} {
			if ok {
				t.Errorf("%s: a proof %s passes", name, what)
			}
		}
	}
	same := Token{ca: token.ca, secret: key.secret}
	if same.Verify(Dialer, channel, said, key.Prove(Dialer, channel, said)) {
		t.Error("a fleet key's proof passes for a token's")
	}
	for name, none := range map[string]prover{"key": FleetKey{}, "token": Token{}} {
		if none.Prove(Dialer, channel, said) != nil || none.Verify(Dialer, channel, said, nil) || none.Verify(Dialer, channel, said, []byte{}) {
			t.Errorf("no %s proves something", name)
		}
	}
}

func FuzzParseFleetKey(f *testing.F) {
	f.Add(GenerateFleetKey().Reveal())
	f.Add("EDGEKEY-1-")
	f.Fuzz(func(t *testing.T, s string) {
		k, err := ParseFleetKey(s)
		if err != nil {
			if api.KindOf(err) != api.Invalid {
				t.Fatalf("kind %q", api.KindOf(err))
			}
			return
		}
		if again, err := ParseFleetKey(k.Reveal()); err != nil || !again.Equal(k) {
			t.Fatalf("%q does not come back: %v", s, err)
		}
	})
}

func FuzzParseToken(f *testing.F) {
	token, _ := NewToken(newTestCA(f).Root().CertPEM)
	f.Add(token.Reveal())
	f.Add("EDGETKN-1-A-B")
	f.Fuzz(func(t *testing.T, s string) {
		k, err := ParseToken(s)
		if err != nil {
			if api.KindOf(err) != api.Invalid {
				t.Fatalf("kind %q", api.KindOf(err))
			}
			return
		}
		if again, err := ParseToken(k.Reveal()); err != nil || !again.Equal(k) {
			t.Fatalf("%q does not come back: %v", s, err)
		}
	})
}
