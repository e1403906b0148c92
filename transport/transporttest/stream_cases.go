package transporttest

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/edgeswarm/edgeswarm/transport"
)

// unreadStreamsGiveTheirCreditBack makes more calls than there are streams and
// leaves more unread than there is credit, at both ends.
func unreadStreamsGiveTheirCreditBack(t *testing.T, s *suite) {
	a, b := s.open(t, 1, s.fleet.Member(t)), s.open(t, 2, s.fleet.Member(t))
	a.Learn(b.Node(), s.Addr(2))
	junk := bytes.Repeat([]byte("junk"), 4<<10)
	serve(t, b, transport.RPC, func(c transport.Conn) {
		hear(t, c, "?") // and no more of what comes
		say(t, c, "!")
		_, _ = c.Write(junk)
	})
	for i := range 1500 {
		ctx, cancel := context.WithTimeout(s.ctx, 10*time.Second)
		c, err := a.Dial(ctx, b.Node(), transport.RPC)
		cancel()
		if err != nil {
			t.Fatalf("call %d: %v", i, err)
		}
		say(t, c, "?")
		_, _ = c.Write(junk)
		_ = c.SetReadDeadline(time.Now().Add(10 * time.Second))
		hear(t, c, "!") // and no more
		_ = c.Close()
	}
}

func manyStreamsAtOnce(t *testing.T, s *suite) {
	a, b := s.pair(t)
	var all sync.WaitGroup
	for i := range 200 {
		all.Go(func() {
			c, err := a.Dial(s.ctx, b.Node(), transport.RPC)
			if err != nil {
				t.Error(err)
				return
			}
			defer c.Close()
			text := fmt.Sprintf("stream %d %s", i, bytes.Repeat([]byte("."), 5000))
			if _, err := io.WriteString(c, text); err != nil {
				t.Error(err)
				return
			}
			got := make([]byte, len(text))
			if _, err := io.ReadFull(c, got); err != nil || string(got) != text {
				t.Errorf("stream %d: %v", i, err)
			}
		})
	}
	all.Wait()
}

func halfClose(t *testing.T, s *suite) {
	a, b := s.open(t, 1, s.fleet.Member(t)), s.open(t, 2, s.fleet.Member(t))
	a.Learn(b.Node(), s.Addr(2))
	serve(t, b, transport.RPC, func(c transport.Conn) {
		all, err := io.ReadAll(c)
		fmt.Fprintf(c, "%d bytes, %v", len(all), err)
	})
	c := dial(t, s, a, b.Node(), transport.RPC)
	say(t, c, "12345")
	if err := c.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(c); string(got) != "5 bytes, <nil>" || err != nil {
		t.Errorf("heard %q, %v", got, err)
	}
	if _, err := c.Write([]byte("more")); err == nil {
		t.Error("wrote behind the end")
	}
}

func closeDeliversWhatWasWritten(t *testing.T, s *suite) {
	a, b := s.open(t, 1, s.fleet.Member(t)), s.open(t, 2, s.fleet.Member(t))
	a.Learn(b.Node(), s.Addr(2))
	type result struct {
		sum [32]byte
		n   int
		err error
	}
	arrived := make(chan result, 1)
	serve(t, b, transport.Blob, func(c transport.Conn) {
		all, err := io.ReadAll(c)
		arrived <- result{sha256.Sum256(all), len(all), err}
	})
	c := dial(t, s, a, b.Node(), transport.Blob)
	blob := bytes.Repeat([]byte("0123456789abcdef"), 300_000)
	if _, err := c.Write(blob); err != nil {
		t.Fatal(err)
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	if r := <-arrived; r.sum != sha256.Sum256(blob) || r.err != nil {
		t.Errorf("%d of %d bytes, %v", r.n, len(blob), r.err)
	}
}

func closeFreesReaderAndWriter(t *testing.T, s *suite) {
	a, b := s.open(t, 1, s.fleet.Member(t)), s.open(t, 2, s.fleet.Member(t))
	a.Learn(b.Node(), s.Addr(2))
	release, ended := make(chan struct{}), make(chan error, 1)
	defer close(release)
	serve(t, b, transport.RPC, func(c transport.Conn) {
		hear(t, c, "x")
		say(t, c, "y")
		<-release // reads nothing
		_, err := io.Copy(io.Discard, c)
		ended <- err
	})
	c := dial(t, s, a, b.Node(), transport.RPC)
	say(t, c, "x")
	hear(t, c, "y")
	freed := make(chan error, 2)
	go func() {
		_, err := c.Read(make([]byte, 1))
		freed <- err
	}()
	go func() {
		_, err := c.Write(make([]byte, 32<<20))
		freed <- err
	}()
	time.AfterFunc(300*time.Millisecond, func() { _ = c.Close() })
	for range 2 {
		if err := <-freed; !errors.Is(err, net.ErrClosed) {
			t.Errorf("after Close: %v", err)
		}
	}
	_ = c.Close()
	release <- struct{}{}
	if err := <-ended; err == nil {
		t.Error("a write that was cut off looks like an orderly end")
	}
}

func deadlines(t *testing.T, s *suite) {
	a, b := s.pair(t)
	c := dial(t, s, a, b.Node(), transport.RPC)
	_ = c.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
	if _, err := c.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("Read: %v", err)
	}
	_ = c.SetReadDeadline(time.Now().Add(10 * time.Second))
	say(t, c, "again")
	hear(t, c, "again")
}

