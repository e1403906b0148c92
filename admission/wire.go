package admission

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/edgeswarm/edgeswarm/api"
)

// version of what is said on transport.Join. The protocol's name carries the
// version of its framing; this one grows when a message gains a meaning that
// an older peer must not pass over.
const version = 1

// Limits of a message in bytes: what an unproven peer may make us read, and
// what a proven one may.
const (
	maxUnproven = 16 << 10
	maxProven   = 1 << 20
)

// frame is one message on the wire: 4 bytes of length, then this in CBOR.
type frame struct {
	Body []byte
	// Proof by who sends, over all bodies so far, this one included.
	Proof []byte `json:",omitempty"`
}

// By says how a dialer proves that it may come in.
type By string

// Ways to prove.
const (
	ByKey    By = "key"    // the fleet key, by both sides, at once
	ByToken  By = "token"  // a join token, once the acceptor has shown the CA that it pins
	ByMember By = "member" // a certificate of the fleet, though it may have expired
	ByAccept By = "accept" // nothing: it waits for an operator's word
)

// Messages in order. With a key: hello (proof), offer (proof), and perhaps
// request, answer. With a token: hello, offer, claim (proof), offer (proof),
// and the same. As a member: hello, offer, and the same. To be accepted: hello,
// offer, claim, reveal; when the operator has spoken acceptance, request, answer.
type (
	// hello opens a conversation.
	hello struct {
		Version int
		By      By
		Node    api.NodeID
		Veteran bool        `json:",omitempty"`
		Fleet   api.FleetID `json:",omitempty"`
		// Tag of the fleet key, with ByKey.
		Tag string `json:",omitempty"`
		// Yield asks whether the other lets this board found, with ByKey.
		Yield bool `json:",omitempty"`
		// Cert is the dialer's certificate in DER, with ByMember.
		Cert []byte `json:",omitempty"`
		// Name is the board's hostname, with ByAccept.
		Name string `json:",omitempty"`
	}
	// offer answers hello, or claim.
	offer struct {
		Version int
		Refusal *refusal `json:",omitempty"`
		// Cert (DER) and Root (PEM) are the acceptor's, where the dialer must
		// know them before it proves itself.
		Cert []byte `json:",omitempty"`
		Root []byte `json:",omitempty"`
		// Commit binds the acceptor to a nonce that it reveals later, with ByAccept.
		Commit []byte `json:",omitempty"`
		// Managers are where to go instead, with a refusal.
		Managers []api.ManagerAddr `json:",omitempty"`
		// Status goes only to a dialer that has proven itself.
		Status *Status `json:",omitempty"`
	}
	// claim carries the proof of a token, or the dialer's nonce with ByAccept.
	claim struct {
		Nonce []byte `json:",omitempty"`
	}
	// reveal is the acceptor's nonce.
	reveal struct{ Nonce []byte }
	// acceptance shows that an operator has read the dialer's code: the half of it
	// that was never said on the channel.
	acceptance struct{ Secret string }
	// request is what a proven dialer wants; exactly one field is set.
	request struct {
		Admit *api.AdmitRequest `json:",omitempty"`
		// Renew is a PKCS #10 request in DER for a new certificate.
		Renew []byte `json:",omitempty"`
	}
	// answer to a request.
	answer struct {
		Refusal *refusal           `json:",omitempty"`
		Admit   *api.AdmitResponse `json:",omitempty"`
		Renew   *api.Credentials   `json:",omitempty"`
	}
	// refusal is an error in one line, for a person.
	refusal struct {
		Kind api.Kind
		Line string
	}
)

// refuse makes a refusal of an error.
func refuse(err error) *refusal {
	var e *api.Error
	if errors.As(err, &e) {
		return &refusal{e.Kind, e.Err.Error()}
	}
	return &refusal{api.Internal, err.Error()}
}

// err is the refusal as an error at the side that was refused.
func (r *refusal) err(op string) error {
	kind := r.Kind
	switch kind {
	case api.NotFound, api.Conflict, api.NotLeader, api.Unavailable, api.Invalid, api.Denied:
	default:
		kind = api.Internal
	}
	return api.Errorf(kind, op, "%s", printable(r.Line))
}

// printable keeps a peer's words from commanding a terminal.
func printable(s string) string {
	out := []rune(s)
	for i, c := range out {
		if c < ' ' || c == 0x7f || (c >= 0x80 && c < 0xa0) || c == '\ufffd' {
			out[i] = '?'
		}
	}
	return string(out[:min(len(out), 400)])
}

func writeFrame(w io.Writer, f frame) error {
	raw, err := api.Encode(f)
	if err != nil {
		return err
	}
	if len(raw) > maxProven {
		return fmt.Errorf("a message of %d bytes: more than %d", len(raw), maxProven)
	}
	// One write, so that it is one packet where it fits.
	_, err = w.Write(append(binary.BigEndian.AppendUint32(make([]byte, 0, 4+len(raw)), uint32(len(raw))), raw...))
	return err
}

func readFrame(r io.Reader, limit int) (frame, error) {
	var size [4]byte
	if _, err := io.ReadFull(r, size[:]); err != nil {
		return frame{}, err
	}
	n := binary.BigEndian.Uint32(size[:])
	if n > uint32(limit) {
		return frame{}, fmt.Errorf("a message of %d bytes: more than %d", n, limit)
	}
	raw := make([]byte, n)
	if _, err := io.ReadFull(r, raw); err != nil {
		return frame{}, err
	}
	var f frame
	err := api.Decode(raw, &f)
	return f, err
}

// Time limits of a conversation. A handshake with loss takes seconds.
const (
	greetTimeout = 5 * time.Second
	// admitTimeout allows for a commit, and for an election before it.
	admitTimeout = 15 * time.Second
)
