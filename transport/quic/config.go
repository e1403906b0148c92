package quic

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"time"

	quicgo "github.com/quic-go/quic-go"

	"github.com/edgeswarm/edgeswarm/transport"
)

// Config is what an Endpoint is made with.
type Config struct {
	// PacketConn is the one UDP socket (see Listen). The endpoint closes it.
	PacketConn net.PacketConn
	// Identity is asked at every handshake, so that new credentials count at once.
	Identity transport.Identity
	// Admit decides whether a peer, dialled or dialling, may speak a protocol;
	// its error is told to the peer. On Join the peer's ID and fleet are only
	// claimed. Nil admits all that Identity verifies. It is called from many
	// goroutines at once.
	Admit func(transport.Peer, transport.Protocol) error
	// Logger, or nil for none.
	Logger *slog.Logger

	// IdleTimeout is how long a peer may be silent before it is taken for dead;
	// 0 is 5 s. Its connections then fail.
	IdleTimeout time.Duration
	// HandshakeTimeout is how long one address may take to answer; 0 is 4 s.
	HandshakeTimeout time.Duration
	// Linger is how long a dialled connection is kept without streams; 0 is 30 s.
	Linger time.Duration
}

const (
	// maxStreams is how many streams a peer may have open on one connection.
	maxStreams = 1024
	// maxJoining is how many connections of unproven peers are kept at once.
	maxJoining = 64
	// softHandshakes under way make others prove their address first;
	// maxHandshakes are the most at once.
	softHandshakes, maxHandshakes = 32, 256
	// firstStream is how long a joiner may hold a connection without using it.
	firstStream = 10 * time.Second
	// maxProbes are how many questions whether it lives a peer may ask at once;
	// probeTimeout is how long the answer may take.
	maxProbes, probeTimeout = 4, 1500 * time.Millisecond
	// farewell is how long a Join connection is kept after its stream is closed,
	// for the last bytes to arrive.
	farewell = 500 * time.Millisecond
	// stagger is how long the next address waits while one does not answer
	// (RFC 8305, 5: 250 ms).
	stagger = 250 * time.Millisecond

	// Flow control windows in bytes: at 1 Gb/s and 1 ms a round trip needs
	// 125 KB, and a board has little memory.
	streamWindow, maxStreamWindow = 256 << 10, 2 << 20
	connWindow, maxConnWindow     = 512 << 10, 4 << 20
)

func (c Config) withDefaults() (Config, error) {
	if c.PacketConn == nil || c.Identity == nil {
		return c, errors.New("open transport: Config needs PacketConn and Identity")
	}
	if c.Admit == nil {
		c.Admit = func(transport.Peer, transport.Protocol) error { return nil }
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	for _, d := range []struct {
		set      *time.Duration
		standard time.Duration
	}{{&c.IdleTimeout, 5 * time.Second}, {&c.HandshakeTimeout, 4 * time.Second}, {&c.Linger, 30 * time.Second}} {
		if *d.set <= 0 {
			*d.set = d.standard
		}
	}
	return c, nil
}

// quicConfig for dialled or accepted connections. Only dialers ping: the
// answers keep the other end content too.
func (c Config) quicConfig(dialer bool) *quicgo.Config {
	q := &quicgo.Config{
		HandshakeIdleTimeout: c.HandshakeTimeout, MaxIdleTimeout: c.IdleTimeout,
		InitialStreamReceiveWindow: streamWindow, MaxStreamReceiveWindow: maxStreamWindow,
		InitialConnectionReceiveWindow: connWindow, MaxConnectionReceiveWindow: maxConnWindow,
	}
	if dialer {
		q.KeepAlivePeriod = c.IdleTimeout * 2 / 5
		q.MaxIncomingStreams, q.MaxIncomingUniStreams = -1, 1 // the welcome
	} else {
		q.MaxIncomingStreams, q.MaxIncomingUniStreams = maxStreams, maxProbes
	}
	return q
}

// resetKey derives the key of stateless resets from the node's own, so that
// after a crash the successor can disown what it knows nothing of.
func resetKey(id transport.Identity) (*quicgo.StatelessResetKey, error) {
	der, err := x509.MarshalPKCS8PrivateKey(id.Certificate().PrivateKey)
	if err != nil {
		return nil, fmt.Errorf("derive reset key: %w", err)
	}
	mac := hmac.New(sha256.New, der)
	mac.Write([]byte("edgeswarm stateless reset 1"))
	return (*quicgo.StatelessResetKey)(mac.Sum(nil)), nil
}
