package dns

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/edgeswarm/edgeswarm/api"
)

func addr(s string) netip.Addr { return netip.MustParseAddr(s) }

func backend(task api.TaskID, at, hostname string) api.Backend {
	return api.Backend{Task: task, Addr: addr(at), Hostname: hostname}
}

// world has web and db on back, another db on front, and tasks on one or both.
func world() *Zone {
	networks := []*api.NetworkInfo{
		{ID: "b", Name: "back", Subnet: netip.MustParsePrefix("10.9.0.0/16")}, {ID: "f", Name: "front", Subnet: netip.MustParsePrefix("10.8.0.0/16")},
	}
	endpoints := []*api.Endpoint{
		{Network: "b", Service: "1", Name: "web", VirtualIP: addr("10.9.0.1"), Aliases: []string{"www"}, Backends: []api.Backend{backend("w1", "10.9.1.1", "Alpha"), backend("w2", "10.9.2.1", "beta")}},
		{Network: "b", Service: "2", Name: "db", Backends: []api.Backend{backend("d1", "10.9.1.2", "gamma")}},
		{Network: "f", Service: "3", Name: "cache", VirtualIP: addr("10.8.0.1")},
		{Network: "f", Service: "2", Name: "db", Backends: []api.Backend{backend("d1", "10.8.1.2", "gamma")}},
	}
	return NewZone(networks, endpoints, []Asker{
		{Addrs: []netip.Addr{addr("127.0.0.11")}, Networks: []api.NetworkID{"b"}},
		{Addrs: []netip.Addr{addr("127.0.0.12")}, Networks: []api.NetworkID{"f", "b"}},
		{Addrs: []netip.Addr{addr("127.0.0.13")}, Networks: []api.NetworkID{"b"}, Resolvers: []string{"127.0.0.31"}},
	})
}

func TestNames(t *testing.T) {
	z := world()
	for _, c := range []struct {
		asker, name string
		want        string
	}{
		{"127.0.0.11", "web", "[10.9.0.1] true"},
		{"127.0.0.11", "www", "[10.9.0.1] true"},
		{"127.0.0.11", "web.back", "[10.9.0.1] true"},
		{"127.0.0.11", "www.back", "[10.9.0.1] true"},
		{"127.0.0.11", "tasks.web", "[10.9.1.1 10.9.2.1] true"},
		{"127.0.0.11", "tasks.web.back", "[10.9.1.1 10.9.2.1] true"},
		{"127.0.0.11", "alpha.web", "[10.9.1.1] true"},
		{"127.0.0.11", "db", "[10.9.1.2] true"},      // without an address of its own: its tasks'
		{"127.0.0.11", "cache", "[] false"},          // not on its networks
		{"127.0.0.11", "db.front", "[] false"},       // nor is this
		{"127.0.0.11", "alpha.db", "[] false"},       // of another service
		{"127.0.0.12", "db", "[10.8.1.2] true"},      // of its first network
		{"127.0.0.12", "db.back", "[10.9.1.2] true"}, // unless another is named
		{"127.0.0.12", "cache", "[10.8.0.1] true"},   // nobody serves, but the address stands
		{"127.0.0.12", "tasks.cache", "[] true"},     // the name is there, and nobody has it
		{"127.0.0.12", "gamma.db.front", "[10.8.1.2] true"},
	} {
		addrs, known := z.lookup(z.asker(addr(c.asker)), c.name)
		if got := fmt.Sprint(addrs, known); got != c.want {
			t.Errorf("%s asks for %s: %s, want %s", c.asker, c.name, got, c.want)
		}
	}
	if z.asker(addr("127.0.0.99")) != nil {
		t.Error("a stranger is known")
	}
}

// upstream is a resolver of elsewhere, which knows one name, and counts.
type upstream struct {
	mu    sync.Mutex
	asked []string
	hold  chan struct{} // answers wait for it, if it is not nil
}

