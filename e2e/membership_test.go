package e2e

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/edgeswarm/edgeswarm/api"
	"github.com/edgeswarm/edgeswarm/identity"
)

// TestWaysInAndOut: boards without a key enter by token and by nothing else,
// leave, and are removed. Certificates live a minute all the while, and the
// fleet outlives them.
func TestWaysInAndOut(t *testing.T) {
	t.Parallel()
	f := newFleet(t, 3, false)
	f.until("edged answers", soon, func() error {
		if s := f.try(1, "status"); s.Code != 0 {
			return fmt.Errorf("%s", s.Err)
		}
		return nil
	})
	f.refused(1, "edgectl init", "node", "ls")
	if s := f.feed(1, []byte("EDGEKEY-1-AAAAAAAAAAAAAAAA\n"), "init", "--fleet-key-file", "-"); s.Code == 0 || strings.Count(s.Err, "\n") != 1 {
		t.Errorf("a weak fleet key: exit %d, %q", s.Code, s.Err)
	}
	f.must(1, "init", "--name", "shed")
	f.until("the founder leads", patient, func() error { return f.voters(1, 1) })
	f.must(1, "update", "--cert-expiry", "1m") // of those, too, that were to last longer

	f.joins()
	f.load(1, "1")
	f.must(1, "service", "create", "--quiet", "--name", "web", "--mode", "global", "web:1")
	f.leaves()
	f.isRemoved()
	f.outlivesItsCertificates()
}

// token prints the fleet's token for a role; more arguments may make a new one.
func (f *fleet) token(asked int, args ...string) string {
	f.t.Helper()
	return strings.TrimSpace(f.must(asked, append([]string{"join-token", "--quiet"}, args...)...))
}

// joins lets the boards 2 and 3 in, after all that must not.
func (f *fleet) joins() {
	f.t.Helper()
	at := f.board(1).IP()
	first := f.token(1, "worker")
	f.must(2, "join", "--token", first, at)

	mistyped := []byte(first)
	if i := len(mistyped) - 10; mistyped[i] == 'A' {
		mistyped[i] = 'B'
	} else {
		mistyped[i] = 'A'
	}
	f.refused(3, "mistyped", "join", "--token", string(mistyped), at)
	ca, err := identity.NewCA(api.NewID[api.FleetID](), time.Now())
	f.do(err)
	stranger, err := identity.NewToken(ca.Root().CertPEM)
	f.do(err)
	f.refused(3, "another fleet", "join", "--token", stranger.Reveal(), at)

	short := f.token(1, "--rotate", "--ttl", "1s", "worker")
	expired := time.Now().Add(time.Second)
	f.refused(3, "join-token", "join", "--token", first, at)
	f.until("the token's time is over", soon, func() error {
		if left := time.Until(expired); left > 0 {
			return fmt.Errorf("%v are left", left)
		}
		return nil
	})
	f.refused(3, "expired", "join", "--token", short, at)
	if n, err := f.nodes(1); err != nil || len(n) != 2 {
		f.t.Errorf("refused boards left something behind: %+v %v", n, err)
	}
	f.must(3, "join", "--token", f.token(1, "--rotate", "manager"), at)
	f.ready(3, 1) // who came by the worker token never votes
	f.must(1, "node", "promote", "board2")
	f.whole(3)
}

// leaves takes boards out by their own wish, and lets them in again.
func (f *fleet) leaves() {
	f.t.Helper()
	f.runs(1, "web", 3)
	f.refused(3, "--force", "leave")
	f.must(1, "node", "demote", "board3")
	f.must(3, "leave") // it waits until the demotion has taken effect
	f.isEmpty(3)
	f.refused(3, "edgectl join", "service", "ls")
	f.again(3, 1)

	// The founder, which leads.
	f.must(1, "leave", "--force")
	f.isEmpty(1)
	f.again(1, 2)
}

// again forgets a board that has left, and lets it in by another.
func (f *fleet) again(board, by int) {
	f.t.Helper()
	f.until("the fleet forgets who has left", patient, func() error {
		nodes, err := f.nodes(by)
		if err != nil {
			return err
		}
		if _, there := nodes[f.board(board).Name()]; !there {
			return nil
		}
		if s := f.try(by, "node", "rm", f.board(board).Name()); s.Code != 0 {
			return fmt.Errorf("%s", s.Err)
		}
		return nil
	})
	f.must(board, "join", "--token", f.token(by, "manager"), f.board(by).IP())
	f.whole(3)
	f.runs(by, "web", 3)
	f.exactly("web", 3)
}

