package identity

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/edgeswarm/edgeswarm/api"
)

// Files of a Keeper. Each is complete in itself, so that no crash between two
// writes leaves halves that don't fit.
const (
	keyFile    = "key.pem"    // the key, with the node's ID as a PEM header
	memberFile = "member.pem" // this node's certificate, then the CA's

	nodeHeader = "Node"
)

// Config is what a Keeper is made with.
type Config struct {
	// Dir holds the credentials; it is made if need be.
	Dir string
	// Now is fleet time as this board knows it; it may be behind by decades.
	Now func() time.Time
}

// Keeper holds one board's credentials, on disk and in memory. It implements
// transport.Identity. Its methods may be called from any goroutine; what was
// changed is on disk when a method returns without error, and unchanged when
// it returns one.
type Keeper struct {
	cfg Config

	mu     sync.RWMutex
	node   api.NodeID
	key    *ecdsa.PrivateKey
	cert   *tls.Certificate  // never nil; self-made before membership
	root   *x509.Certificate // nil before membership
	public []byte            // PKIX, DER
}

// Open loads the credentials in a directory; in an empty one it makes a key
// and a node ID. A directory that was cut off in the middle of any change loads.
func Open(cfg Config) (*Keeper, error) {
	if cfg.Dir == "" || cfg.Now == nil {
		return nil, errors.New("open identity: Config needs Dir and Now")
	}
	k := &Keeper{cfg: cfg}
	if err := makeDir(cfg.Dir); err != nil {
		return nil, fmt.Errorf("open identity: %w", err)
	}
	for _, name := range []string{keyFile, memberFile} {
		_ = os.Remove(k.path(name) + tempSuffix) // never took effect
	}
	raw, err := os.ReadFile(k.path(keyFile))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		if _, err := os.Stat(k.path(memberFile)); err == nil {
			return nil, fmt.Errorf("open identity: %s is gone but %s is there; put the key back, or remove both to start as a new board", k.path(keyFile), memberFile)
		}
		err = k.replaceKey()
	case err == nil:
		err = k.loadKey(raw)
	}
	if err != nil {
		return nil, fmt.Errorf("open identity: %w", err)
	}
	if err := k.loadMember(); err != nil {
		return nil, fmt.Errorf("open identity: %w", err)
	}
	return k, nil
}

func (k *Keeper) path(name string) string { return filepath.Join(k.cfg.Dir, name) }

// replaceKey makes a new key and ID and takes them up. The caller holds mu or
// is alone.
func (k *Keeper) replaceKey() error {
	key, err := newKey()
	if err != nil {
		return err
	}
	raw, err := encodeKey(key, map[string]string{nodeHeader: string(api.NewID[api.NodeID]())})
	if err != nil {
		return err
	}
	if err := writeFile(k.path(keyFile), raw); err != nil {
		return fmt.Errorf("write key: %w", err)
	}
	return k.loadKey(raw)
}

func (k *Keeper) loadKey(raw []byte) error {
	key, headers, err := parseKey(raw)
	if err != nil {
		return fmt.Errorf("read %s: %w; put a backup of it back, or remove %s to start as a new board", k.path(keyFile), err, k.cfg.Dir)
	}
	node := api.NodeID(headers[nodeHeader])
	if !api.IsID(string(node)) {
		return fmt.Errorf("read %s: it names no node; put a backup of it back, or remove %s to start as a new board", k.path(keyFile), k.cfg.Dir)
	}
	public, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		return fmt.Errorf("read %s: %w", k.path(keyFile), err)
	}
	cert, err := selfMade(node, key)
	if err != nil {
		return err
	}
	k.node, k.key, k.public, k.cert, k.root = node, key, public, cert, nil
	return nil
}

// selfMade is what a board shows before a fleet certifies it: it proves the
// key and claims the ID, and nobody trusts it for more. It has no end, because
// the board's clock can't be asked.
func selfMade(node api.NodeID, key *ecdsa.PrivateKey) (*tls.Certificate, error) {
	template := &x509.Certificate{
		SerialNumber: serial(), Subject: pkix.Name{CommonName: string(node)},
		NotBefore: time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC), NotAfter: time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC), // RFC 5280, 4.1.2.5
		KeyUsage: x509.KeyUsageDigitalSignature, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, fmt.Errorf("make certificate: %w", err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("make certificate: %w", err)
	}
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}, nil
}

func (k *Keeper) loadMember() error {
	raw, err := os.ReadFile(k.path(memberFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	creds, err := splitMember(raw)
	if err == nil {
		k.cert, k.root, err = k.check(creds)
	}
	if err != nil {
		return fmt.Errorf("read %s: %w; put a backup of it back, or remove it to join the fleet anew", k.path(memberFile), err)
	}
	return nil
}

func splitMember(raw []byte) (api.Credentials, error) {
	cert, rest := pem.Decode(raw)
	if cert == nil || len(bytes.TrimSpace(rest)) == 0 {
		return api.Credentials{}, errors.New("it has not two certificates in PEM")
	}
	return api.Credentials{CertPEM: pem.EncodeToMemory(cert), RootCAPEM: rest}, nil
}

// check answers credentials ready for use if they are this node's.
func (k *Keeper) check(creds api.Credentials) (*tls.Certificate, *x509.Certificate, error) {
	root, err := parseRoot(creds.RootCAPEM)
	if err != nil {
		return nil, nil, fmt.Errorf("the CA: %w", err)
	}
	leaf, err := parseCert(creds.CertPEM)
	if err != nil {
		return nil, nil, err
	}
	node, _, err := verifyEver(root, [][]byte{leaf.Raw})
	if err != nil {
		return nil, nil, err
	}
	if node != k.node {
		return nil, nil, fmt.Errorf("the certificate is node %s's, not this node's (%s)", node, k.node)
	}
	if !k.key.PublicKey.Equal(leaf.PublicKey) {
		return nil, nil, errors.New("the certificate is for another key than this board's")
	}
	return &tls.Certificate{Certificate: [][]byte{leaf.Raw}, PrivateKey: k.key, Leaf: leaf}, root, nil
}
