package identity

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
)

// Role is which side of a channel proves something. The label is part of the
// proof, so one sent back to its maker proves nothing.
type Role string

// Roles on a channel.
const (
	Dialer   Role = "dialer"
	Acceptor Role = "acceptor"
)

// channelSize is the length of the keying material that names a channel.
const channelSize = 32

// prove is HMAC-SHA256 over the parts, each behind its length so that no two
// different lists of parts are the same bytes. The channel binds it to one TLS
// session: a man in the middle has two, and can't carry it over. A channel too
// short to name one proves nothing.
func prove(secret []byte, kind string, role Role, channel, transcript []byte) []byte {
	if len(channel) < channelSize || (role != Dialer && role != Acceptor) {
		return nil
	}
	mac := hmac.New(sha256.New, secret)
	for _, part := range [][]byte{[]byte("edgeswarm proof 1"), []byte(kind), []byte(role), channel, transcript} {
		var size [8]byte
		binary.BigEndian.PutUint64(size[:], uint64(len(part)))
		mac.Write(size[:])
		mac.Write(part)
	}
	return mac.Sum(nil)
}

// proves compares in constant time.
func proves(secret []byte, kind string, role Role, channel, transcript, proof []byte) bool {
	want := prove(secret, kind, role, channel, transcript)
	return want != nil && hmac.Equal(want, proof)
}
