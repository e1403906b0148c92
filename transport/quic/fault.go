package quic

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"

	quicgo "github.com/quic-go/quic-go"

	"github.com/edgeswarm/edgeswarm/api"
	"github.com/edgeswarm/edgeswarm/transport"
)

// Codes with which a connection is closed.
const (
	codeClosed  quicgo.ApplicationErrorCode = iota // nothing is wrong
	codeRefused                                    // the certificate or Admit
	codeBusy                                       // too many unproven peers
	codeSuccessor
)

const (
	codeAbandoned quicgo.StreamErrorCode = iota // the stream was closed
	codeUnheard                                 // nobody listens for the protocol any more
)

// TLS alerts as QUIC carries them (RFC 9001, 4.8).
const (
	alertBadCertificate quicgo.TransportErrorCode = 0x100 + 42
	alertInternal       quicgo.TransportErrorCode = 0x100 + 80
	alertNoProtocol     quicgo.TransportErrorCode = 0x100 + 120
)

// maxReason is how much of a peer's words is repeated, in bytes.
const maxReason = 200

var errNoAnswer = errors.New("no answer")

const restarted = "the peer was started anew"

// explain says in our words why a connection was not made or broke. None of
// quic-go's own errors are wrapped: they claim to be net.ErrClosed, and some to
// be time-outs, and callers take either for something else.
func explain(err error) error {
	var app *quicgo.ApplicationError
	var tr *quicgo.TransportError
	var idle *quicgo.IdleTimeoutError
	var hand *quicgo.HandshakeTimeoutError
	var reset *quicgo.StatelessResetError
	var version *quicgo.VersionNegotiationError
	switch {
	case errors.As(err, &app) && (app.ErrorCode == codeRefused || app.ErrorCode == codeBusy):
		return fmt.Errorf("%w: %s", transport.ErrRefused, quote(app.ErrorMessage))
	case errors.As(err, &app) && app.ErrorCode == codeSuccessor:
		return errors.New(restarted)
	case errors.As(err, &reset):
		return errors.New("the peer knows the connection no more: it was started anew, or took us for dead")
	case errors.As(err, &app) && app.Remote:
		return errors.New("the peer closed the connection")
	case errors.As(err, &app):
		return errors.New("closed")
	case errors.As(err, &tr) && tr.Remote && tr.ErrorCode == alertBadCertificate:
		return fmt.Errorf("%w: our certificate is not accepted", transport.ErrRefused)
	case errors.As(err, &tr) && tr.Remote && (tr.ErrorCode == alertNoProtocol || tr.ErrorCode == alertInternal):
		return errors.New("the peer does not speak the protocol, or not yet")
	case errors.As(err, &idle):
		return errors.New("the peer fell silent")
	case errors.As(err, &hand):
		return errNoAnswer
	case errors.As(err, &version):
		return errors.New("the peer speaks another version of QUIC")
	case errors.Is(err, quicgo.ErrTransportClosed):
		return transport.ErrClosed
	default:
		return fmt.Errorf("%v", err)
	}
}

// quote bounds and defuses a text that a peer chose.
func quote(reason string) string {
	if len(reason) > maxReason {
		reason = reason[:maxReason] + "…"
	}
	clean := []rune(reason)
	for i, r := range clean {
		if r < ' ' || r == 0x7f || r >= 0x80 && r < 0xa0 {
			clean[i] = ' '
		}
	}
	return string(clean)
}

// streamError is what a stream's reader or writer is told.
func streamError(peer api.NodeID, err error) error {
	var stream *quicgo.StreamError
	switch {
	case err == nil, err == io.EOF, errors.Is(err, os.ErrDeadlineExceeded):
		return err
	case errors.As(err, &stream) && stream.Remote && stream.ErrorCode == codeUnheard:
		return errors.New("the peer no longer speaks the protocol")
	case errors.As(err, &stream) && stream.Remote:
		return fmt.Errorf("the peer closed the stream: %w", io.ErrClosedPipe)
	case errors.As(err, &stream), errors.Is(err, quicgo.ErrStreamClosed):
		return net.ErrClosed
	default:
		return fmt.Errorf("connection to %s: %w", api.ShortID(peer), explain(err))
	}
}
