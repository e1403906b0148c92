package identity

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
)

// PEM block types of what is stored and sent.
const (
	pemKey  = "PRIVATE KEY"
	pemCert = "CERTIFICATE"
)

func newKey() (*ecdsa.PrivateKey, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make key: %w", err)
	}
	return key, nil
}

// encodeKey renders a key as PKCS #8 in PEM; the headers are stored beside it.
func encodeKey(key *ecdsa.PrivateKey, headers map[string]string) ([]byte, error) {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, fmt.Errorf("encode key: %w", err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: pemKey, Headers: headers, Bytes: der}), nil
}

func parseKey(raw []byte) (*ecdsa.PrivateKey, map[string]string, error) {
	block, _ := pem.Decode(raw)
	if block == nil || block.Type != pemKey {
		return nil, nil, errors.New("no private key in PEM")
	}
	parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, nil, err
	}
	key, ok := parsed.(*ecdsa.PrivateKey)
	if !ok || key.Curve != elliptic.P256() {
		return nil, nil, errors.New("the key is not an ECDSA P-256 key")
	}
	return key, block.Headers, nil
}

// checkPublic refuses every kind of key but the one that the fleet uses, so
// that no peer can choose a weak or a costly one.
func checkPublic(public any) (*ecdsa.PublicKey, error) {
	key, ok := public.(*ecdsa.PublicKey)
	if !ok || key.Curve != elliptic.P256() {
		return nil, errors.New("the key is not an ECDSA P-256 key")
	}
	return key, nil
}

// parseCert reads exactly one certificate in PEM: a second one, which another
// reader might take for the first, is refused.
func parseCert(raw []byte) (*x509.Certificate, error) {
	block, rest := pem.Decode(raw)
	if block == nil || block.Type != pemCert {
		return nil, errors.New("no certificate in PEM")
	}
	if more, _ := pem.Decode(rest); more != nil {
		return nil, errors.New("more than one certificate in PEM")
	}
	return x509.ParseCertificate(block.Bytes)
}

func encodeCert(der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: pemCert, Bytes: der})
}
