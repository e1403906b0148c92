package agent

import (
	"crypto/cipher"
	"crypto/rand"
	"errors"
	"fmt"

	"github.com/edgeswarm/edgeswarm/api"
)

// sealedMark begins what is sealed on disk; no encoding of an item begins so.
const sealedMark = 0x00

var errUnsealed = errors.New("sealed with another key")

// encodeItem renders an item for the disk: a secret only as this node can read it.
func encodeItem(item api.Item, seal cipher.AEAD) ([]byte, error) {
	raw, err := api.Encode(item)
	if err != nil || item.Secret == nil {
		return raw, err
	}
	if seal == nil {
		return nil, errors.New("no key to seal a secret with")
	}
	nonce := make([]byte, seal.NonceSize())
	_, _ = rand.Read(nonce) // never fails: see crypto/rand
	return seal.Seal(append([]byte{sealedMark}, nonce...), nonce, raw, nil), nil
}

// decodeItem is the inverse. The error wraps errUnsealed if the item is sealed
// and not for this key.
func decodeItem(raw []byte, seal cipher.AEAD) (item api.Item, err error) {
	if len(raw) > 0 && raw[0] == sealedMark {
		if seal == nil || len(raw) < 1+seal.NonceSize() {
			return item, errUnsealed
		}
		nonce, rest := raw[1:1+seal.NonceSize()], raw[1+seal.NonceSize():]
		if raw, err = seal.Open(nil, nonce, rest, nil); err != nil {
			return item, fmt.Errorf("%w: %w", errUnsealed, err)
		}
	}
	return item, api.Decode(raw, &item)
}
