package admission

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/edgeswarm/edgeswarm/api"
	"github.com/edgeswarm/edgeswarm/identity"
	"github.com/edgeswarm/edgeswarm/transport"
)

// scene is a fleet of a manager and a worker, and a stranger with a port.
type scene struct {
	w                         *world
	manager, worker, stranger *board
	fleet                     *authority
}

// play sets the scene in a bubble and runs a test in it.
func play(t *testing.T, run func(t *testing.T, s *scene)) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 1)
		s := &scene{w: w, manager: w.board(), worker: w.board(), stranger: w.board()}
		powerAll(t, s.manager, s.worker)
		members := []*board{s.manager, s.worker}
		until(t, time.Minute, "a fleet", func() bool { return together(members) })
		s.fleet = s.manager.authority()
		if s.fleet.leader != s.manager {
			s.manager, s.worker = s.worker, s.manager
		}
		s.stranger.connect()
		t.Cleanup(func() { _ = s.stranger.endpoint.Close() })
		s.stranger.key = identity.FleetKey{}
		run(t, s)
	})
}

// join lets the stranger try to get in at a board.
func (s *scene) join(t *testing.T, at *board) (*api.AdmitResponse, error) {
	return s.stranger.client().Join(t.Context(), []netip.AddrPort{at.addr})
}

// admitted answers as what the stranger was admitted, "" if it was not.
func (s *scene) admitted() api.NodeRole {
	s.fleet.mu.Lock()
	defer s.fleet.mu.Unlock()
	for _, r := range s.fleet.vouched {
		if r.Node == s.stranger.keeper.Node() {
			return r.Role
		}
	}
	return ""
}

// denied checks that the stranger stays out, with one clear line.
func (s *scene) denied(t *testing.T, err error, kind api.Kind, says string) {
	t.Helper()
	if api.KindOf(err) != kind || !strings.Contains(err.Error(), says) || strings.Contains(err.Error(), "\n") {
		t.Errorf("kind %q, error %v; want %q and %q in one line", api.KindOf(err), err, kind, says)
	}
	if role := s.admitted(); role != "" {
		t.Errorf("admitted as %s", role)
	}
}

func (s *scene) token(t *testing.T, role api.NodeRole) identity.Token {
	t.Helper()
	c := s.fleet.read()
	all, err := Tokens(&c)
	if err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(all, func(r RoleToken) bool { return r.Role == role })
	return all[i].Token
}

func TestTokensLetInAsTheirRole(t *testing.T) {
	for _, role := range []api.NodeRole{api.RoleWorker, api.RoleManager} {
		play(t, func(t *testing.T, s *scene) {
			s.stranger.token = s.token(t, role)
			r, err := s.join(t, s.manager)
			if err != nil {
				t.Fatal(err)
			}
			if err := s.stranger.keeper.Adopt(r.Credentials); err != nil || s.stranger.keeper.Fleet() != s.fleet.cluster.ID || s.admitted() != role {
				t.Errorf("adopt: %v; admitted as %q, want %q", err, s.admitted(), role)
			}
		})
	}
}

func TestWorkersPointToManagers(t *testing.T) {
	play(t, func(t *testing.T, s *scene) {
		s.stranger.token = s.token(t, api.RoleWorker)
		if _, err := s.join(t, s.worker); err != nil || s.admitted() != api.RoleWorker {
			t.Errorf("by token: %v", err)
		}
	})
	play(t, func(t *testing.T, s *scene) {
		s.stranger.key = s.w.key
		if _, err := s.join(t, s.worker); err != nil || s.admitted() != api.RoleAuto {
			t.Errorf("by key: %v", err)
		}
	})
	play(t, func(t *testing.T, s *scene) {
		s.stranger.token = s.token(t, api.RoleWorker)
		s.manager.stop()
		_, err := s.join(t, s.worker)
		s.denied(t, err, api.Unavailable, "no manager of the fleet answers")
	})
}

