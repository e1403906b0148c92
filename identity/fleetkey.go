package identity

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"log/slog"
	"strings"

	"github.com/edgeswarm/edgeswarm/api"
)

const (
	fleetKeyPrefix = "EDGEKEY-1-"
	fleetKeyKind   = "fleet key"
)

// FleetKey is one secret on every card of a fleet: boards that hold it prove
// so to each other, and so know each other's CA without ever sending it. The
// zero value is no key.
type FleetKey struct{ secret []byte }

// GenerateFleetKey makes a key of 128 random bits.
func GenerateFleetKey() FleetKey { return FleetKey{newSecret()} }

// ParseFleetKey reads a key as Reveal wrote it, in either case. Errors are of
// kind Invalid, say what is wrong with it and what to do, and don't repeat it.
func ParseFleetKey(s string) (FleetKey, error) {
	const op = "read fleet key"
	s = tidy(s)
	body, ok := strings.CutPrefix(s, fleetKeyPrefix)
	switch {
	case s == "":
		return FleetKey{}, api.Errorf(api.Invalid, op, "it is empty; make one with `edgectl fleet-key`")
	case strings.HasPrefix(s, tokenPrefix):
		return FleetKey{}, api.Errorf(api.Invalid, op, "this is a join token; use it with `edgectl join --token`")
	case !ok:
		return FleetKey{}, api.Errorf(api.Invalid, op, "it does not begin with %s; a fleet key is generated, never chosen: make one with `edgectl fleet-key`", fleetKeyPrefix)
	case len(body) < sealedLength:
		return FleetKey{}, api.Errorf(api.Invalid, op, "%d characters are missing at its end; copy it whole", sealedLength-len(body))
	case len(body) > sealedLength:
		return FleetKey{}, api.Errorf(api.Invalid, op, "it has %d characters too many; copy it again", len(body)-sealedLength)
	}
	secret, ok := open(fleetKeyKind, body)
	if !ok {
		return FleetKey{}, api.Errorf(api.Invalid, op, "its checksum is wrong, so it was mistyped; copy it again")
	}
	if weak(secret) {
		return FleetKey{}, api.Errorf(api.Invalid, op, "it is too easy to guess; make a random one with `edgectl fleet-key`")
	}
	return FleetKey{secret}, nil
}

// IsZero reports that there is no key.
func (k FleetKey) IsZero() bool { return len(k.secret) == 0 }

// Reveal is the key in full, as it is put on cards.
func (k FleetKey) Reveal() string {
	if k.IsZero() {
		return ""
	}
	return fleetKeyPrefix + text.EncodeToString(append(k.secret[:secretSize:secretSize], checksum(fleetKeyKind, k.secret)...))
}

// String shows which key it is without telling it, so that a log or an error
// can't leak it.
func (k FleetKey) String() string {
	if k.IsZero() {
		return "no fleet key"
	}
	return "fleet key " + k.Tag()
}

// GoString keeps %#v from printing the secret.
func (k FleetKey) GoString() string { return k.String() }

// LogValue implements slog.LogValuer.
func (k FleetKey) LogValue() slog.Value { return slog.StringValue(k.String()) }

// Tag is a fingerprint of 8 characters for announcements: equal for equal
// keys, and no help in finding the key. "" for no key.
func (k FleetKey) Tag() string {
	if k.IsZero() {
		return ""
	}
	mac := hmac.New(sha256.New, k.secret)
	mac.Write([]byte("edgeswarm fleet key tag 1"))
	return strings.ToLower(text.EncodeToString(mac.Sum(nil)[:5]))
}

// Equal compares in constant time. No key equals none, not even no key.
func (k FleetKey) Equal(other FleetKey) bool {
	return !k.IsZero() && subtle.ConstantTimeCompare(k.secret, other.secret) == 1
}

// Prove shows the peer on a channel (32 bytes of its keying material) that
// this side, being role there, holds the key, and vouches for transcript. It
// is nil without a key or a channel.
func (k FleetKey) Prove(role Role, channel, transcript []byte) []byte {
	if k.IsZero() {
		return nil
	}
	return prove(k.secret, fleetKeyKind, role, channel, transcript)
}

// Verify reports whether proof was made by the peer, being role, with this key
// for this channel and transcript.
func (k FleetKey) Verify(role Role, channel, transcript, proof []byte) bool {
	return !k.IsZero() && proves(k.secret, fleetKeyKind, role, channel, transcript, proof)
}
