package identity

import (
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"math/big"
	"time"

	"github.com/edgeswarm/edgeswarm/api"
)

const (
	// Backdate is how long before its making a certificate is valid, because
	// no two boards agree on the time.
	Backdate = time.Hour
	// CALifetime is how long a fleet's CA lasts.
	CALifetime = 20 * 365 * 24 * time.Hour
	// MinValidity is the shortest life that a node's certificate is given.
	MinValidity = time.Minute

	caName = "edgeswarm fleet CA"
)

// CA signs the certificates of one fleet. The zero value is not usable.
type CA struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	root api.RootCA
}

// NewCA makes the authority of a new fleet; now is fleet time.
func NewCA(fleet api.FleetID, now time.Time) (CA, error) {
	if fleet == "" {
		return CA{}, errors.New("make CA: the fleet has no ID")
	}
	key, err := newKey()
	if err != nil {
		return CA{}, fmt.Errorf("make CA: %w", err)
	}
	template := &x509.Certificate{
		SerialNumber: serial(), Subject: pkix.Name{CommonName: caName, Organization: []string{string(fleet)}},
		NotBefore: now.Add(-Backdate), NotAfter: now.Add(CALifetime),
		KeyUsage: x509.KeyUsageCertSign, IsCA: true, BasicConstraintsValid: true, MaxPathLenZero: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return CA{}, fmt.Errorf("make CA: %w", err)
	}
	keyPEM, err := encodeKey(key, nil)
	if err != nil {
		return CA{}, fmt.Errorf("make CA: %w", err)
	}
	return LoadCA(api.RootCA{CertPEM: encodeCert(der), KeyPEM: keyPEM})
}

// LoadCA reads the authority as NewCA's Root gave it. It errs if the
// certificate is no CA's, or the key is another's.
func LoadCA(root api.RootCA) (CA, error) {
	cert, err := parseRoot(root.CertPEM)
	if err != nil {
		return CA{}, fmt.Errorf("load CA: %w", err)
	}
	key, _, err := parseKey(root.KeyPEM)
	if err != nil {
		return CA{}, fmt.Errorf("load CA: %w", err)
	}
	if !key.PublicKey.Equal(cert.PublicKey) {
		return CA{}, errors.New("load CA: the key is not the certificate's")
	}
	return CA{cert: cert, key: key, root: root}, nil
}

// parseRoot reads a CA's certificate and checks that it is one of a fleet.
func parseRoot(raw []byte) (*x509.Certificate, error) {
	cert, err := parseCert(raw)
	if err != nil {
		return nil, err
	}
	if _, err := checkPublic(cert.PublicKey); err != nil {
		return nil, err
	}
	if !cert.IsCA || !cert.BasicConstraintsValid || fleetOf(cert) == "" {
		return nil, errors.New("the certificate is not a fleet's CA")
	}
	if err := cert.CheckSignatureFrom(cert); err != nil {
		return nil, fmt.Errorf("the CA's certificate is damaged: %w", err)
	}
	return cert, nil
}

// Root is what is stored of the CA, its private key included.
func (c CA) Root() api.RootCA { return c.root }

// Fleet is the fleet whose CA it is.
func (c CA) Fleet() api.FleetID { return fleetOf(c.cert) }

// Sign certifies that a node of the fleet holds the key of a PKCS #10 request
// in DER, for validity from now (fleet time), at least MinValidity. The
// request must be signed by the key it names and be made for the same node.
// Errors are of kind Invalid when the request is at fault.
func (c CA) Sign(csrDER []byte, node api.NodeID, now time.Time, validity time.Duration) (api.Credentials, error) {
	const op = "sign certificate"
	csr, err := x509.ParseCertificateRequest(csrDER)
	if err != nil {
		return api.Credentials{}, api.Errorf(api.Invalid, op, "the request is not PKCS #10: %w", err)
	}
	if err := csr.CheckSignature(); err != nil {
		return api.Credentials{}, api.Errorf(api.Invalid, op, "the request is not signed by its own key: %w", err)
	}
	if _, err := checkPublic(csr.PublicKey); err != nil {
		return api.Credentials{}, api.Errorf(api.Invalid, op, "%w", err)
	}
	if node == "" || csr.Subject.CommonName != string(node) {
		return api.Credentials{}, api.Errorf(api.Invalid, op, "the request is for node %q, not for %q", csr.Subject.CommonName, node)
	}
	until := now.Add(max(validity, MinValidity))
	if until.After(c.cert.NotAfter) {
		until = c.cert.NotAfter
	}
	template := &x509.Certificate{
		SerialNumber: serial(), Subject: pkix.Name{CommonName: string(node), Organization: []string{string(c.Fleet())}},
		NotBefore: now.Add(-Backdate), NotAfter: until,
		KeyUsage:              x509.KeyUsageDigitalSignature,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth},
		BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, c.cert, csr.PublicKey, c.key)
	if err != nil {
		return api.Credentials{}, fmt.Errorf("%s: %w", op, err)
	}
	return api.Credentials{CertPEM: encodeCert(der), RootCAPEM: c.root.CertPEM}, nil
}

// serial is random, so that nothing is to be counted and kept (RFC 5280,
// 4.1.2.2: positive, at most 20 octets).
func serial() *big.Int {
	var raw [16]byte
	_, _ = rand.Read(raw[:])
	raw[0] = raw[0]&0x7f | 0x40
	return new(big.Int).SetBytes(raw[:])
}

func fleetOf(cert *x509.Certificate) api.FleetID {
	if len(cert.Subject.Organization) != 1 {
		return ""
	}
	return api.FleetID(cert.Subject.Organization[0])
}