// isEmpty waits until nothing of the fleet runs on a board.
func (f *fleet) isEmpty(board int) {
	f.t.Helper()
	f.until("nothing runs on "+f.board(board).Name(), patient, func() error {
		running, err := f.processes(board)
		if err == nil && len(running) > 0 {
			err = fmt.Errorf("%v still run", running)
		}
		return err
	})
}

// isRemoved removes board3 while it is off. When it is back it gets nothing.
func (f *fleet) isRemoved() {
	f.t.Helper()
	f.refused(1, "not down", "node", "rm", "board3")
	f.do(f.board(3).Kill(f.t.Context()))
	f.until("board3 is down", patient, func() error {
		nodes, err := f.nodes(1)
		if n := nodes["board3"]; err == nil && n.Status != "Down" {
			err = fmt.Errorf("%+v", n)
		}
		return err
	})
	f.must(1, "node", "rm", "board3")
	f.whole(2)
	for range 2 { // a reboot does not help
		f.do(f.board(3).Start(f.t.Context()))
		f.until("board3 knows that it is out", patient, func() error {
			s := f.try(3, "status", "--format", "{{.Membership}}")
			if strings.TrimSpace(s.Out) != string(api.MembershipRemoved) {
				return fmt.Errorf("%s%s", s.Out, s.Err)
			}
			return nil
		})
		f.isEmpty(3)
		f.refused(3, "removed", "service", "ls")
		if n, err := f.nodes(1); err != nil || len(n) != 2 {
			f.t.Errorf("nodes are %+v after one was removed: %v", n, err)
		}
		f.do(f.board(3).Kill(f.t.Context()))
	}
}

// outlivesItsCertificates waits until the certificates that are in use now
// have expired: all have been renewed in time, and nothing else has happened.
func (f *fleet) outlivesItsCertificates() {
	f.t.Helper()
	expires := func(board int) time.Time {
		var at time.Time
		f.until("a board knows its certificate", soon, func() error {
			s := f.try(board, "info", "--format", "{{.CertExpires.UnixMilli}}")
			var ms int64
			_, err := fmt.Sscan(s.Out, &ms)
			at = time.UnixMilli(ms)
			return err
		})
		return at
	}
	before := f.allProcesses(1, 2)
	var end time.Time
	for i := 1; i <= 2; i++ {
		at := expires(i)
		if left := time.Until(at); left > time.Minute {
			f.t.Fatalf("the certificate of board%d lives for %v more", i, left)
		}
		if at.After(end) {
			end = at
		}
	}
	writes := 0
	f.until("the certificates' end", 2*time.Minute, func() error {
		for i := 1; i <= 2; i++ {
			if at := expires(i); time.Until(at) <= 0 {
				f.t.Fatalf("the certificate of board%d has expired at %v", i, at)
			}
			writes++
			f.must(i, "node", "update", "--label-add", fmt.Sprintf("n=%d", writes), "board2")
		}
		if left := time.Until(end.Add(2 * time.Second)); left > 0 {
			return fmt.Errorf("%v are left", left)
		}
		return nil
	})
	f.untouched(before, 1, 2)
	f.whole(2)
	f.exactly("web", 2)
}

// refused runs what must fail: with one clear line that says so, and an exit code.
func (f *fleet) refused(board int, say string, args ...string) {
	f.t.Helper()
	f.oneLine(f.try(board, args...), say, args...)
}

// oneLine checks how edgectl refused.
func (f *fleet) oneLine(s said, say string, args ...string) {
	f.t.Helper()
	if s.Code == 0 || strings.Count(s.Err, "\n") != 1 || !strings.HasPrefix(s.Err, "edgectl: ") || !strings.Contains(s.Err, say) {
		f.t.Errorf("edgectl %s: exit %d, want one line that speaks of %q, got %q", strings.Join(args, " "), s.Code, say, s.Err)
	}
}
