package dns

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/miekg/dns"
)

const (
	// ttl is how long an answer may be kept, in seconds.
	ttl = 1
	// port is where tasks ask.
	port = 53
	// upstreamTimeout is how long one resolver is waited for.
	upstreamTimeout = 2 * time.Second
	// mostForwarded is how many questions of one task are passed on at a time, and
	// mostAtAll of all: one that floods gets no answers, the others do.
	mostForwarded = 32
	mostAtAll     = 256
	// retryListen is when an address is tried again that can't be listened on.
	retryListen = 2 * time.Second
)

// Config of a Server. All fields are needed but Port.
type Config struct {
	// Resolvers are the board's own.
	Resolvers func() ([]string, error)
	// Port to answer on, and to ask resolvers at; 0 is the DNS's.
	Port   uint16
	Logger *slog.Logger
}

// Server answers tasks at the board's addresses in their networks.
type Server struct {
	cfg     Config
	zone    atomic.Pointer[Zone]
	addrs   atomic.Pointer[[]netip.Addr]
	changed chan struct{} // 1 slot

	mu      sync.Mutex
	flights map[*Asker]int
	total   int
}

// New makes a server that knows nothing yet.
func New(cfg Config) *Server {
	if cfg.Port == 0 {
		cfg.Port = port
	}
	return &Server{cfg: cfg, changed: make(chan struct{}, 1), flights: map[*Asker]int{}}
}

// Learn makes the server answer from a zone from now on, and soon at those
// addresses alone. It does not block.
func (s *Server) Learn(z *Zone, addrs []netip.Addr) {
	s.zone.Store(z)
	s.addrs.Store(&addrs)
	select {
	case s.changed <- struct{}{}:
	default:
	}
}

// Run answers until ctx ends.
func (s *Server) Run(ctx context.Context) error {
	open := map[netip.Addr]*post{}
	defer func() {
		for _, p := range open {
			p.close()
		}
	}()
	var again <-chan time.Time
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-s.changed:
		case <-again:
		}
		again = nil
		var want []netip.Addr
		if list := s.addrs.Load(); list != nil {
			want = *list
		}
		for addr, p := range open {
			if !slices.Contains(want, addr) || p.failed() {
				p.close()
				delete(open, addr)
			}
		}
		for _, addr := range want {
			if open[addr] != nil {
				continue
			}
			p, err := s.listen(ctx, addr)
			if err != nil {
				s.cfg.Logger.Warn("names are not answered in a network, trying again", "addr", addr, "err", err)
				again = time.After(retryListen)
				continue
			}
			open[addr] = p
		}
	}
}

// post is one address at which is answered.
type post struct {
	servers []*dns.Server
	ended   chan struct{} // a slot for each server
}

func (s *Server) listen(ctx context.Context, addr netip.Addr) (*post, error) {
	at := netip.AddrPortFrom(addr, s.cfg.Port).String()
	var lc net.ListenConfig
	packets, err := lc.ListenPacket(ctx, "udp4", at)
	if err != nil {
		return nil, fmt.Errorf("listen: %w", err)
	}
	streams, err := lc.Listen(ctx, "tcp4", at)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("listen: %w", err), packets.Close())
	}
	handler := dns.HandlerFunc(func(w dns.ResponseWriter, q *dns.Msg) { s.answer(ctx, w, q) })
	p := &post{ended: make(chan struct{}, 2), servers: []*dns.Server{{PacketConn: packets, Handler: handler}, {Listener: streams, Handler: handler}}}
	for _, server := range p.servers {
		started := make(chan struct{})
		server.NotifyStartedFunc = func() { close(started) }
		go func() {
			if err := server.ActivateAndServe(); err != nil && ctx.Err() == nil {
				s.cfg.Logger.Debug("answering names ended", "addr", addr, "err", err)
			}
			p.ended <- struct{}{}
		}()
		<-started
	}
	return p, nil
}

func (p *post) failed() bool { return len(p.ended) > 0 }

// close ends both servers and waits for them.
func (p *post) close() {
	for _, server := range p.servers {
		_ = server.Shutdown() // fails only on one that has ended
	}
	for range p.servers {
		<-p.ended
	}
}

