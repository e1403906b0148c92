package identity

import (
	"bytes"
	"crypto/x509"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/edgeswarm/edgeswarm/api"
)

// board is a Keeper with a clock that a test turns.
type board struct {
	*Keeper
	dir string
	now time.Time
}

func newBoard(t *testing.T) *board {
	b := &board{dir: filepath.Join(t.TempDir(), "identity"), now: today}
	b.reopen(t)
	return b
}

func (b *board) reopen(t *testing.T) {
	t.Helper()
	k, err := Open(Config{Dir: b.dir, Now: func() time.Time { return b.now }})
	if err != nil {
		t.Fatal(err)
	}
	b.Keeper = k
}

func (b *board) join(t *testing.T, ca CA, at time.Time, validity time.Duration) {
	t.Helper()
	csr, err := b.CSR()
	if err != nil {
		t.Fatal(err)
	}
	creds, err := ca.Sign(csr, b.Node(), at, validity)
	if err != nil {
		t.Fatal(err)
	}
	if err := b.Adopt(creds); err != nil {
		t.Fatal(err)
	}
}

func (b *board) files(t *testing.T) map[string][]byte {
	t.Helper()
	entries, err := os.ReadDir(b.dir)
	if err != nil {
		t.Fatal(err)
	}
	all := map[string][]byte{}
	for _, e := range entries {
		if all[e.Name()], err = os.ReadFile(filepath.Join(b.dir, e.Name())); err != nil {
			t.Fatal(err)
		}
	}
	return all
}

func TestKeeperRemembers(t *testing.T) {
	b, ca := newBoard(t), newTestCA(t)
	node, public := b.Node(), b.PublicKey()
	if !api.IsID(string(node)) || b.Fleet() != "" || b.RootPEM() != nil || !b.RenewAt().IsZero() {
		t.Fatalf("a fresh board: node %q, fleet %q", node, b.Fleet())
	}
	if leaf := b.Certificate().Leaf; leaf.Subject.CommonName != string(node) || fleetOf(leaf) != "" {
		t.Errorf("self-made certificate for %v", leaf.Subject)
	}
	if _, _, err := b.Verify(b.Certificate().Certificate); !errors.Is(err, ErrNotMember) {
		t.Errorf("Verify before membership: %v", err)
	}

	b.join(t, ca, today, 90*day)
	b.reopen(t)
	if b.Node() != node || !bytes.Equal(b.PublicKey(), public) || b.Fleet() != ca.Fleet() || !bytes.Equal(b.RootPEM(), ca.Root().CertPEM) {
		t.Errorf("after a restart: node %q, fleet %q", b.Node(), b.Fleet())
	}
	if got, fleet, err := b.Verify(b.Certificate().Certificate); got != node || fleet != ca.Fleet() || err != nil {
		t.Errorf("Verify = %q, %q, %v", got, fleet, err)
	}
	if want := today.Add(60 * day); !b.RenewAt().Equal(want) {
		t.Errorf("RenewAt = %v, want %v", b.RenewAt(), want)
	}
	if !b.Expires().Equal(today.Add(90 * day)) {
		t.Errorf("Expires = %v", b.Expires())
	}

	if err := b.Forget(); err != nil {
		t.Fatal(err)
	}
	b.reopen(t)
	if b.Node() != node || b.Fleet() != "" || !bytes.Equal(b.PublicKey(), public) {
		t.Errorf("after Forget: node %q, fleet %q", b.Node(), b.Fleet())
	}
	if err := b.Reset(); err != nil {
		t.Fatal(err)
	}
	fresh := b.Node()
	b.reopen(t)
	if b.Node() == node || b.Node() != fresh || bytes.Equal(b.PublicKey(), public) {
		t.Errorf("after Reset: node %q was %q", b.Node(), node)
	}
}

func TestRenewAtOfShortCertificates(t *testing.T) {
	b, ca := newBoard(t), newTestCA(t)
	b.join(t, ca, today, 3*time.Minute)
	if want := today.Add(2 * time.Minute); !b.RenewAt().Equal(want) {
		t.Errorf("RenewAt = %v, want %v: Backdate counts as life", b.RenewAt(), want)
	}
}

