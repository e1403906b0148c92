package identity

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base32"
	"strings"
)

const (
	secretSize = 16 // bytes: 128 bits, out of reach of guessing for good
	sumSize    = 4  // bytes: a typing error passes once in four thousand million
)

// sealed is a secret with its checksum: 20 bytes, 32 characters of base 32.
const sealedLength = (secretSize + sumSize) * 8 / 5

// text is base 32 (RFC 4648): letters and 2..7 only, fit to be read aloud.
var text = base32.StdEncoding.WithPadding(base32.NoPadding)

func newSecret() []byte {
	secret := make([]byte, secretSize)
	_, _ = rand.Read(secret)
	return secret
}

// checksum is over all that is written beside it; the label keeps a token's
// apart from a key's.
func checksum(label string, parts ...[]byte) []byte {
	sum := sha256.New()
	sum.Write([]byte(label))
	for _, p := range parts {
		sum.Write(p)
	}
	return sum.Sum(nil)[:sumSize]
}

// open splits the text of a secret with its checksum.
func open(label, s string, prefix ...[]byte) (secret []byte, ok bool) {
	raw, err := text.DecodeString(s)
	if err != nil || len(raw) != secretSize+sumSize {
		return nil, false
	}
	secret = raw[:secretSize]
	want := checksum(label, append(prefix, secret)...)
	return secret, subtle.ConstantTimeCompare(want, raw[secretSize:]) == 1
}

// weak reports a secret that no random source made: a person's pattern with a
// checksum computed for it. 16 random bytes have 8 or fewer distinct values
// about once in 10^10.
func weak(secret []byte) bool {
	distinct := 0
	for i, b := range secret {
		if bytes.IndexByte(secret, b) == i {
			distinct++
		}
	}
	if distinct <= 8 {
		return true
	}
	step := secret[1] - secret[0]
	for i := 1; i < len(secret); i++ {
		if secret[i]-secret[i-1] != step {
			return false
		}
	}
	return true
}

// tidy undoes what writing down and copying do to a credential.
func tidy(s string) string { return strings.ToUpper(strings.TrimSpace(s)) }