func TestTokensThatDontFit(t *testing.T) {
	play(t, func(t *testing.T, s *scene) { // rotated
		s.stranger.token = s.token(t, api.RoleWorker)
		next, err := identity.NewToken(s.fleet.cluster.RootCA.CertPEM)
		if err != nil {
			t.Fatal(err)
		}
		s.fleet.mu.Lock()
		s.fleet.cluster.JoinTokens.Worker.Token = next.Reveal()
		s.fleet.mu.Unlock()
		_, err = s.join(t, s.manager)
		s.denied(t, err, api.Denied, "not valid here, or no longer")
	})
	play(t, func(t *testing.T, s *scene) { // expired
		s.stranger.token = s.token(t, api.RoleWorker)
		s.fleet.mu.Lock()
		s.fleet.cluster.JoinTokens.Worker.Expires = time.Now().Add(-time.Second)
		s.fleet.mu.Unlock()
		_, err := s.join(t, s.manager)
		s.denied(t, err, api.Denied, "expired at 2000-01-01T")
	})
	play(t, func(t *testing.T, s *scene) { // another fleet's: nothing is proven to this one
		ca, err := identity.NewCA(api.NewID[api.FleetID](), time.Now())
		if err != nil {
			t.Fatal(err)
		}
		if s.stranger.token, err = identity.NewToken(ca.Root().CertPEM); err != nil {
			t.Fatal(err)
		}
		_, err = s.join(t, s.manager)
		s.denied(t, err, api.Denied, "for another fleet")
	})
	play(t, func(t *testing.T, s *scene) { // no fleet there yet
		s.stranger.token = s.token(t, api.RoleWorker)
		lonely := s.w.board()
		lonely.key = identity.FleetKey{}
		powerAll(t, lonely)
		_, err := s.join(t, lonely)
		s.denied(t, err, api.Unavailable, "belongs to no fleet yet")
	})
}

func TestJoinerWithoutClockOrWithAWrongOne(t *testing.T) {
	for _, off := range []time.Duration{-50, 50} {
		play(t, func(t *testing.T, s *scene) {
			s.stranger.clock = off * 365 * 24 * time.Hour
			s.stranger.token = s.token(t, api.RoleWorker)
			if _, err := s.join(t, s.manager); err != nil {
				t.Errorf("%d years off: %v", off, err)
			}
		})
	}
}

func TestKeysThatDontFit(t *testing.T) {
	play(t, func(t *testing.T, s *scene) {
		s.stranger.key = identity.GenerateFleetKey()
		for _, at := range []*board{s.manager, s.worker} {
			_, err := s.join(t, at)
			s.denied(t, err, api.Denied, "not the one in use here")
		}
	})
	play(t, func(t *testing.T, s *scene) {
		_, err := s.join(t, s.manager)
		s.denied(t, err, api.Invalid, "neither a fleet key nor a join token")
	})
}

