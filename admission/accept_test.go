package admission

import (
	"context"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/edgeswarm/edgeswarm/api"
	"github.com/edgeswarm/edgeswarm/identity"
	"github.com/edgeswarm/edgeswarm/transport"
)

// application is the stranger's wait at a door.
type application struct {
	codes chan identity.Code
	ended chan error
	resp  *api.AdmitResponse
}

// apply lets the stranger wait at a board.
func (s *scene) apply(t *testing.T, at *board) *application {
	a := &application{codes: make(chan identity.Code, 1), ended: make(chan error, 1)}
	ctx, cancel := context.WithCancel(context.Background())
	over := make(chan struct{})
	go func() {
		defer close(over)
		resp, err := s.stranger.client().Apply(ctx, []netip.AddrPort{at.addr}, "porch", func(c identity.Code) { a.codes <- c })
		a.resp = resp
		a.ended <- err
	}()
	t.Cleanup(func() { cancel(); <-over })
	return a
}

// code waits until the stranger shows one and the door knows its half.
func (a *application) code(t *testing.T, at *board) identity.Code {
	t.Helper()
	select {
	case code := <-a.codes:
		until(t, time.Minute, "the board waits", func() bool {
			return slices.ContainsFunc(at.door.Waiting(), func(w Waiter) bool { return w.Shown == code.Shown() })
		})
		return code
	case err := <-a.ended:
		t.Fatalf("the board does not wait: %v", err)
		panic("unreachable")
	}
}

func parse(t *testing.T, text string) identity.Code {
	t.Helper()
	code, err := identity.ParseCode(text)
	if err != nil {
		t.Fatal(err)
	}
	return code
}

func TestAnOperatorLetsABoardIn(t *testing.T) {
	for _, role := range []api.NodeRole{api.RoleAuto, api.RoleWorker} {
		play(t, func(t *testing.T, s *scene) {
			for _, at := range []*board{s.manager, s.worker} { // a worker names its manager
				a := s.apply(t, at)
				code := a.code(t, s.manager)
				w := s.manager.door.Waiting()
				if len(w) != 1 || w[0].Node != s.stranger.keeper.Node() || w[0].Hostname != "porch" || w[0].Addr.Addr() != s.stranger.addr.Addr() {
					t.Errorf("who waits: %+v", w)
				}
				time.Sleep(waitLimit - time.Minute) // the operator is away for a while
				typed := parse(t, strings.ToLower(strings.ReplaceAll(code.Reveal(), "-", " ")))
				if _, err := s.manager.door.Accept(t.Context(), typed, role); err != nil {
					t.Fatal(err)
				}
				if err := <-a.ended; err != nil {
					t.Fatal(err)
				}
				if got := s.admitted(); got != role || a.resp.Fleet.ID != s.fleet.cluster.ID || len(s.manager.door.Waiting()) > 0 {
					t.Errorf("admitted as %q and not %q, to fleet %s", got, role, a.resp.Fleet.ID)
				}
				_, err := s.manager.door.Accept(t.Context(), typed, role)
				if api.KindOf(err) != api.NotFound || strings.Contains(err.Error(), "\n") {
					t.Errorf("the code works twice: %v", err)
				}
			}
			if err := s.stranger.keeper.Adopt(s.apply(t, s.manager).letIn(t, s).Credentials); err != nil {
				t.Error(err)
			}
		})
	}
}

func (a *application) letIn(t *testing.T, s *scene) *api.AdmitResponse {
	t.Helper()
	if _, err := s.manager.door.Accept(t.Context(), a.code(t, s.manager), api.RoleAuto); err != nil {
		t.Fatal(err)
	}
	if err := <-a.ended; err != nil {
		t.Fatal(err)
	}
	return a.resp
}

// The half that the fleet knows names the board; the half that it does not
// know lets it in. A wrong one uses the code up.
func TestAWrongCode(t *testing.T) {
	play(t, func(t *testing.T, s *scene) {
		a := s.apply(t, s.manager)
		code := a.code(t, s.manager)
		other := "00000"
		if code.Secret() == other || code.Shown() == other {
			other = "11111"
		}
		_, err := s.manager.door.Accept(t.Context(), parse(t, other+code.Secret()), api.RoleAuto)
		s.denied(t, err, api.NotFound, "no board waits")
		if len(s.manager.door.Waiting()) != 1 {
			t.Error("another's code ended the wait")
		}
		_, err = s.manager.door.Accept(t.Context(), parse(t, code.Shown()+other), api.RoleAuto)
		s.denied(t, err, api.Denied, "did not take the code")
		if err := <-a.ended; api.KindOf(err) != api.Denied || !strings.Contains(err.Error(), errWrongCode.Error()) {
			t.Errorf("the board: %v", err)
		}
		_, err = s.manager.door.Accept(t.Context(), code, api.RoleAuto)
		s.denied(t, err, api.NotFound, "no board waits")
	})
}