func TestKeeperFilesArePrivate(t *testing.T) {
	b := newBoard(t)
	b.join(t, newTestCA(t), today, day)
	for name := range b.files(t) {
		info, err := os.Stat(filepath.Join(b.dir, name))
		if err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: mode %v, %v", name, info.Mode(), err)
		}
	}
	if info, _ := os.Stat(b.dir); info.Mode().Perm() != 0o700 {
		t.Errorf("directory: mode %v", info.Mode())
	}
}

func TestAdoptRefusesWhatIsNotOurs(t *testing.T) {
	a, b, ca, other := newBoard(t), newBoard(t), newTestCA(t), newTestCA(t)
	csr, _ := a.CSR()
	foreign, err := ca.Sign(csr, a.Node(), today, day)
	if err != nil {
		t.Fatal(err)
	}
	own := func() api.Credentials {
		csr, _ := b.CSR()
		creds, err := ca.Sign(csr, b.Node(), today, day)
		if err != nil {
			t.Fatal(err)
		}
		return creds
	}()
	otherKey, err := ca.Sign(request(t, string(b.Node()), a.key), b.Node(), today, day)
	if err != nil {
		t.Fatal(err)
	}
	b.join(t, other, today, day)
	before := b.files(t)
	for name, creds := range map[string]api.Credentials{
		"another node's": foreign,
		"another key's":  otherKey,
		"another CA's":   {CertPEM: own.CertPEM, RootCAPEM: other.Root().CertPEM},
		"no CA":          {CertPEM: own.CertPEM, RootCAPEM: own.CertPEM},
		"nothing":        {},
		"two at once":    {CertPEM: append(bytes.Clone(own.CertPEM), foreign.CertPEM...), RootCAPEM: own.RootCAPEM},
	} {
		if err := b.Adopt(creds); err == nil {
			t.Errorf("adopted %s", name)
		}
	}
	for name, raw := range b.files(t) {
		if !bytes.Equal(raw, before[name]) {
			t.Errorf("a refused Adopt changed %s", name)
		}
	}
	if b.Fleet() != other.Fleet() {
		t.Error("a refused Adopt changed the fleet")
	}
	if err := b.Adopt(own); err != nil || b.Fleet() != ca.Fleet() {
		t.Errorf("moving to another fleet: %v", err)
	}
}

// Boards have no clock: one that says 1970 must know its peers all the same,
// also those whose certificates were made long after its own.
func TestClockInThePast(t *testing.T) {
	a, b := newBoard(t), newBoard(t)
	ca, err := NewCA(api.NewID[api.FleetID](), today.Add(-400*day))
	if err != nil {
		t.Fatal(err)
	}
	a.join(t, ca, today, 90*day)
	b.join(t, ca, today.Add(60*day), 90*day)
	a.now = time.Unix(0, 0)
	if _, _, err := a.Verify(b.Certificate().Certificate); err != nil {
		t.Errorf("in 1970: %v", err)
	}
	old := newBoard(t)
	old.join(t, ca, today.Add(-300*day), 90*day)
	if _, _, err := a.Verify(old.Certificate().Certificate); !errors.Is(err, ErrExpired) {
		t.Errorf("in 1970, a certificate that ended before ours began: %v", err)
	}
}

func TestExpiredIsToldApartFromForeign(t *testing.T) {
	a, b, ca := newBoard(t), newBoard(t), newTestCA(t)
	a.join(t, ca, today, 90*day)
	b.join(t, ca, today, 10*day)
	a.now = today.Add(11 * day)
	chain := b.Certificate().Certificate
	if _, _, err := a.Verify(chain); !errors.Is(err, ErrExpired) {
		t.Errorf("Verify: %v", err)
	}
	if node, fleet, err := a.VerifyExpired(chain); node != b.Node() || fleet != ca.Fleet() || err != nil {
		t.Errorf("VerifyExpired = %q, %q, %v", node, fleet, err)
	}
	c := newBoard(t)
	for name, chain := range map[string][][]byte{"self-made": c.Certificate().Certificate, "none": nil} {
		if _, _, err := a.VerifyExpired(chain); err == nil {
			t.Errorf("VerifyExpired believes %s", name)
		}
	}
	c.join(t, newTestCA(t), today, day)
	if _, _, err := a.VerifyExpired(c.Certificate().Certificate); err == nil {
		t.Error("VerifyExpired believes a foreign fleet")
	}
}

