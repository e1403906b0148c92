package identity

import (
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/edgeswarm/edgeswarm/api"
)

// ErrNotMember is wrapped by what needs a fleet's credentials when there are none.
var ErrNotMember = errors.New("this board belongs to no fleet")

// Node is this board's ID. It lasts until Reset.
func (k *Keeper) Node() api.NodeID {
	k.mu.RLock()
	defer k.mu.RUnlock()
	return k.node
}

// PublicKey is this board's public key in PKIX, DER.
func (k *Keeper) PublicKey() []byte {
	k.mu.RLock()
	defer k.mu.RUnlock()
	return slices.Clone(k.public)
}

// Fleet is the fleet that certified this board, "" before.
func (k *Keeper) Fleet() api.FleetID {
	k.mu.RLock()
	defer k.mu.RUnlock()
	if k.root == nil {
		return ""
	}
	return fleetOf(k.root)
}

// RootPEM is the certificate of the fleet's CA, nil before membership.
func (k *Keeper) RootPEM() []byte {
	k.mu.RLock()
	defer k.mu.RUnlock()
	if k.root == nil {
		return nil
	}
	return encodeCert(k.root.Raw)
}

// Certificate is what peers are shown: the fleet's certificate, or before
// membership a self-made one for the same key and ID. It must not be changed.
func (k *Keeper) Certificate() *tls.Certificate {
	k.mu.RLock()
	defer k.mu.RUnlock()
	return k.cert
}

// Verify checks a peer's chain (leaf first, DER) against the fleet's CA now,
// and answers who it is. It wraps ErrNotMember before membership, and
// ErrExpired if only the time is against it. The time is never before this
// board's own certificate was valid, whatever its clock says.
func (k *Keeper) Verify(chain [][]byte) (api.NodeID, api.FleetID, error) {
	k.mu.RLock()
	defer k.mu.RUnlock()
	if k.root == nil {
		return "", "", fmt.Errorf("verify peer: %w", ErrNotMember)
	}
	node, fleet, err := verify(k.root, chain, latest(k.cfg.Now(), k.cert.Leaf.NotBefore))
	if err != nil {
		return "", "", fmt.Errorf("verify peer: %w", err)
	}
	return node, fleet, nil
}

// VerifyExpired is Verify whatever the time: for a member whose certificate
// ran out while its board was off, and who asks for a new one. Whether it
// still is a member is the caller's to know.
func (k *Keeper) VerifyExpired(chain [][]byte) (api.NodeID, api.FleetID, error) {
	k.mu.RLock()
	defer k.mu.RUnlock()
	if k.root == nil {
		return "", "", fmt.Errorf("verify peer: %w", ErrNotMember)
	}
	node, fleet, err := verifyEver(k.root, chain)
	if err != nil {
		return "", "", fmt.Errorf("verify peer: %w", err)
	}
	return node, fleet, nil
}

// RenewAt is when it is time to ask for a new certificate: after two thirds of
// the present one's life. Zero before membership.
func (k *Keeper) RenewAt() time.Time { return k.RenewWithin(0) }

// RenewWithin is the same in a fleet whose certificates now last for life: one
// that was made to last longer is due after two thirds of that. 0 is not known.
func (k *Keeper) RenewWithin(life time.Duration) time.Time {
	k.mu.RLock()
	defer k.mu.RUnlock()
	if k.root == nil {
		return time.Time{}
	}
	from, until := k.cert.Leaf.NotBefore.Add(Backdate), k.cert.Leaf.NotAfter
	if own := until.Sub(from); life <= 0 || life > own {
		life = own
	}
	return from.Add(life / 3 * 2)
}

// Expires is when the present certificate ends; zero before membership.
func (k *Keeper) Expires() time.Time {
	k.mu.RLock()
	defer k.mu.RUnlock()
	if k.root == nil {
		return time.Time{}
	}
	return k.cert.Leaf.NotAfter
}

// CSR is a request, PKCS #10 in DER, for a certificate for this board's key
// and ID.
func (k *Keeper) CSR() ([]byte, error) {
	k.mu.RLock()
	defer k.mu.RUnlock()
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{Subject: pkix.Name{CommonName: string(k.node)}}, k.key)
	if err != nil {
		return nil, fmt.Errorf("make certificate request: %w", err)
	}
	return der, nil
}

// Adopt takes up credentials that a fleet has given this board, the first or
// newer ones, and keeps them. It errs, and changes nothing, if they are not
// for this board's key and ID or not of the CA beside them.
func (k *Keeper) Adopt(creds api.Credentials) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	cert, root, err := k.check(creds)
	if err != nil {
		return fmt.Errorf("adopt credentials: %w", err)
	}
	raw := append(encodeCert(cert.Leaf.Raw), encodeCert(root.Raw)...)
	if err := writeFile(k.path(memberFile), raw); err != nil {
		return fmt.Errorf("adopt credentials: %w", err)
	}
	k.cert, k.root = cert, root
	return nil
}

// Forget gives up the membership. Key and ID stay.
func (k *Keeper) Forget() error {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.forget()
}

func (k *Keeper) forget() error {
	cert, err := selfMade(k.node, k.key)
	if err != nil {
		return fmt.Errorf("forget credentials: %w", err)
	}
	if err := removeFile(k.path(memberFile)); err != nil {
		return fmt.Errorf("forget credentials: %w", err)
	}
	k.cert, k.root = cert, nil
	return nil
}

// Reset gives up membership, key and ID, and makes this a new board. Should
// the power fail between, the board is without a membership and still the old one.
func (k *Keeper) Reset() error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if err := k.forget(); err != nil {
		return err
	}
	if err := k.replaceKey(); err != nil {
		return fmt.Errorf("reset identity: %w", err)
	}
	return nil
}
