package e2e

import (
	"fmt"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/edgeswarm/edgeswarm/internal/steer"
)

// TestPublishedPorts: a port is the service's on every board, for whoever is on
// the LAN, whatever happens to tasks and boards; and nobody else's.
func TestPublishedPorts(t *testing.T) {
	t.Parallel()
	f := formed(t, 3)
	f.load(1, "1", "2")
	f.create("web", "--replicas", "2", "--publish", "8088:8080", "web:1")
	web := f.runs(1, "web", 2)
	f.part("every board answers", func(f *fleet) {
		for i := 1; i <= 3; i++ {
			f.until(fmt.Sprintf("board%d answers", i), soon, func() error { return f.publishes(i, 8088) })
		}
		// Its own task comes first.
		for _, task := range web {
			if got := f.asked(index(task.Node), 8088, 4); strings.Count(got, "\n") != 4 || len(unique(got)) != 1 {
				t.Errorf("%s, which runs one, answers %q", task.Node, got)
			}
		}
		if out, err := f.board(3).Exec(t.Context(), bin+"/webd", "--ask", "http://127.0.0.1:8088/"); err != nil {
			t.Errorf("a board's own program: %v %s", err, out)
		}
	})
	f.part("conflicts", func(f *fleet) {
		for args, words := range map[string][]string{
			"service create -p 8088:80 web:1":                          {"8088/tcp", "published by service web"},
			"service create -p mode=host,target=80,published=8088 x:1": {"8088/tcp", "published by service web"},
			"service create -p 2377:80/udp web:1":                      {"the fleet's own"},
			"network rm ingress":                                       {"service web", "unpublish"},
			"service create --network ingress web:1":                   {"has no tasks"},
		} {
			s := f.try(2, strings.Fields(args)...)
			for _, w := range words {
				if s.Code == 0 || !strings.Contains(s.Err, w) || strings.Count(s.Err, "\n") != 1 {
					f.t.Errorf("%s: exit %d, %q; want one line with %q", args, s.Code, s.Err, w)
				}
			}
		}
	})
	f.part("an update under load", func(f *fleet) {
		asking := f.underLoad(3, 8088, 50, 1200)
		f.must(1, "service", "update", "--quiet", "--image", "web:2", "--update-order", "start-first", "--update-monitor", "1s", "web")
		asking()
	})
	f.part("a drain under load", func(f *fleet) {
		node := f.runs(1, "web", 2)[0].Node
		other := f.other(index(node))
		asking := f.underLoad(index(node), 8088, 50, 600)
		f.must(other, "node", "update", "--availability", "drain", node)
		asking()
		f.must(other, "node", "update", "--availability", "active", node)
	})
	f.part("edged killed under load", func(f *fleet) {
		asking := f.underLoad(3, 8088, 50, 600)
		f.do(f.board(3).Signal(f.t.Context(), "edged", syscall.SIGKILL))
		f.do(f.board(3).StartEdged())
		asking()
		f.whole(3)
	})
	f.part("another port", func(f *fleet) {
		before := f.runs(1, "web", 2)
		f.must(2, "service", "update", "--quiet", "--publish-rm", "8080", "--publish-add", "8089:8080", "web")
		for i := 1; i <= 3; i++ {
			f.until(fmt.Sprintf("board%d answers", i), soon, func() error { return f.publishes(i, 8089) })
			if err := f.publishes(i, 8088); err == nil {
				f.t.Errorf("board%d answers where nothing is published any more", i)
			}
		}
		if after := f.runs(1, "web", 2); steer.Table(ids(after)) != steer.Table(ids(before)) {
			f.t.Errorf("tasks were replaced: %s", steer.Table(after))
		}
	})
	f.part("nothing is left", func(f *fleet) {
		f.remove("web")
		f.must(1, "network", "rm", "ingress")
		for i := 1; i <= 3; i++ {
			f.until(fmt.Sprintf("board%d has none of it", i), soon, func() error {
				if now := f.traces(i); strings.Contains(now, "ingress") {
					return fmt.Errorf("it has\n%s", now)
				}
				return nil
			})
		}
	})
}

// asked has a laptop on the LAN ask a board's port, and answers what was said.
func (f *fleet) asked(board int, port, times int) string {
	out, err := f.lab.LAN(f.t.Context(), bin+"/webd", "--ask", fmt.Sprintf("http://%s:%d/", f.board(board).IP(), port), "--times", strconv.Itoa(times))
	if err != nil {
		return err.Error()
	}
	return out
}

func (f *fleet) publishes(board, port int) error {
	if out := f.asked(board, port, 1); !strings.HasPrefix(out, "version ") {
		return fmt.Errorf("%s", out)
	}
	return nil
}

// underLoad has the laptop ask a board's port at a steady rate until done, which
// says if one of its requests failed.
func (f *fleet) underLoad(board, port, rate, times int) (done func()) {
	f.t.Helper()
	ended := make(chan error, 1)
	went := ""
	go func() {
		var err error
		went, err = f.lab.LAN(f.t.Context(), bin+"/webd", "--ask", fmt.Sprintf("http://%s:%d/", f.board(board).IP(), port), "--times", strconv.Itoa(times), "--rate", strconv.Itoa(rate))
		ended <- err
	}()
	return func() {
		f.t.Helper()
		select {
		case err := <-ended:
			if err != nil {
				f.t.Errorf("under load: %v %s", err, went)
			}
			f.t.Log(strings.TrimSpace(went))
		case <-time.After(patient + time.Duration(times/rate)*time.Second):
			f.t.Error("the load did not end")
		}
	}
}

// unique are the different lines of a text.
func unique(text string) map[string]bool {
	lines := map[string]bool{}
	for line := range strings.Lines(text) {
		lines[line] = true
	}
	return lines
}