// Every change is cut off before each of its steps, by putting the directory
// into the state of that moment: what loads must be the old board or the new.
func TestHalfWrittenDirectoriesLoad(t *testing.T) {
	ca := newTestCA(t)
	b := newBoard(t)
	node := b.Node()
	write := func(name string, raw []byte) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(b.dir, name), raw, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write(memberFile+tempSuffix, []byte("-----BEGIN CERT"))
	write(keyFile+tempSuffix, nil)
	b.reopen(t)
	if b.Node() != node || b.Fleet() != "" {
		t.Error("a leftover took effect")
	}
	if len(b.files(t)) != 1 {
		t.Errorf("leftovers stay: %v", b.files(t))
	}
	b.join(t, ca, today, day)
	write(memberFile+tempSuffix, b.files(t)[memberFile][:100])
	b.reopen(t)
	if b.Fleet() != ca.Fleet() {
		t.Error("a renewal that was cut off lost the membership")
	}
	// Reset, cut between its two writes.
	if err := os.Remove(filepath.Join(b.dir, memberFile)); err != nil {
		t.Fatal(err)
	}
	b.reopen(t)
	if b.Node() != node || b.Fleet() != "" {
		t.Error("a reset that was cut off did not leave the old board")
	}
	// The very first start, cut before the key was renamed.
	fresh := filepath.Join(t.TempDir(), "d")
	if err := os.Mkdir(fresh, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(fresh, keyFile+tempSuffix), []byte("-----"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(Config{Dir: fresh, Now: time.Now}); err != nil {
		t.Error(err)
	}
}

func TestDamageIsSaidAndNotPaperedOver(t *testing.T) {
	for name, damage := range map[string]func(b *board) error{
		"key gone":        func(b *board) error { return os.Remove(filepath.Join(b.dir, keyFile)) },
		"key empty":       func(b *board) error { return os.WriteFile(filepath.Join(b.dir, keyFile), nil, 0o600) },
		"member empty":    func(b *board) error { return os.WriteFile(filepath.Join(b.dir, memberFile), nil, 0o600) },
		"member of other": func(b *board) error { return b.replaceKey() },
	} {
		b := newBoard(t)
		b.join(t, newTestCA(t), today, day)
		if err := damage(b); err != nil {
			t.Fatal(err)
		}
		_, err := Open(Config{Dir: b.dir, Now: time.Now})
		if err == nil || !strings.Contains(err.Error(), b.dir) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestAFailedWriteChangesNothing(t *testing.T) {
	b, ca := newBoard(t), newTestCA(t)
	csr, _ := b.CSR()
	creds, err := ca.Sign(csr, b.Node(), today, day)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(b.dir, memberFile+tempSuffix), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := b.Adopt(creds); err == nil {
		t.Fatal("adopted without being able to write")
	}
	if b.Fleet() != "" || fleetOf(b.Certificate().Leaf) != "" {
		t.Error("a membership that is not on disk is in use")
	}
}

func FuzzVerifyChain(f *testing.F) {
	ca := newTestCA(f)
	f.Add(ca.cert.Raw)
	f.Fuzz(func(t *testing.T, der []byte) {
		if node, _, err := verify(ca.cert, [][]byte{der}, today); err == nil {
			t.Fatalf("fuzz made a certificate for %q", node)
		}
		_, _, _ = verifyEver(ca.cert, [][]byte{der})
	})
}

func FuzzSign(f *testing.F) {
	ca := newTestCA(f)
	f.Add([]byte("0"))
	f.Fuzz(func(t *testing.T, csr []byte) {
		if _, err := ca.Sign(csr, "n1", today, day); err == nil {
			if r, _ := x509.ParseCertificateRequest(csr); r.CheckSignature() != nil {
				t.Fatal("signed a forged request")
			}
		}
	})
}

func FuzzParsePEM(f *testing.F) {
	ca := newTestCA(f)
	f.Add(ca.Root().CertPEM)
	f.Add(ca.Root().KeyPEM)
	f.Fuzz(func(t *testing.T, raw []byte) {
		_, _ = parseRoot(raw)
		_, _, _ = parseKey(raw)
		_, _ = splitMember(raw)
	})
}
