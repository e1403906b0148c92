package e2e

import (
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/edgeswarm/edgeswarm/internal/steer"
)

// TestNetworksAcrossBoards: services of one network find and reach each other by
// name over three boards, nobody else reaches them, balancing follows what
// happens to tasks, and nothing is left when the network goes.
func TestNetworksAcrossBoards(t *testing.T) {
	t.Parallel()
	f := formed(t, 3)
	f.load(1, "1", "2")
	f.create("plain", "--mode", "global", "web:1") // so that each board has its bridge
	f.runs(1, "plain", 3)
	before := [4]string{}
	for i := 1; i <= 3; i++ {
		before[i] = f.traces(i)
	}
	f.must(1, "network", "create", "--driver", "vxlan", "back")
	f.must(2, "network", "create", "--driver", "vxlan", "--subnet", "10.9.0.0/24", "--internal", "other")
	f.create("web", "--replicas", "3", "--network", "name=back,alias=www", "web:1")
	f.create("client", "--mode", "global", "--network", "back", "web:1")
	f.create("stranger", "--mode", "global", "--network", "other", "web:1")
	web, clients, strangers := f.runs(1, "web", 3), f.runs(1, "client", 3), f.runs(1, "stranger", 3)

	f.part("names and balancing", func(f *fleet) {
		for _, c := range clients {
			for _, name := range []string{"web", "www", "web.back"} {
				f.until(fmt.Sprintf("%s is balanced for %s", name, c.Node), soon, func() error { return f.reaches(c, name, len(web)) })
			}
			if got := f.resolve(c, "tasks.web"); len(got) != 3 {
				f.t.Errorf("%s: tasks.web is %v", c.Node, got)
			}
			if got := f.resolve(c, "tasks.stranger"); len(got) != 0 {
				f.t.Errorf("%s: a name of another network is %v", c.Node, got)
			}
		}
	})
	f.part("isolation", func(f *fleet) {
		vip := f.resolve(clients[0], "web")
		if len(vip) != 1 {
			f.t.Fatalf("web is %v", vip)
		}
		targets := append(f.resolve(clients[0], "tasks.web"), vip...)
		if len(targets) != 4 {
			f.t.Fatalf("web and its tasks are at %v", targets)
		}
		ask := func(from taskRow, target string) said {
			return f.ask(from, target, 1)
		}
		for _, target := range targets {
			if said := ask(clients[1], target); said.Code != 0 {
				f.t.Errorf("a task of the network does not reach %s: %s", target, said.Err)
			}
		}
		for _, s := range append(strangers, f.runs(1, "plain", 3)...) {
			for _, target := range targets {
				if said := ask(s, target); said.Code == 0 {
					f.t.Errorf("%s on %s reaches %s: %s", s.Name, s.Node, target, said.Out)
				}
			}
		}
	})
	f.part("a task's end", func(f *fleet) {
		f.must(1, "service", "scale", "--detach", "web=1")
		f.until("one address is left", soon, func() error {
			if got := f.resolve(clients[2], "tasks.web"); len(got) != 1 {
				return fmt.Errorf("tasks.web is %v", got)
			}
			return nil
		})
		for _, c := range clients {
			f.until("the one that is left answers all", soon, func() error { return f.reaches(c, "web", 1) })
		}
	})
	f.part("edged killed", func(f *fleet) {
		i := index(clients[0].Node)
		f.do(f.board(i).Signal(f.t.Context(), "edged", syscall.SIGKILL))
		vip := f.resolve(clients[1], "web")
		if len(vip) != 1 {
			f.t.Fatalf("web is %v", vip)
		}
		lead := index(clients[1].Node)
		f.do(f.board(i).StartEdged())
		f.until("the board is back", patient, func() error { return f.voters(lead, 3) })
		f.until("its tasks speak as before", soon, func() error { return f.reaches(clients[0], vip[0], 1) })
		if after := f.runs(lead, "client", 3); steer.Table(ids(after)) != steer.Table(ids(clients)) {
			f.t.Errorf("tasks were replaced: %s", steer.Table(after))
		}
	})
	f.part("bad input", func(f *fleet) {
		for args, words := range map[string][]string{
			"network create -d vxlan back":                        {"name back is in use"},
			"network create -d vxlan --subnet 10.9.0.128/26 x":    {"10.9.0.0/24", "network other"},
			"network create -d vxlan --subnet 10.77.0.0/16 x":     {"10.77.0.0/24", "board"},
			"network rm back":                                     {"in use by client, web"},
			"service create --network nowhere web:1":              {"no network \"nowhere\"", "network ls"},
			"service update --network-add name=other,alias=_ web": {"not a DNS label"},
			"network rm nowhere":                                  {"no network \"nowhere\""},
		} {
			s := f.try(3, strings.Fields(args)...)
			for _, w := range words {
				if s.Code == 0 || !strings.Contains(s.Err, w) || strings.Count(s.Err, "\n") != 1 {
					f.t.Errorf("%s: exit %d, %q; want one line with %q", args, s.Code, s.Err, w)
				}
			}
		}
	})
	f.part("nothing is left", func(f *fleet) {
		f.must(2, "service", "rm", "web", "client", "stranger")
		f.until("the networks may go", patient, func() error {
			for _, n := range []string{"back", "other"} {
				if s := f.try(3, "network", "rm", n); s.Code != 0 && !strings.Contains(s.Err, "no network") {
					return errors.New(s.Err)
				}
			}
			return nil
		})
		for i := 1; i <= 3; i++ {
			f.until(fmt.Sprintf("board%d is as before", i), soon, func() error {
				if now := f.traces(i); now != before[i] {
					return fmt.Errorf("it had\n%s\nand has\n%s", before[i], now)
				}
				return nil
			})
		}
	})
}

