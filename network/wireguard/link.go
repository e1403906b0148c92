package wireguard

import (
	"crypto/ecdh"
	"crypto/rand"
	"encoding/base64"
	"net/netip"
	"time"
)

// Headroom is what WireGuard's headers take of each packet: 40 of IPv6, 8 of UDP,
// 32 of its own. Over IPv4 it is 20 less, but a board may be reached over both.
const Headroom = 80

// Key is a private or a public key. The zero Key is none.
type Key [32]byte

// NewKey makes a private key.
func NewKey() (k Key, err error) {
	if _, err := rand.Read(k[:]); err != nil {
		return k, err
	}
	// As every implementation would on taking it: so that what is read back is
	// what was set (RFC 7748, section 5).
	k[0] &= 248
	k[31] = k[31]&127 | 64
	return k, nil
}

// Public is the public key of a private one.
func (k Key) Public() (public Key) {
	private, err := ecdh.X25519().NewPrivateKey(k[:])
	if err != nil {
		panic(err) // 32 bytes are always one
	}
	copy(public[:], private.PublicKey().Bytes())
	return public
}

// String is the key as people write it.
func (k Key) String() string { return base64.StdEncoding.EncodeToString(k[:]) }

// Link is a WireGuard link that is there.
type Link interface {
	State() (State, error)
	// Apply makes all of a change, or as much as was accepted before an error.
	Apply(Change) error
}

// State is what a link is set to, and how it goes.
type State struct {
	Private Key
	Port    uint16
	Peers   []Peer
}

// Peer is another end of a link.
type Peer struct {
	Key Key
	// Endpoint is where it was heard of last, else where it was said to be;
	// invalid if neither.
	Endpoint netip.AddrPort
	// Allowed are the addresses that it speaks for, in no order.
	Allowed []netip.Prefix
	// Keepalive is how often it is sent something if there is nothing to send; 0
	// is never.
	Keepalive time.Duration
	// Shaken is when it last proved itself, by the board's wall clock; zero if it
	// never did.
	Shaken time.Time
}

// Change is what to set; what is left out stays as it is.
type Change struct {
	Private *Key
	Port    uint16
	Peers   []PeerChange
}

// PeerChange is what to set of a peer, which is added if it is not there.
type PeerChange struct {
	Key      Key
	Remove   bool
	Endpoint netip.AddrPort
	// Allowed is what the peer speaks for besides, or with Replace instead of
	// what it did. It is taken from whoever spoke for it.
	Replace   bool
	Allowed   []netip.Prefix
	Keepalive *time.Duration
}
