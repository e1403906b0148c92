package identity

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"fmt"
)

// Sealer encrypts what this board keeps on disk for itself alone, with a key
// (AES-256-GCM) that is derived from the board's own: it lasts until Reset.
// Each Seal needs a nonce of its own; random ones are safe for 2^32 uses.
func (k *Keeper) Sealer() (cipher.AEAD, error) {
	k.mu.RLock()
	secret, err := k.key.Bytes()
	k.mu.RUnlock()
	if err != nil {
		return nil, fmt.Errorf("derive sealing key: %w", err)
	}
	derived, err := hkdf.Key(sha256.New, secret, nil, "edgeswarm seal 1", 32)
	if err != nil {
		return nil, fmt.Errorf("derive sealing key: %w", err)
	}
	block, err := aes.NewCipher(derived)
	if err != nil {
		return nil, fmt.Errorf("derive sealing key: %w", err)
	}
	return cipher.NewGCM(block)
}