// ids are tasks by what does not change while they live.
func ids(tasks []taskRow) (kept []taskRow) {
	for _, t := range tasks {
		kept = append(kept, taskRow{ID: t.ID, Name: t.Name, Node: t.Node})
	}
	return kept
}

// ask has a task ask the web server at a name or an address.
func (f *fleet) ask(from taskRow, name string, times int) said {
	return f.try(index(from.Node), "task", "exec", from.ID, "/webd", "--ask", "http://"+name+":8080/", "--times", strconv.Itoa(times))
}

// reaches asks a name, or an address, as a task, twice for each that should answer, and tells
// whether all did, evenly, since no two connections that follow go to one.
func (f *fleet) reaches(from taskRow, name string, tasks int) error {
	s := f.ask(from, name, 2*tasks)
	heard := map[string]int{}
	for line := range strings.Lines(s.Out) {
		heard[strings.TrimSpace(line)]++
	}
	if s.Code != 0 || len(heard) != tasks {
		return fmt.Errorf("%s from %s: exit %d, %v %s", name, from.Node, s.Code, heard, s.Err)
	}
	for who, n := range heard {
		if n != 2 {
			return fmt.Errorf("%s answered %d of %d times", who, n, 2*tasks)
		}
	}
	return nil
}

var answeredAddress = regexp.MustCompile(`(?m)^Address(?: \d+)?: (\d+\.\d+\.\d+\.\d+)$`)

// resolve asks for a name as a task does.
func (f *fleet) resolve(from taskRow, name string) (addrs []string) {
	f.t.Helper()
	began := time.Now()
	s := f.try(index(from.Node), "task", "exec", from.ID, "nslookup", "-type=a", name)
	for _, m := range answeredAddress.FindAllStringSubmatch(s.Out, -1) {
		addrs = append(addrs, m[1])
	}
	f.t.Logf("%s on %s: %s is %v after %v %s", from.Name, from.Node, name, addrs, time.Since(began).Round(time.Millisecond), s.Err)
	return addrs
}

// traces are what networks could leave on a board: links, routes, rules and
// tasks' namespaces.
func (f *fleet) traces(board int) string {
	f.t.Helper()
	out, err := f.board(board).Exec(f.t.Context(), "sh", "-c", "ip -o link | awk -F': ' '{print $2}' | cut -d@ -f1 | sort; ip route; ip neigh show nud permanent; nft list tables; ls "+f.board(board).RunDir()+"/tasks | wc -l")
	if err != nil {
		f.t.Fatal(err)
	}
	return out
}