// answer answers one question.
func (s *Server) answer(ctx context.Context, w dns.ResponseWriter, q *dns.Msg) {
	zone := s.zone.Load()
	asker := zone.asker(addrOf(w.RemoteAddr()))
	switch {
	case asker == nil:
		s.refuse(w, q, dns.RcodeRefused)
		return
	case len(q.Question) != 1 || q.Opcode != dns.OpcodeQuery || q.Response:
		s.refuse(w, q, dns.RcodeFormatError)
		return
	}
	question := q.Question[0]
	name := strings.ToLower(strings.TrimSuffix(question.Name, "."))
	if addrs, known := zone.lookup(asker, name); known {
		_ = w.WriteMsg(local(q, question, addrs, isStream(w)))
		return
	}
	if addr, ok := reversed(name); ok && zone.ours(asker, addr) {
		s.refuse(w, q, dns.RcodeNameError) // nobody outside knows better
		return
	}
	s.forward(ctx, w, q, asker)
}

func (s *Server) refuse(w dns.ResponseWriter, q *dns.Msg, code int) {
	_ = w.WriteMsg(new(dns.Msg).SetRcode(q, code)) // who asks has gone, or asks again
}

// local is the answer for a name of the fleet: its addresses, in random order
// since many programs take the first. Of another type than A there is none.
func local(q *dns.Msg, question dns.Question, addrs []netip.Addr, stream bool) *dns.Msg {
	reply := new(dns.Msg).SetReply(q)
	reply.Authoritative, reply.RecursionAvailable = true, true
	if question.Qtype != dns.TypeA && question.Qtype != dns.TypeANY {
		return reply
	}
	for _, i := range rand.Perm(len(addrs)) {
		reply.Answer = append(reply.Answer, &dns.A{
			Hdr: dns.RR_Header{Name: question.Name, Rrtype: dns.TypeA, Class: dns.ClassINET, Ttl: ttl}, A: addrs[i].AsSlice(),
		})
	}
	return fitted(q, reply, stream)
}

// fitted cuts an answer to the size that who asks takes in one packet, if it is
// not asked by a stream.
func fitted(q, reply *dns.Msg, stream bool) *dns.Msg {
	size := dns.MinMsgSize
	if opt := q.IsEdns0(); opt != nil {
		size = max(size, int(opt.UDPSize()))
		reply.SetEdns0(dns.DefaultMsgSize, false)
	}
	if stream {
		size = dns.MaxMsgSize
	}
	reply.Truncate(size)
	return reply
}

// forward passes a question on to the resolvers, one after the other, and the
// first answer back.
func (s *Server) forward(ctx context.Context, w dns.ResponseWriter, q *dns.Msg, asker *Asker) {
	if !s.board(asker) {
		s.refuse(w, q, dns.RcodeServerFailure)
		return
	}
	defer s.alight(asker)
	resolvers := asker.Resolvers
	if len(resolvers) == 0 {
		var err error
		if resolvers, err = s.cfg.Resolvers(); err != nil {
			s.cfg.Logger.Debug("board's resolvers unknown", "err", err)
		}
	}
	client := &dns.Client{Net: "udp", Timeout: upstreamTimeout, UDPSize: dns.MaxMsgSize}
	if isStream(w) {
		client.Net = "tcp"
	}
	for _, resolver := range resolvers {
		reply, _, err := client.ExchangeContext(ctx, q, net.JoinHostPort(resolver, fmt.Sprint(s.cfg.Port)))
		if err == nil {
			_ = w.WriteMsg(reply)
			return
		}
	}
	s.refuse(w, q, dns.RcodeServerFailure)
}

// board lets a question of a task be passed on, alight ends it.
func (s *Server) board(a *Asker) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.flights[a] >= mostForwarded || s.total >= mostAtAll {
		return false
	}
	s.flights[a]++
	s.total++
	return true
}

func (s *Server) alight(a *Asker) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.total--
	if s.flights[a]--; s.flights[a] == 0 {
		delete(s.flights, a)
	}
}

func isStream(w dns.ResponseWriter) bool {
	_, stream := w.RemoteAddr().(*net.TCPAddr)
	return stream
}

func addrOf(a net.Addr) netip.Addr {
	ap, _ := netip.ParseAddrPort(a.String())
	return ap.Addr().Unmap()
}

// reversed is the address that a name of the reverse zone stands for.
func reversed(name string) (addr netip.Addr, ok bool) {
	labels, ok := strings.CutSuffix(name, ".in-addr.arpa")
	if !ok {
		return addr, false
	}
	parts := strings.Split(labels, ".")
	slices.Reverse(parts)
	addr, err := netip.ParseAddr(strings.Join(parts, "."))
	return addr, err == nil
}