// TestUnprovenGetNothing speaks raw frames and looks at all that comes back.
func TestUnprovenGetNothing(t *testing.T) {
	other := identity.GenerateFleetKey()
	for name, h := range map[string]hello{
		"the right tag, no proof":   {By: ByKey, Tag: "right"},
		"the right tag, other key":  {By: ByKey, Tag: "right", Cert: []byte("prove")},
		"another tag":               {By: ByKey, Tag: other.Tag(), Cert: []byte("prove")},
		"a self-made certificate":   {By: ByMember, Cert: []byte("own")},
		"no kind of proof":          {},
		"another's name":            {By: ByKey, Node: api.NewID[api.NodeID]()},
		"a version of nowhere":      {Version: -1, By: ByKey},
		"a certificate of nonsense": {By: ByMember, Cert: bytes.Repeat([]byte{0x30}, 900)},
	} {
		t.Run(name, func(t *testing.T) {
			play(t, func(t *testing.T, s *scene) {
				conn, err := s.stranger.endpoint.DialAddr(t.Context(), s.manager.addr)
				if err != nil {
					t.Fatal(err)
				}
				defer conn.Close()
				k, err := newTalk(conn, identity.Dialer, greetTimeout)
				if err != nil {
					t.Fatal(err)
				}
				var with secret
				if string(h.Cert) == "prove" {
					h.Cert, with = nil, other
				}
				if string(h.Cert) == "own" {
					h.Cert = s.stranger.keeper.Certificate().Certificate[0]
				}
				if h.Tag == "right" {
					h.Tag = s.w.key.Tag()
				}
				if h.Node == "" {
					h.Node = s.stranger.keeper.Node()
				}
				if h.Version == 0 {
					h.Version = version
				}
				if err := k.send(h, with); err != nil {
					t.Fatal(err)
				}
				var o offer
				if err := k.receive(&o); err != nil {
					t.Fatal(err)
				}
				if o.Refusal == nil || o.Status != nil || o.Cert != nil || o.Root != nil || o.Managers != nil || k.proof != nil {
					t.Errorf("an unproven board was told %+v", o)
				}
				if err := k.send(request{Admit: &api.AdmitRequest{}}, nil); err == nil {
					if err := k.receive(&answer{}); err == nil {
						t.Error("an unproven request was answered")
					}
				}
				if s.admitted() != "" {
					t.Error("admitted")
				}
			})
		})
	}
}

// impostor is a board that claims another's ID, with a key of its own.
func (w *world) impostor(t *testing.T, as *board) *board {
	t.Helper()
	b := w.board()
	path := filepath.Join(w.dir, fmt.Sprint(b.name), "key.pem")
	raw, err := os.ReadFile(path)
	if err == nil {
		err = os.WriteFile(path, bytes.ReplaceAll(raw, []byte(b.keeper.Node()), []byte(as.keeper.Node())), 0o600)
	}
	if err == nil {
		b.keeper, err = identity.Open(identity.Config{Dir: filepath.Dir(path), Now: b.now})
	}
	if err != nil || b.keeper.Node() != as.keeper.Node() {
		t.Fatalf("no impostor: %v", err)
	}
	b.connect()
	t.Cleanup(func() { _ = b.endpoint.Close() })
	return b
}

// relay makes a man in the middle: to the stranger he claims to be the
// manager, to the manager the stranger, and he carries every byte across.
func (s *scene) relay(t *testing.T) (front *board, carried *atomic.Int64) {
	front, back, carried := s.w.impostor(t, s.manager), s.w.impostor(t, s.stranger), new(atomic.Int64)
	listener, err := front.endpoint.Listen(transport.Join)
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	carry := func(to, from transport.Conn) {
		n, _ := io.Copy(to, from)
		carried.Add(n)
		_ = to.CloseWrite()
	}
	wg.Go(func() {
		for {
			in, err := listener.Accept()
			if err != nil {
				return
			}
			out, err := back.endpoint.DialAddr(context.Background(), s.manager.addr)
			if err != nil {
				t.Errorf("the man in the middle gets no connection: %v", err)
				_ = in.Close()
				return
			}
			wg.Go(func() { carry(out, in) })
			wg.Go(func() { carry(in, out); _ = in.Close(); _ = out.Close() })
		}
	})
	t.Cleanup(func() { _ = listener.Close(); _ = front.endpoint.Close(); _ = back.endpoint.Close(); wg.Wait() })
	return front, carried
}

func TestManInTheMiddleGetsNobodyIn(t *testing.T) {
	for _, by := range []By{ByKey, ByToken} {
		t.Run(string(by), func(t *testing.T) {
			play(t, func(t *testing.T, s *scene) {
				if by == ByKey {
					s.stranger.key = s.w.key
				} else {
					s.stranger.token = s.token(t, api.RoleWorker)
				}
				front, carried := s.relay(t)
				// Denied, not unreachable: every byte came through, and proved nothing.
				_, err := s.join(t, front)
				says := map[By]string{ByKey: "not the one in use here", ByToken: "is not of the fleet"}
				s.denied(t, err, api.Denied, says[by])
				until(t, time.Minute, "the bytes were carried", func() bool { return carried.Load() > 100 })
				// The same board without him gets in.
				if _, err := s.join(t, s.manager); err != nil {
					t.Error(err)
				}
			})
		})
	}
}