// evil is a board that founded a fleet of its own, to sit in the middle.
func (s *scene) evil(t *testing.T) *board {
	b := s.w.board()
	b.key = identity.GenerateFleetKey()
	powerAll(t, b)
	until(t, 5*time.Minute, "a fleet of its own", func() bool { return fleetOf(b) != "" })
	return b
}

// A man in the middle speaks to the board as a fleet, and to the fleet as the
// board. The two ends show different codes, so that what the operator reads at
// one opens nothing at the other; and he can't let the board in by himself.
func TestAManInTheMiddleShowsAnotherCode(t *testing.T) {
	play(t, func(t *testing.T, s *scene) {
		front := s.evil(t)
		back := s.w.impostor(t, s.stranger)
		victim := s.apply(t, front)
		relayed := &application{codes: make(chan identity.Code, 1), ended: make(chan error, 1)}
		go func() {
			_, err := back.client().Apply(context.Background(), []netip.AddrPort{s.manager.addr}, "porch", func(c identity.Code) { relayed.codes <- c })
			relayed.ended <- err
		}()
		read, shown := victim.code(t, front), relayed.code(t, s.manager)
		if read.Shown() == shown.Shown() {
			t.Fatal("both ends show the same")
		}
		// The operator types what the board shows.
		_, err := s.manager.door.Accept(t.Context(), read, api.RoleAuto)
		s.denied(t, err, api.NotFound, "somebody is between them")
		// So he claims to have been told.
		_, err = front.door.Accept(t.Context(), parse(t, read.Shown()+shown.Secret()), api.RoleAuto)
		if api.KindOf(err) != api.Denied {
			t.Errorf("he lets the board in: %v", err)
		}
		if err := <-victim.ended; !strings.Contains(err.Error(), errWrongCode.Error()) {
			t.Errorf("the board: %v", err)
		}
		_ = back.endpoint.Close()
		<-relayed.ended
	})
}

// Who could choose his nonce after he knows the other's could try until the
// code suits him.
func TestACommitmentIsKept(t *testing.T) {
	play(t, func(t *testing.T, s *scene) {
		front := s.evil(t)
		front.stop()
		front.connect()
		defer front.endpoint.Close()
		listener, err := front.endpoint.Listen(transport.Join)
		if err != nil {
			t.Fatal(err)
		}
		go func() {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			talk, err := newTalk(conn, identity.Acceptor, time.Minute)
			if err != nil {
				return
			}
			first, second := make([]byte, nonceSize), slices.Repeat([]byte{1}, nonceSize)
			_ = talk.receive(&hello{})
			_ = talk.send(offer{Version: version, Cert: front.keeper.Certificate().Certificate[0], Root: front.keeper.RootPEM(), Commit: commitment(first)}, nil)
			_ = talk.receive(&claim{})
			_ = talk.send(reveal{second}, nil)
		}()
		a := s.apply(t, front)
		if err := <-a.ended; err == nil || !strings.Contains(err.Error(), "committed") {
			t.Errorf("another nonce than the one committed to: %v", err)
		}
		if len(a.codes) > 0 {
			t.Error("a code was shown")
		}
	})
}

// Only so many may wait, at one address and in all, and not for ever; who goes
// away waits no more.
func TestWaitingIsBounded(t *testing.T) {
	play(t, func(t *testing.T, s *scene) {
		var all []*application
		for range maxWaitingFromOne {
			a := s.apply(t, s.manager)
			a.code(t, s.manager)
			all = append(all, a)
		}
		if err := <-s.apply(t, s.manager).ended; api.KindOf(err) != api.Unavailable || !strings.Contains(err.Error(), "too many") {
			t.Errorf("one more: %v", err)
		}
		time.Sleep(waitLimit + time.Second)
		for _, a := range all {
			if err := <-a.ended; err == nil {
				t.Error("let in by nobody")
			}
		}
		synctest.Wait()
		if w := s.manager.door.Waiting(); len(w) > 0 {
			t.Errorf("%+v still wait", w)
		}
		a := s.apply(t, s.manager)
		code := a.code(t, s.manager)
		_ = s.stranger.endpoint.Close()
		until(t, time.Minute, "it waits no more", func() bool { return len(s.manager.door.Waiting()) == 0 })
		_, err := s.manager.door.Accept(t.Context(), code, api.RoleAuto)
		s.denied(t, err, api.NotFound, "no board waits")
	})
	var room waitingRoom
	for i := range 2 * maxWaiting {
		w := &waiter{Waiter: Waiter{Addr: netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, 1, byte(i)}), 1)}}
		if got := room.enter(w); got != (i < maxWaiting) {
			t.Errorf("board %d may wait: %v", i, got)
		}
	}
}

