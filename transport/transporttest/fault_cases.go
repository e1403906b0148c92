package transporttest

import (
	"io"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/edgeswarm/edgeswarm/transport"
)

func garbageDisturbsNobody(t *testing.T, s *suite) {
	a, b := s.pair(t)
	c := dial(t, s, a, b.Node(), transport.RPC)
	rng := rand.New(rand.NewPCG(1, 2))
	for i := range 500 {
		packet := make([]byte, 1+rng.IntN(1300))
		for j := range packet {
			packet[j] = byte(rng.Uint32())
		}
		switch i % 4 {
		case 0: // looks like QUIC version 1, an Initial
			packet[0] |= 0xc0
			copy(packet[1:], []byte{0, 0, 0, 1, 8})
		case 1: // like a version of the future
			packet[0] |= 0xc0
		case 2: // like a packet of a connection
			packet[0] = packet[0]&0x3f | 0x40
		}
		s.Garbage(t, 2, packet)
	}
	say(t, c, "undisturbed")
	hear(t, c, "undisturbed")
	other := s.open(t, 3, s.fleet.Member(t))
	other.Learn(b.Node(), s.Addr(2))
	works(t, s, other, b.Node())
}

// restart crashes host n and opens its successor.
func restart(t *testing.T, s *suite, old *node) *node {
	t.Helper()
	s.Crash(old.n)
	_ = old.Close() // which nobody hears
	return s.open(t, old.n, old.Member)
}

// restartIsNoticedByDialer: what was dialled to a process that was killed fails
// when its successor sees a packet of it, not after a time-out.
func restartIsNoticedByDialer(t *testing.T, s *suite) {
	a, b := s.pair(t)
	c := dial(t, s, a, b.Node(), transport.RPC)
	say(t, c, "1")
	hear(t, c, "1")
	b = restart(t, s, b)
	serve(t, b, transport.RPC, echo)
	say(t, c, "2")
	if err, took := ends(t, c); err == io.EOF || took > s.Idle/2 {
		t.Errorf("stream to the process before: %v in %v", err, took)
	}
	works(t, s, a, b.Node())
}

// restartIsNoticedByAcceptor: what a killed process had dialled fails when its
// successor dials.
func restartIsNoticedByAcceptor(t *testing.T, s *suite) {
	a, b := s.open(t, 1, s.fleet.Member(t)), s.open(t, 2, s.fleet.Member(t))
	a.Learn(b.Node(), s.Addr(2))
	ended := make(chan error, 4)
	serve(t, b, transport.RPC, func(c transport.Conn) {
		_, err := io.Copy(c, c)
		ended <- err
	})
	c := dial(t, s, a, b.Node(), transport.RPC)
	say(t, c, "1")
	hear(t, c, "1")
	a = restart(t, s, a)
	a.Learn(b.Node(), s.Addr(2))
	start := time.Now()
	works(t, s, a, b.Node())
	if err := <-ended; err == nil && time.Since(start) < s.Idle/2 {
		// The new stream ended first, in good order; the old one is next.
		err = <-ended
		if err == nil {
			t.Error("the old stream ended in good order")
		}
	}
	if took := time.Since(start); took > s.Idle/2 {
		t.Errorf("took %v", took)
	}
	works(t, s, a, b.Node())
}

func silentDeathIsNoticed(t *testing.T, s *suite) {
	a, b := s.pair(t)
	held := make(chan transport.Conn, 1)
	serve(t, a, transport.RPC, func(c transport.Conn) {
		held <- c
		echo(c)
	})
	b.Learn(a.Node(), s.Addr(1))
	out := dial(t, s, a, b.Node(), transport.RPC)
	in := dial(t, s, b, a.Node(), transport.RPC)
	for _, c := range []transport.Conn{out, in} {
		say(t, c, "1")
		hear(t, c, "1")
	}
	accepted := <-held
	start := time.Now()
	s.Crash(2)
	err, _ := ends(t, out)
	if err == io.EOF {
		t.Errorf("a stream to the dead: %v", err)
	}
	for buf := make([]byte, 1); ; {
		if _, err := accepted.Read(buf); err != nil {
			break
		}
	}
	if took := time.Since(start); took > s.Idle*3/2 || took < s.Idle/4 {
		t.Errorf("noticed after %v, want about %v", took, s.Idle)
	}
	ctx, cancel := soon(s)
	defer cancel()
	if _, err := a.Dial(ctx, b.Node(), transport.RPC); err == nil || ctx.Err() != nil {
		t.Errorf("dialled the dead: %v", err)
	}
}

// idleStreamsLiveOn: silence of the application is not death.
func idleStreamsLiveOn(t *testing.T, s *suite) {
	a, b := s.pair(t)
	c := dial(t, s, a, b.Node(), transport.RPC)
	say(t, c, "1")
	hear(t, c, "1")
	<-time.After(s.Idle * 3)
	say(t, c, "2")
	hear(t, c, "2")
}

func addressChangeOfDialer(t *testing.T, s *suite) {
	a, b := s.pair(t)
	serve(t, a, transport.RPC, echo)
	c := dial(t, s, a, b.Node(), transport.RPC)
	say(t, c, "1")
	hear(t, c, "1")
	now := s.Move(t, 1)
	say(t, c, "2")
	hear(t, c, "2")
	works(t, s, a, b.Node())
	if got := b.Addrs(a.Node()); len(got) == 0 || got[0] != now {
		t.Errorf("b reaches a at %v, want %v first", got, now)
	}
	works(t, s, b, a.Node())
}

func addressChangeOfAcceptor(t *testing.T, s *suite) {
	a, b := s.pair(t)
	works(t, s, a, b.Node())
	now := s.Move(t, 2)
	a.Learn(b.Node(), now)
	start := time.Now()
	for {
		ctx, cancel := soon(s)
		err := ping(ctx, a, b.Node())
		cancel()
		if err == nil {
			break
		}
		if time.Since(start) > s.Idle {
			t.Fatalf("still not reached: %v", err)
		}
	}
	if got := a.Addrs(b.Node())[0]; got != now {
		t.Errorf("a reaches b at %v, want %v", got, now)
	}
}