func (u *upstream) serve(t *testing.T, host string, port uint16) {
	t.Helper()
	at := netip.AddrPortFrom(addr(host), port).String()
	packets, err := net.ListenPacket("udp", at)
	if err != nil {
		t.Fatal(err)
	}
	streams, err := net.Listen("tcp", at)
	if err != nil {
		t.Fatal(err)
	}
	handler := dns.HandlerFunc(func(w dns.ResponseWriter, q *dns.Msg) {
		u.mu.Lock()
		u.asked = append(u.asked, q.Question[0].Name)
		u.mu.Unlock()
		if u.hold != nil {
			<-u.hold
		}
		reply := new(dns.Msg).SetReply(q)
		reply.Answer = []dns.RR{&dns.A{Hdr: dns.RR_Header{Name: q.Question[0].Name, Rrtype: dns.TypeA, Class: dns.ClassINET, Ttl: 60}, A: net.ParseIP(host)}}
		_ = w.WriteMsg(reply)
	})
	for _, s := range []*dns.Server{{PacketConn: packets, Handler: handler}, {Listener: streams, Handler: handler}} {
		started := make(chan struct{})
		s.NotifyStartedFunc = func() { close(started) }
		go s.ActivateAndServe()
		<-started
		t.Cleanup(func() { _ = s.Shutdown() })
	}
}

// start runs a server at 127.0.0.2 whose board has the resolvers given.
func start(t *testing.T, resolvers ...string) *Server {
	t.Helper()
	s := New(Config{Resolvers: func() ([]string, error) { return resolvers, nil }, Port: freePort(t), Logger: slog.New(slog.DiscardHandler)})
	s.Learn(world(), []netip.Addr{addr("127.0.0.2")})
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return s
}

func freePort(t *testing.T) uint16 {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.2:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	return netip.MustParseAddrPort(ln.Addr().String()).Port()
}

// ask asks as a task at that address would, until it is answered at all.
func ask(t *testing.T, s *Server, from, network, name string, qtype uint16) *dns.Msg {
	t.Helper()
	var local net.Addr = &net.UDPAddr{IP: net.ParseIP(from)}
	if network == "tcp" {
		local = &net.TCPAddr{IP: net.ParseIP(from)}
	}
	c := &dns.Client{Net: network, Timeout: 5 * time.Second, Dialer: &net.Dialer{LocalAddr: local, Timeout: time.Second}}
	q := new(dns.Msg).SetQuestion(dns.Fqdn(name), qtype)
	var err error
	for range 100 {
		var reply *dns.Msg
		if reply, _, err = c.Exchange(q, netip.AddrPortFrom(addr("127.0.0.2"), s.cfg.Port).String()); err == nil {
			return reply
		}
		<-time.After(20 * time.Millisecond) // it may not listen yet
	}
	t.Fatalf("%s asks for %s: %v", from, name, err)
	return nil
}

func answers(m *dns.Msg) (found []string) {
	for _, rr := range m.Answer {
		if a, ok := rr.(*dns.A); ok {
			found = append(found, a.A.String())
		}
	}
	slices.Sort(found)
	return found
}

func TestTasksAreAnswered(t *testing.T) {
	s := start(t, "127.0.0.30", "127.0.0.32")
	var board, own upstream
	board.serve(t, "127.0.0.32", s.cfg.Port) // the first resolver does not answer
	own.serve(t, "127.0.0.31", s.cfg.Port)
	for _, network := range []string{"udp", "tcp"} {
		for _, c := range []struct {
			from, name string
			qtype      uint16
			rcode      int
			want       []string
		}{
			{"127.0.0.11", "WEB", dns.TypeA, dns.RcodeSuccess, []string{"10.9.0.1"}},
			{"127.0.0.11", "tasks.web", dns.TypeA, dns.RcodeSuccess, []string{"10.9.1.1", "10.9.2.1"}},
			{"127.0.0.11", "web", dns.TypeAAAA, dns.RcodeSuccess, nil},
			{"127.0.0.11", "example.org", dns.TypeA, dns.RcodeSuccess, []string{"127.0.0.32"}},
			{"127.0.0.13", "example.org", dns.TypeA, dns.RcodeSuccess, []string{"127.0.0.31"}},
			{"127.0.0.11", "1.1.9.10.in-addr.arpa", dns.TypePTR, dns.RcodeNameError, nil},
			{"127.0.0.99", "web", dns.TypeA, dns.RcodeRefused, nil},
		} {
			got := ask(t, s, c.from, network, c.name, c.qtype)
			if got.Rcode != c.rcode || !slices.Equal(answers(got), c.want) {
				t.Errorf("%s asks for %s by %s: %s %v, want %s %v", c.from, c.name, network, dns.RcodeToString[got.Rcode], answers(got), dns.RcodeToString[c.rcode], c.want)
			}
			for _, rr := range got.Answer {
				if ours := rr.(*dns.A).A.To4()[0] == 10; ours && rr.Header().Ttl > 1 {
					t.Errorf("%s may be kept for %d s", c.name, rr.Header().Ttl)
				}
			}
		}
	}
	for _, u := range []*upstream{&board, &own} {
		for _, name := range u.asked {
			if name != "example.org." {
				t.Errorf("a name of the fleet was asked for elsewhere: %s", name)
			}
		}
	}
}