// standing applicant of the stranger; shown are its codes, each once.
func (s *scene) applicant(t *testing.T) (shown func() []identity.Code, now func() (identity.Code, bool), accepted <-chan *api.AdmitResponse) {
	ctx, cancel := context.WithCancel(context.Background())
	finder := s.w.lan.Join(s.stranger.addr.Addr())
	var mu sync.Mutex
	var all []identity.Code
	var current []identity.Code
	a := NewApplicant(ApplicantConfig{Client: s.stranger.client(), Finder: finder, Name: "porch", Show: func(codes []identity.Code) {
		mu.Lock()
		defer mu.Unlock()
		for _, c := range codes {
			if !slices.Contains(all, c) {
				all = append(all, c)
			}
		}
		current = slices.Clone(codes)
	}})
	result := make(chan *api.AdmitResponse, 1)
	var wg sync.WaitGroup
	wg.Go(func() { _ = finder.Run(ctx) })
	wg.Go(func() {
		if resp, err := a.Run(ctx); err == nil {
			result <- resp
		}
	})
	t.Cleanup(func() { cancel(); wg.Wait() })
	return func() []identity.Code { mu.Lock(); defer mu.Unlock(); return slices.Clone(all) },
		func() (identity.Code, bool) {
			mu.Lock()
			defer mu.Unlock()
			if len(current) != 1 {
				return identity.Code{}, false
			}
			return current[0], true
		}, result
}

// The door's board restarts: the code of before is void, the next one is good.
func TestTheDoorRestarts(t *testing.T) {
	play(t, func(t *testing.T, s *scene) {
		_, now, accepted := s.applicant(t)
		until(t, time.Minute, "a code", func() bool { _, ok := now(); return ok })
		before, _ := now()
		s.manager.stop()
		until(t, time.Minute, "no code", func() bool { _, ok := now(); return !ok })
		powerAll(t, s.manager)
		until(t, time.Minute, "another code", func() bool { c, ok := now(); return ok && c != before })
		if _, err := s.manager.door.Accept(t.Context(), before, api.RoleAuto); api.KindOf(err) != api.NotFound {
			t.Errorf("the code of before the restart: %v", err)
		}
		after, _ := now()
		if _, err := s.manager.door.Accept(t.Context(), after, api.RoleAuto); err != nil {
			t.Fatal(err)
		}
		if resp := <-accepted; resp.Fleet.ID != s.fleet.cluster.ID || s.admitted() != api.RoleAuto {
			t.Errorf("admitted as %q to %s", s.admitted(), resp.Fleet.ID)
		}
	})
}

// A fleet that guesses has few guesses, and a code is not good for ever.
func TestGuessesAreFew(t *testing.T) {
	play(t, func(t *testing.T, s *scene) {
		shown, now, accepted := s.applicant(t)
		began := time.Now()
		for time.Since(began) < 6*time.Hour {
			if code, ok := now(); ok {
				guess := "00000"
				if code.Secret() == guess {
					guess = "11111"
				}
				_, _ = s.manager.door.Accept(context.Background(), parse(t, code.Shown()+guess), api.RoleAuto)
			}
			time.Sleep(time.Second)
		}
		if n := len(shown()); n < 10 || n > 90 {
			t.Errorf("%d guesses in six hours", n)
		}
		until(t, time.Hour, "a code", func() bool { _, ok := now(); return ok })
		last := len(shown())
		time.Sleep(24 * time.Hour)
		if n := len(shown()) - last; n < 24 || n > 24*4+4 {
			t.Errorf("%d codes in a day without an operator", n)
		}
		if len(accepted) > 0 || s.admitted() != "" {
			t.Error("a guess let the board in")
		}
	})
}

// A board that waits may do nothing else.
func TestAWaitingBoardMayDoNothing(t *testing.T) {
	play(t, func(t *testing.T, s *scene) {
		conn, err := s.stranger.endpoint.DialAddr(t.Context(), s.manager.addr)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		talk, err := newTalk(conn, identity.Dialer, time.Minute)
		if err != nil {
			t.Fatal(err)
		}
		sess := &session{client: s.stranger.client(), talk: talk, stop: func() bool { return true }}
		if _, _, err := sess.agree("porch"); err != nil {
			t.Fatal(err)
		}
		csr, err := s.stranger.keeper.CSR()
		if err != nil {
			t.Fatal(err)
		}
		if a, err := sess.ask(request{Admit: &api.AdmitRequest{Node: s.stranger.keeper.Node(), CSR: csr}}); err == nil {
			t.Errorf("before anybody accepted it: %+v", a)
		}
		if role := s.admitted(); role != "" {
			t.Errorf("admitted as %s", role)
		}
		until(t, time.Minute, "it waits no more", func() bool { return len(s.manager.door.Waiting()) == 0 })
	})
}