func listenerClose(t *testing.T, s *suite) {
	a, b := s.open(t, 1, s.fleet.Member(t)), s.open(t, 2, s.fleet.Member(t))
	a.Learn(b.Node(), s.Addr(2))
	l, err := b.Listen(transport.RPC)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.Listen(transport.RPC); err == nil {
		t.Error("listened twice for one protocol")
	}
	unheard := dial(t, s, a, b.Node(), transport.RPC)
	ended := make(chan error, 1)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				ended <- err
				return
			}
			defer c.Close()
		}
	}()
	late := dial(t, s, a, b.Node(), transport.RPC)
	time.AfterFunc(100*time.Millisecond, func() { _ = l.Close() })
	if err := <-ended; !errors.Is(err, net.ErrClosed) {
		t.Errorf("Accept: %v", err)
	}
	if _, err := l.Accept(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Accept again: %v", err)
	}
	for _, c := range []transport.Conn{unheard, late, dial(t, s, a, b.Node(), transport.RPC)} {
		if err, took := ends(t, c); err == nil || took > time.Second {
			t.Errorf("stream that nobody takes: %v in %v", err, took)
		}
	}
	serve(t, b, transport.RPC, echo)
	works(t, s, a, b.Node())
}

func nobodyListens(t *testing.T, s *suite) {
	a, b := s.pair(t)
	ctx, cancel := soon(s)
	defer cancel()
	if _, err := a.Dial(ctx, b.Node(), transport.Raft); err == nil || ctx.Err() != nil {
		t.Errorf("Dial: %v", err)
	}
	works(t, s, a, b.Node())
}

func endpointClose(t *testing.T, s *suite) {
	a, b := s.pair(t)
	c := dial(t, s, a, b.Node(), transport.RPC)
	mine := dial(t, s, a, b.Node(), transport.RPC)
	say(t, c, "x")
	hear(t, c, "x")
	l, err := b.Listen(transport.Blob)
	if err != nil {
		t.Fatal(err)
	}
	if err := b.Close(); err != nil {
		t.Errorf("Close: %v", err)
	}
	if err := b.Close(); err != nil {
		t.Errorf("second Close: %v", err)
	}
	if err, took := ends(t, c); err == nil || errors.Is(err, net.ErrClosed) || took > s.Idle/2 {
		t.Errorf("stream to a closed endpoint: %v in %v", err, took)
	}
	if _, err := l.Accept(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Accept: %v", err)
	}
	if _, err := b.Dial(s.ctx, a.Node(), transport.RPC); !errors.Is(err, transport.ErrClosed) {
		t.Errorf("Dial: %v", err)
	}
	if _, err := b.DialAddr(s.ctx, s.Addr(1)); !errors.Is(err, transport.ErrClosed) {
		t.Errorf("DialAddr: %v", err)
	}
	if _, err := b.Listen(transport.Raft); !errors.Is(err, transport.ErrClosed) {
		t.Errorf("Listen: %v", err)
	}
	_ = a.Close()
	if _, err := mine.Write([]byte("x")); err == nil {
		t.Error("wrote through a closed endpoint")
	}
}

func cancelledDial(t *testing.T, s *suite) {
	a := s.open(t, 1, s.fleet.Member(t))
	a.Learn("b", s.Nowhere)
	for name, d := range map[string]func(context.Context) error{
		"Dial":     func(ctx context.Context) error { _, err := a.Dial(ctx, "b", transport.RPC); return err },
		"DialAddr": func(ctx context.Context) error { _, err := a.DialAddr(ctx, s.Nowhere); return err },
	} {
		ctx, cancel := context.WithTimeout(s.ctx, 200*time.Millisecond)
		start := time.Now()
		err := d(ctx)
		cancel()
		if took := time.Since(start); !errors.Is(err, context.DeadlineExceeded) || took > time.Second {
			t.Errorf("%s: %v in %v", name, err, took)
		}
		if err := d(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%s with a context that has ended: %v", name, err)
		}
	}
	ctx, cancel := soon(s)
	defer cancel()
	if _, err := a.Dial(ctx, "b", transport.RPC); err == nil || ctx.Err() != nil {
		t.Errorf("an address that answers nothing: %v", err)
	}
}