func TestALargeAnswerIsCutForPacketsOnly(t *testing.T) {
	s := start(t)
	e := &api.Endpoint{Network: "b", Service: "1", Name: "web"}
	for i := range 200 {
		e.Backends = append(e.Backends, backend(api.TaskID(fmt.Sprint(i)), fmt.Sprintf("10.9.1.%d", i), fmt.Sprint("h", i)))
	}
	s.Learn(NewZone([]*api.NetworkInfo{{ID: "b", Name: "back"}}, []*api.Endpoint{e}, []Asker{{Addrs: []netip.Addr{addr("127.0.0.11")}, Networks: []api.NetworkID{"b"}}}), []netip.Addr{addr("127.0.0.2")})
	if got := ask(t, s, "127.0.0.11", "udp", "tasks.web", dns.TypeA); !got.Truncated || len(got.Answer) == 0 || len(got.Answer) > 30 {
		t.Errorf("by packet: truncated %v, %d answers", got.Truncated, len(got.Answer))
	}
	if got := ask(t, s, "127.0.0.11", "tcp", "tasks.web", dns.TypeA); got.Truncated || len(got.Answer) != 200 {
		t.Errorf("by stream: truncated %v, %d answers", got.Truncated, len(got.Answer))
	}
}

// TestAFloodHarmsNobodyElse: a task whose questions the resolvers don't answer
// is refused more of them; names of the fleet it gets, and others all.
func TestAFloodHarmsNobodyElse(t *testing.T) {
	s := start(t, "127.0.0.32")
	slow := upstream{hold: make(chan struct{})}
	slow.serve(t, "127.0.0.32", s.cfg.Port)
	var quickly upstream
	quickly.serve(t, "127.0.0.31", s.cfg.Port)
	ask(t, s, "127.0.0.11", "udp", "web", dns.TypeA) // it listens
	var flood sync.WaitGroup
	refused := make(chan int, 200)
	for i := range 200 {
		flood.Go(func() {
			c := &dns.Client{Timeout: 20 * time.Second, Dialer: &net.Dialer{LocalAddr: &net.UDPAddr{IP: net.ParseIP("127.0.0.11")}}}
			m, _, err := c.Exchange(new(dns.Msg).SetQuestion(fmt.Sprintf("n%d.example.", i), dns.TypeA), netip.AddrPortFrom(addr("127.0.0.2"), s.cfg.Port).String())
			if err == nil {
				refused <- m.Rcode
			}
		})
	}
	for range 200 - mostForwarded {
		if code := <-refused; code != dns.RcodeServerFailure {
			t.Fatalf("answered %s", dns.RcodeToString[code])
		}
	}
	if got := ask(t, s, "127.0.0.13", "udp", "example.org", dns.TypeA); len(got.Answer) != 1 {
		t.Errorf("another task: %v", got)
	}
	if got := ask(t, s, "127.0.0.11", "udp", "web", dns.TypeA); len(got.Answer) != 1 {
		t.Errorf("a name of the fleet: %v", got)
	}
	close(slow.hold)
	flood.Wait()
}

func TestItStopsListeningWhereItIsNotWanted(t *testing.T) {
	s := start(t)
	ask(t, s, "127.0.0.11", "udp", "web", dns.TypeA)
	s.Learn(world(), nil)
	deadline := time.Now().Add(5 * time.Second)
	for {
		conn, err := net.Dial("tcp", netip.AddrPortFrom(addr("127.0.0.2"), s.cfg.Port).String())
		if err != nil {
			break
		}
		conn.Close()
		if time.Now().After(deadline) {
			t.Fatal("it listens still")
		}
	}
	s.Learn(world(), []netip.Addr{addr("127.0.0.2")})
	ask(t, s, "127.0.0.11", "udp", "web", dns.TypeA)
}
