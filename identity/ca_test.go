package identity

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"testing"
	"time"

	"github.com/edgeswarm/edgeswarm/api"
)

var today = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

const day = 24 * time.Hour

func newTestCA(t testing.TB) CA {
	t.Helper()
	ca, err := NewCA(api.NewID[api.FleetID](), today)
	if err != nil {
		t.Fatal(err)
	}
	return ca
}

func request(t *testing.T, node string, key any) []byte {
	t.Helper()
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{Subject: pkix.Name{CommonName: node}}, key)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

func ecKey(t *testing.T, curve elliptic.Curve) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(curve, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func TestSignNamesNodeAndFleet(t *testing.T) {
	ca := newTestCA(t)
	creds, err := ca.Sign(request(t, "n1", ecKey(t, elliptic.P256())), "n1", today, 90*day)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := parseCert(creds.CertPEM)
	if err != nil {
		t.Fatal(err)
	}
	if cert.Subject.CommonName != "n1" || fleetOf(cert) != ca.Fleet() || cert.IsCA {
		t.Errorf("subject %v, CA %v", cert.Subject, cert.IsCA)
	}
	if !cert.NotBefore.Equal(today.Add(-Backdate)) || !cert.NotAfter.Equal(today.Add(90*day)) {
		t.Errorf("valid from %v to %v", cert.NotBefore, cert.NotAfter)
	}
	node, fleet, err := VerifyChain(creds.RootCAPEM, [][]byte{cert.Raw}, today)
	if node != "n1" || fleet != ca.Fleet() || err != nil {
		t.Errorf("VerifyChain = %q, %q, %v", node, fleet, err)
	}
}

func TestCALastsTwentyYearsAndLoads(t *testing.T) {
	ca := newTestCA(t)
	if got := ca.cert.NotAfter.Sub(today); got < 19*365*day {
		t.Errorf("CA lasts %v", got)
	}
	again, err := LoadCA(ca.Root())
	if err != nil || again.Fleet() != ca.Fleet() {
		t.Fatalf("LoadCA: %v, %v", again.Fleet(), err)
	}
	other := newTestCA(t)
	if _, err := LoadCA(api.RootCA{CertPEM: ca.Root().CertPEM, KeyPEM: other.Root().KeyPEM}); err == nil {
		t.Error("loaded a CA with another's key")
	}
	if other.cert.SerialNumber.Cmp(ca.cert.SerialNumber) == 0 {
		t.Error("two certificates with one serial number")
	}
}

func TestSignRefuses(t *testing.T) {
	ca := newTestCA(t)
	good := request(t, "n1", ecKey(t, elliptic.P256()))
	forged := append([]byte(nil), good...)
	forged[len(forged)-1] ^= 1
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	for name, csr := range map[string][]byte{
		"bad signature": forged,
		"another node":  request(t, "n2", ecKey(t, elliptic.P256())),
		"RSA":           request(t, "n1", rsaKey),
		"P-384":         request(t, "n1", ecKey(t, elliptic.P384())),
		"garbage":       []byte("hello"),
		"nothing":       nil,
	} {
		if _, err := ca.Sign(csr, "n1", today, day); api.KindOf(err) != api.Invalid {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := ca.Sign(request(t, "", ecKey(t, elliptic.P256())), "", today, day); api.KindOf(err) != api.Invalid {
		t.Errorf("no node: %v", err)
	}
}

func TestSignNeverOutlivesTheCA(t *testing.T) {
	ca := newTestCA(t)
	creds, err := ca.Sign(request(t, "n1", ecKey(t, elliptic.P256())), "n1", ca.cert.NotAfter.Add(-day), 90*day)
	if err != nil {
		t.Fatal(err)
	}
	if cert, _ := parseCert(creds.CertPEM); cert.NotAfter.After(ca.cert.NotAfter) {
		t.Errorf("certificate ends %v, its CA %v", cert.NotAfter, ca.cert.NotAfter)
	}
}

func TestVerifyChainRefuses(t *testing.T) {
	ca, foreign := newTestCA(t), newTestCA(t)
	sign := func(ca CA) []byte {
		creds, err := ca.Sign(request(t, "n1", ecKey(t, elliptic.P256())), "n1", today, day)
		if err != nil {
			t.Fatal(err)
		}
		cert, _ := parseCert(creds.CertPEM)
		return cert.Raw
	}
	self, err := selfMade("n1", ecKey(t, elliptic.P256()))
	if err != nil {
		t.Fatal(err)
	}
	for name, chain := range map[string][][]byte{
		"foreign CA":           {sign(foreign)},
		"self-made":            self.Certificate,
		"the CA itself":        {ca.cert.Raw},
		"foreign, then our CA": {sign(foreign), ca.cert.Raw},
		"empty":                {},
		"garbage":              {[]byte("x")},
		"endless":              {sign(ca), nil, nil, nil, nil},
	} {
		if node, _, err := VerifyChain(ca.Root().CertPEM, chain, today); err == nil || errors.Is(err, ErrExpired) {
			t.Errorf("%s: %q, %v", name, node, err)
		}
	}
	if _, _, err := VerifyChain(ca.Root().CertPEM, [][]byte{sign(ca)}, today.Add(2*day)); !errors.Is(err, ErrExpired) {
		t.Errorf("expired: %v", err)
	}
}

// A certificate that another CA of the same fleet's name and key ID would sign
// must not pass: names are claims.
func TestVerifyChainIsNotFooledByTheFleetsName(t *testing.T) {
	ca := newTestCA(t)
	imposter, err := NewCA(ca.Fleet(), today)
	if err != nil {
		t.Fatal(err)
	}
	creds, err := imposter.Sign(request(t, "n1", ecKey(t, elliptic.P256())), "n1", today, day)
	if err != nil {
		t.Fatal(err)
	}
	cert, _ := parseCert(creds.CertPEM)
	if _, _, err := VerifyChain(ca.Root().CertPEM, [][]byte{cert.Raw, imposter.cert.Raw}, today); err == nil {
		t.Error("a CA of the same name was believed")
	}
}