// TestProofSentBackIsNone: who does not know the key can't echo ours.
func TestProofSentBackIsNone(t *testing.T) {
	play(t, func(t *testing.T, s *scene) {
		s.stranger.key = s.w.key
		echo := s.w.board()
		echo.connect()
		listener, err := echo.endpoint.Listen(transport.Join)
		if err != nil {
			t.Fatal(err)
		}
		done := make(chan struct{})
		go func() {
			defer close(done)
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			f, err := readFrame(conn, maxUnproven)
			if err != nil {
				t.Error(err)
			}
			body, _ := api.Encode(offer{Version: version, Status: &Status{Node: echo.keeper.Node(), Member: true, Manager: true, Ready: true, Fleet: s.fleet.cluster.ID}})
			_ = writeFrame(conn, frame{Body: body, Proof: f.Proof})
			_ = conn.CloseWrite()
			_, _ = io.Copy(io.Discard, conn)
			_ = conn.Close()
		}()
		_, err = s.stranger.client().Greet(t.Context(), []netip.AddrPort{echo.addr}, false)
		if api.KindOf(err) != api.Denied {
			t.Errorf("an echo was believed: %v", err)
		}
		_ = listener.Close()
		<-done
		_ = echo.endpoint.Close()
	})
}

// TestRequestForAnother: a proven board can't have another's name or key certified.
func TestRequestForAnother(t *testing.T) {
	play(t, func(t *testing.T, s *scene) {
		s.stranger.key = s.w.key
		c := s.stranger.client()
		k, err := c.open(t.Context(), []netip.AddrPort{s.manager.addr}, ByKey, false)
		if err != nil {
			t.Fatal(err)
		}
		defer k.close()
		csr, err := s.worker.keeper.CSR()
		if err != nil {
			t.Fatal(err)
		}
		_, err = k.ask(request{Admit: &api.AdmitRequest{Node: s.worker.keeper.Node(), CSR: csr}})
		s.denied(t, err, api.Invalid, "not for the board that makes it")
	})
	play(t, func(t *testing.T, s *scene) { // nor renew with a key's proof
		s.stranger.key = s.w.key
		k, err := s.stranger.client().open(t.Context(), []netip.AddrPort{s.manager.addr}, ByKey, false)
		if err != nil {
			t.Fatal(err)
		}
		defer k.close()
		csr, err := s.stranger.keeper.CSR()
		if err != nil {
			t.Fatal(err)
		}
		_, err = k.ask(request{Renew: csr})
		s.denied(t, err, api.Denied, "not proven to be allowed")
	})
}

func TestRenewalAfterALongSleep(t *testing.T) {
	play(t, func(t *testing.T, s *scene) {
		s.worker.stop()
		time.Sleep(30 * time.Hour)
		s.worker.connect()
		defer s.worker.endpoint.Close()
		if !time.Now().After(s.worker.keeper.Expires()) {
			t.Fatal("the certificate has not expired")
		}
		at := []netip.AddrPort{s.manager.addr}
		creds, err := s.worker.client().Renew(t.Context(), at)
		if err != nil {
			t.Fatal(err)
		}
		if err := s.worker.keeper.Adopt(*creds); err != nil || !s.worker.keeper.Expires().After(time.Now()) {
			t.Errorf("adopt: %v; it expires %v", err, s.worker.keeper.Expires())
		}
		// One that was removed meanwhile gets none.
		s.fleet.mu.Lock()
		delete(s.fleet.members, s.worker.keeper.Node())
		s.fleet.mu.Unlock()
		_, err = s.worker.client().Renew(t.Context(), at)
		if api.KindOf(err) != api.NotFound || !strings.Contains(err.Error(), "was removed") {
			t.Errorf("removed: %v", err)
		}
		// Nor does a stranger.
		if _, err := s.stranger.client().Renew(t.Context(), at); err == nil {
			t.Error("a stranger was certified")
		}
	})
}

