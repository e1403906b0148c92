package identity

import (
	"crypto/x509"
	"errors"
	"fmt"
	"time"

	"github.com/edgeswarm/edgeswarm/api"
)

// ErrExpired is wrapped by the error about a chain that is good but for the time.
var ErrExpired = errors.New("the certificate has expired")

// maxChain bounds what a peer may make us parse.
const maxChain = 4

// VerifyChain checks a chain (leaf first, DER) against a fleet's CA in PEM at
// fleet time now, and answers whose it is.
//
// The start of a certificate's validity is not held against it: that our CA
// signed it is better evidence of the time than a board's clock, which may
// say 1970. Its end counts.
func VerifyChain(rootPEM []byte, chain [][]byte, now time.Time) (api.NodeID, api.FleetID, error) {
	root, err := parseRoot(rootPEM)
	if err != nil {
		return "", "", fmt.Errorf("read CA: %w", err)
	}
	return verify(root, chain, now)
}

func verify(root *x509.Certificate, chain [][]byte, now time.Time) (api.NodeID, api.FleetID, error) {
	leaf, err := parseLeaf(chain)
	if err != nil {
		return "", "", err
	}
	if err := verifyAt(root, leaf, latest(now, leaf.NotBefore, root.NotBefore)); err != nil {
		var invalid x509.CertificateInvalidError
		if errors.As(err, &invalid) && invalid.Reason == x509.Expired {
			return "", "", fmt.Errorf("%w at %s: it is now %s", ErrExpired, stamp(leaf.NotAfter), stamp(now))
		}
		return "", "", err
	}
	return api.NodeID(leaf.Subject.CommonName), fleetOf(leaf), nil
}

// verifyEver checks a chain as verify does, at a moment when it was valid.
func verifyEver(root *x509.Certificate, chain [][]byte) (api.NodeID, api.FleetID, error) {
	leaf, err := parseLeaf(chain)
	if err != nil {
		return "", "", err
	}
	if err := verifyAt(root, leaf, latest(leaf.NotBefore, root.NotBefore)); err != nil {
		return "", "", err
	}
	return api.NodeID(leaf.Subject.CommonName), fleetOf(leaf), nil
}

func parseLeaf(chain [][]byte) (*x509.Certificate, error) {
	if len(chain) == 0 || len(chain) > maxChain {
		return nil, fmt.Errorf("a chain of %d certificates", len(chain))
	}
	leaf, err := x509.ParseCertificate(chain[0])
	if err != nil {
		return nil, fmt.Errorf("read certificate: %w", err)
	}
	return leaf, nil
}

// verifyAt leaves out every certificate between leaf and root: the CA signs
// nodes itself and nobody else.
func verifyAt(root, leaf *x509.Certificate, at time.Time) error {
	if _, err := checkPublic(leaf.PublicKey); err != nil {
		return err
	}
	if leaf.IsCA {
		return errors.New("a CA's certificate is not a node's")
	}
	roots := x509.NewCertPool()
	roots.AddCert(root)
	_, err := leaf.Verify(x509.VerifyOptions{
		Roots: roots, CurrentTime: at, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny},
	})
	var unknown x509.UnknownAuthorityError
	if errors.As(err, &unknown) {
		return fmt.Errorf("the certificate is not of fleet %s", api.ShortID(fleetOf(root)))
	}
	if err != nil {
		return err
	}
	if leaf.Subject.CommonName == "" || fleetOf(leaf) != fleetOf(root) {
		return fmt.Errorf("the certificate names no node of fleet %s", api.ShortID(fleetOf(root)))
	}
	return nil
}

func latest(first time.Time, more ...time.Time) time.Time {
	for _, t := range more {
		if t.After(first) {
			first = t
		}
	}
	return first
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }
