package admission

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"time"

	"github.com/edgeswarm/edgeswarm/api"
	"github.com/edgeswarm/edgeswarm/identity"
	"github.com/edgeswarm/edgeswarm/transport"
)

// channelLabel names what the channel's keying material is used for.
const channelLabel = "join 1"

// secret is what can be proven: a fleet key or a join token.
type secret interface {
	Prove(role identity.Role, channel, transcript []byte) []byte
	Verify(role identity.Role, channel, transcript, proof []byte) bool
}

// talk is one conversation on a stream of transport.Join, at either end. It
// keeps the transcript: a proof covers all that was said before it.
type talk struct {
	conn    transport.Conn
	role    identity.Role
	channel []byte
	said    hash.Hash
	limit   int
	proof   []byte // beside the last message received
}

// newTalk starts a conversation that ends, one way or the other, by a deadline.
func newTalk(conn transport.Conn, role identity.Role, patience time.Duration) (*talk, error) {
	channel, err := conn.Channel(channelLabel)
	if err != nil {
		return nil, err
	}
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		return nil, err
	}
	return &talk{conn: conn, role: role, channel: channel, said: sha256.New(), limit: maxUnproven}, nil
}

func (t *talk) other() identity.Role {
	if t.role == identity.Dialer {
		return identity.Acceptor
	}
	return identity.Dialer
}

// note takes a body into the transcript, behind its length.
func (t *talk) note(body []byte) {
	var size [8]byte
	binary.BigEndian.PutUint64(size[:], uint64(len(body)))
	t.said.Write(size[:])
	t.said.Write(body)
}

// send says something, with a proof of the secret if there is one.
func (t *talk) send(v any, s secret) error {
	body, err := api.Encode(v)
	if err != nil {
		return err
	}
	t.note(body)
	f := frame{Body: body}
	if s != nil {
		if f.Proof = s.Prove(t.role, t.channel, t.said.Sum(nil)); f.Proof == nil {
			return errors.New("nothing to prove with")
		}
	}
	return writeFrame(t.conn, f)
}

// receive hears something; what it came with is left for proves.
func (t *talk) receive(v any) error {
	f, err := readFrame(t.conn, t.limit)
	if err != nil {
		return err
	}
	t.note(f.Body)
	t.proof = f.Proof
	return api.Decode(f.Body, v)
}

// proves reports whether the last message came with the other side's proof of
// the secret. From then on it may send more.
func (t *talk) proves(s secret) bool {
	if !s.Verify(t.other(), t.channel, t.said.Sum(nil), t.proof) {
		return false
	}
	t.limit = maxProven
	return true
}

// trust lifts the limit for a peer that proved itself otherwise.
func (t *talk) trust() { t.limit = maxProven }

// shownCode is what both ends make of all that was said so far.
func (t *talk) shownCode(dialer, acceptor []byte) string {
	return identity.ShownCode(t.channel, t.said.Sum(nil), dialer, acceptor)
}

// peer names who is at the other end: its ID is claimed, but it is proven to hold the key of its certificate.
func (t *talk) peer() transport.Peer { return t.conn.Peer() }

// wrap says on which conversation something failed.
func (t *talk) wrap(doing string, err error) error {
	return fmt.Errorf("%s with %s: %w", doing, t.peer().Addr, err)
}