func TestGarbageAtTheDoor(t *testing.T) {
	play(t, func(t *testing.T, s *scene) {
		huge := binary.BigEndian.AppendUint32(nil, 1<<31)
		for _, raw := range [][]byte{nil, {0}, bytes.Repeat([]byte{0xff}, 4096), huge, append(binary.BigEndian.AppendUint32(nil, 3), 0x9f, 0xff, 0xff), []byte("GET / HTTP/1.1\r\n\r\n")} {
			conn, err := s.stranger.endpoint.DialAddr(t.Context(), s.manager.addr)
			if err != nil {
				t.Fatal(err)
			}
			_, _ = conn.Write(raw)
			_ = conn.CloseWrite()
			_ = conn.SetReadDeadline(time.Now().Add(time.Minute))
			if got, err := io.ReadAll(conn); len(got) != 0 || err != nil && !errors.Is(err, io.EOF) && strings.Contains(err.Error(), "deadline") {
				t.Errorf("%q was answered with %q, %v", raw[:min(len(raw), 16)], got, err)
			}
			_ = conn.Close()
		}
		// Who says nothing is not waited for, however many there are.
		var quiet []transport.Conn
		for range maxCallers + 4 {
			conn, err := s.stranger.endpoint.DialAddr(t.Context(), s.manager.addr)
			if err != nil {
				break // the transport bounds them too
			}
			quiet = append(quiet, conn)
		}
		polite := s.w.board()
		polite.connect()
		defer polite.endpoint.Close()
		if _, err := polite.client().Join(t.Context(), []netip.AddrPort{s.manager.addr}); err != nil {
			t.Errorf("beside the silent ones: %v", err)
		}
		time.Sleep(greetTimeout + 15*time.Second)
		s.stranger.key = s.w.key
		if _, err := s.join(t, s.manager); err != nil {
			t.Errorf("after garbage and silence: %v", err)
		}
		for _, c := range quiet {
			_ = c.Close()
		}
	})
}

func TestFailedProofsAreSlowedDown(t *testing.T) {
	play(t, func(t *testing.T, s *scene) {
		s.stranger.key = identity.GenerateFleetKey()
		at := []netip.AddrPort{s.manager.addr}
		for range freeFailures {
			if _, err := s.stranger.client().Greet(t.Context(), at, false); api.KindOf(err) != api.Denied {
				t.Fatal(err)
			}
		}
		s.stranger.key = s.w.key // now the right one, from the same place
		_, err := s.stranger.client().Greet(t.Context(), at, false)
		if api.KindOf(err) != api.Unavailable || !strings.Contains(err.Error(), "too many failed proofs") {
			t.Errorf("not slowed down: %v", err)
		}
		time.Sleep(firstBlock)
		if _, err := s.stranger.client().Greet(t.Context(), at, false); err != nil {
			t.Errorf("after the wait: %v", err)
		}
	})
}

func TestLimiterForgetsAndBounds(t *testing.T) {
	l, now := newLimiter(), time.Now()
	for i := range 3 * maxSources {
		l.fail(netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)}), now)
	}
	if len(l.sources) > maxSources {
		t.Errorf("%d sources are remembered", len(l.sources))
	}
	a, b := netip.MustParseAddr("2001:db8::1"), netip.MustParseAddr("2001:db8::ffff:1")
	for range 20 {
		l.fail(a, now)
	}
	if wait := l.blocked(b, now); wait != longestBlock {
		t.Errorf("one host with many addresses waits %v", wait)
	}
	l.pass(b)
	if l.blocked(a, now) != 0 {
		t.Error("a proof does not clear its source")
	}
}
