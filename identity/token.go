package identity

import (
	"crypto/sha256"
	"crypto/subtle"
	"fmt"
	"log/slog"
	"strings"

	"github.com/edgeswarm/edgeswarm/api"
)

const (
	tokenPrefix = "EDGETKN-1-"
	tokenKind   = "join token"
	// caHashSize is how much of the SHA-256 of the CA's certificate a token
	// pins: 160 bits, so that no other CA can be made to fit.
	caHashSize   = 20
	caHashLength = caHashSize * 8 / 5
)

// Token lets a board into one fleet. It pins the fleet's CA, so that the
// joiner knows whom it speaks to, and has a secret that is proven and never
// sent. The zero value is no token.
type Token struct {
	ca     [caHashSize]byte
	secret []byte
}

// NewToken makes a token for the fleet whose CA's certificate is given in PEM.
func NewToken(rootPEM []byte) (Token, error) {
	root, err := parseRoot(rootPEM)
	if err != nil {
		return Token{}, fmt.Errorf("make join token: %w", err)
	}
	return Token{caHash(root.Raw), newSecret()}, nil
}

// ParseToken reads a token as Reveal wrote it, in either case. Errors are of
// kind Invalid, say what is wrong with it and what to do, and don't repeat it.
func ParseToken(s string) (Token, error) {
	const op = "read join token"
	s = tidy(s)
	body, ok := strings.CutPrefix(s, tokenPrefix)
	switch {
	case s == "":
		return Token{}, api.Errorf(api.Invalid, op, "it is empty; `edgectl join-token worker` on a member prints one")
	case strings.HasPrefix(s, fleetKeyPrefix):
		return Token{}, api.Errorf(api.Invalid, op, "this is a fleet key, which belongs in the card's edge.yaml; `edgectl join-token worker` on a member prints a token")
	case !ok:
		return Token{}, api.Errorf(api.Invalid, op, "it does not begin with %s; `edgectl join-token worker` on a member prints one", tokenPrefix)
	}
	hash, sealed, ok := strings.Cut(body, "-")
	if !ok || len(hash) != caHashLength || len(sealed) != sealedLength {
		return Token{}, api.Errorf(api.Invalid, op, "a part of it is missing or doubled; copy it whole")
	}
	var t Token
	raw, err := text.DecodeString(hash)
	if err != nil || len(raw) != caHashSize {
		return Token{}, api.Errorf(api.Invalid, op, "it has a character that no token has; copy it again")
	}
	copy(t.ca[:], raw)
	if t.secret, ok = open(tokenKind, sealed, raw); !ok {
		return Token{}, api.Errorf(api.Invalid, op, "its checksum is wrong, so it was mistyped; copy it again")
	}
	if weak(t.secret) {
		return Token{}, api.Errorf(api.Invalid, op, "it is too easy to guess; make a new one with `edgectl join-token --rotate worker`")
	}
	return t, nil
}

func caHash(der []byte) (hash [caHashSize]byte) {
	sum := sha256.Sum256(der)
	copy(hash[:], sum[:])
	return hash
}

// IsZero reports that there is no token.
func (t Token) IsZero() bool { return len(t.secret) == 0 }

// Reveal is the token in full, as it is handed to who may join.
func (t Token) Reveal() string {
	if t.IsZero() {
		return ""
	}
	sealed := append(t.secret[:secretSize:secretSize], checksum(tokenKind, t.ca[:], t.secret)...)
	return tokenPrefix + text.EncodeToString(t.ca[:]) + "-" + text.EncodeToString(sealed)
}

// String names the fleet's CA and leaves the secret out.
func (t Token) String() string {
	if t.IsZero() {
		return "no join token"
	}
	return "join token for CA " + strings.ToLower(text.EncodeToString(t.ca[:5]))
}

// GoString keeps %#v from printing the secret.
func (t Token) GoString() string { return t.String() }

// LogValue implements slog.LogValuer.
func (t Token) LogValue() slog.Value { return slog.StringValue(t.String()) }

// PinsCA reports whether the token is for the fleet with this CA certificate
// in PEM. A joiner proves nothing to a peer before this holds.
func (t Token) PinsCA(rootPEM []byte) bool {
	root, err := parseRoot(rootPEM)
	if err != nil || t.IsZero() {
		return false
	}
	hash := caHash(root.Raw)
	return subtle.ConstantTimeCompare(hash[:], t.ca[:]) == 1
}

// Equal compares in constant time. No token equals none, not even no token.
func (t Token) Equal(other Token) bool {
	same := subtle.ConstantTimeCompare(t.ca[:], other.ca[:]) & subtle.ConstantTimeCompare(t.secret, other.secret)
	return !t.IsZero() && same == 1
}

// Prove shows the peer on a channel that this side, being role there, holds
// the token; see FleetKey.Prove.
func (t Token) Prove(role Role, channel, transcript []byte) []byte {
	if t.IsZero() {
		return nil
	}
	return prove(t.secret, tokenKind+string(t.ca[:]), role, channel, transcript)
}

// Verify reports whether proof was made by the peer, being role, with this
// token for this channel and transcript.
func (t Token) Verify(role Role, channel, transcript, proof []byte) bool {
	return !t.IsZero() && proves(t.secret, tokenKind+string(t.ca[:]), role, channel, transcript, proof)
}
