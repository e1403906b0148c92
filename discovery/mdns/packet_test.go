package mdns

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/miekg/dns"

	"github.com/edgeswarm/edgeswarm/api"
	"github.com/edgeswarm/edgeswarm/discovery"
)

func id(n byte) api.NodeID { return api.IDFromBytes[api.NodeID]([16]byte{n}) }

// response packs records as a responder would.
func response(t testing.TB, rrs ...dns.RR) []byte {
	t.Helper()
	m := new(dns.Msg)
	m.Response, m.Answer = true, rrs
	raw, err := m.Pack()
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

func srv(n api.NodeID, port uint16, ttl uint32) dns.RR {
	return &dns.SRV{Hdr: dns.RR_Header{Name: string(n) + "." + serviceName, Rrtype: dns.TypeSRV, Class: dns.ClassINET, Ttl: ttl}, Port: port, Target: string(n) + ".local."}
}

func txt(n api.NodeID, ttl uint32, text ...string) dns.RR {
	return &dns.TXT{Hdr: dns.RR_Header{Name: string(n) + "." + serviceName, Rrtype: dns.TypeTXT, Class: dns.ClassINET, Ttl: ttl}, Txt: text}
}

func a(n api.NodeID, addr string) dns.RR {
	return &dns.A{Hdr: dns.RR_Header{Name: string(n) + ".local.", Rrtype: dns.TypeA, Class: dns.ClassINET, Ttl: 120}, A: net.ParseIP(addr)}
}

func TestTextComesBackAsSaid(t *testing.T) {
	for _, want := range []discovery.Announcement{
		{Node: id(1), Port: 1},
		{Node: id(1), Port: 2377, Name: `a "quoted" \ backslash \065 über`, KeyTag: "t", Fleet: api.NewID[api.FleetID](), Manager: true, Veteran: true, Trouble: "a=b=c"},
	} {
		text, err := encodeText(want)
		if err != nil {
			t.Fatal(err)
		}
		got, err := parse(response(t, srv(want.Node, want.Port, 120), txt(want.Node, 120, text...), a(want.Node, "192.0.2.1")))
		if err != nil || len(got.boards) != 1 {
			t.Fatalf("%v, %+v", err, got)
		}
		h := got.boards[0]
		h.text.Node, h.text.Port = h.node, h.port
		if *h.text != want || len(h.addrs) != 1 || h.goodbye {
			t.Errorf("got %+v\nwant %+v", h, want)
		}
	}
}

func TestWhatCannotBeAnnounced(t *testing.T) {
	for _, bad := range []discovery.Announcement{
		{Node: "board", Port: 1}, {Node: id(1)}, {Node: id(1), Port: 1, Fleet: "f"}, {Node: id(1), Port: 1, KeyTag: "a b"},
		{Node: id(1), Port: 1, KeyTag: strings.Repeat("k", maxTag+1)},
	} {
		if text, err := encodeText(bad); err == nil {
			t.Errorf("%+v was announced as %q", bad, text)
		}
	}
}

func TestLongTextIsCutBetweenCharacters(t *testing.T) {
	text, err := encodeText(discovery.Announcement{Node: id(1), Port: 1, Name: strings.Repeat("ü", 300), Trouble: "x\x1b[31m\n" + strings.Repeat("e", 300)})
	if err != nil {
		t.Fatal(err)
	}
	got, err := decodeText(text)
	if err != nil {
		t.Fatal(err)
	}
	if !utf8.ValidString(got.Name) || len(got.Name) < 240 || strings.ContainsAny(got.Trouble, "\x1b\n") || !strings.HasPrefix(got.Trouble, "x?[31m?e") {
		t.Errorf("name %q, trouble %q", got.Name, got.Trouble)
	}
}

func TestBookForgetsAndBounds(t *testing.T) {
	now := time.Now()
	b := newBook(time.Minute)
	eth0 := link{index: 1, name: "eth0", prefixes: []netip.Prefix{netip.MustParsePrefix("192.0.2.9/24")}}
	say := func(n byte) heard {
		return heard{node: id(n), port: 1, text: &discovery.Announcement{}, addrs: []netip.Addr{
			netip.MustParseAddr("203.0.113.1"), netip.MustParseAddr("fe80::1"), netip.MustParseAddr("192.0.2.1")}}
	}
	if !b.hear(say(1), eth0, netip.Addr{}, now) || b.hear(say(1), eth0, netip.Addr{}, now) {
		t.Error("the first hearing is news and the second is not")
	}
	s := b.sightings("", []link{eth0})
	if len(s) != 1 || fmt.Sprint(s[0].Addrs) != "[192.0.2.1:1 [fe80::1%eth0]:1 203.0.113.1:1]" {
		t.Fatalf("own subnet first, link-local with zone, others last: %+v", s)
	}
	// A goodbye takes a second, and is taken back by an announcement.
	b.hear(heard{node: id(1), goodbye: true}, eth0, netip.Addr{}, now)
	b.hear(say(1), eth0, netip.Addr{}, now)
	if changed, _ := b.age(now.Add(2 * time.Second)); changed {
		t.Error("a goodbye that was taken back took effect")
	}
	b.hear(heard{node: id(1), goodbye: true}, eth0, netip.Addr{}, now)
	if changed, next := b.age(now); changed || !next.Equal(now.Add(goodbyeGrace)) {
		t.Errorf("goodbye at once, or looked at no sooner than %v", next)
	}
	if changed, _ := b.age(now.Add(goodbyeGrace)); !changed || len(b.sightings("", []link{eth0})) != 0 {
		t.Error("a goodbye has no effect")
	}
	for i := range maxBoards + 50 {
		h := say(1)
		h.node = api.IDFromBytes[api.NodeID]([16]byte{1, byte(i >> 8), byte(i)})
		b.hear(h, eth0, netip.Addr{}, now)
	}
	if len(b.boards) != maxBoards {
		t.Errorf("%d boards are remembered", len(b.boards))
	}
	if changed, _ := b.age(now.Add(time.Minute)); !changed || len(b.boards) != 0 {
		t.Errorf("%d boards did not age", len(b.boards))
	}
}

func TestScheduleBacksOffAndDefers(t *testing.T) {
	now := time.Now()
	s := schedule{interval: time.Minute, next: now}
	asked, end := 0, now.Add(10*time.Second)
	for ; !s.next.After(end); asked++ {
		s.postpone(s.next) // others' questions don't stop the early ones
		if !s.due(s.next) {
			t.Fatal("not due when it says it is")
		}
	}
	if asked < 6 || asked > 10 {
		t.Errorf("%d questions in the first 10 s", asked)
	}
	for range len(early) {
		s.due(s.next)
	}
	at := s.next
	s.postpone(at)
	if s.due(at) || s.next.Sub(at) < time.Minute || s.next.Sub(at) > 75*time.Second {
		t.Errorf("another's question does not defer ours: %v", s.next.Sub(at))
	}
}

// hostile are packets that somebody with a grudge might send.
func hostile() [][]byte {
	n := id(200)
	var t testing.T
	many := make([]dns.RR, 0, 300)
	for i := range 300 {
		many = append(many, &dns.A{Hdr: dns.RR_Header{Name: string(n) + ".local.", Rrtype: dns.TypeA, Class: dns.ClassINET}, A: net.IPv4(10, 0, 0, byte(i))})
	}
	known := new(dns.Msg) // known answers whose type and content disagree
	known.SetQuestion(serviceName, dns.TypePTR)
	raw, _ := known.Pack()
	raw[7] = 1 // claims one answer
	empty := append(bytes.Clone(raw), 0xc0, 12, 0, 12, 0, 1, 0, 0, 0, 0, 0, 0)
	loop := append(make([]byte, 12), 0xc0, 12, 0, 12, 0, 1)
	loop[5] = 1
	return [][]byte{
		{}, {0}, bytes.Repeat([]byte{0xff}, 512), bytes.Repeat([]byte{0}, 9000), loop, raw, empty,
		response(&t, srv(n, 0, 120), txt(n, 120, "v=x")),
		response(&t, srv(n, 1, 120), txt(n, 120, "v=1", "n=\x1b[2J\n", "f=nofleet")),
		response(&t, srv(n, 1, 120), txt(n, 120, "v=1", `n=\027[2J\010`), a(n, "192.0.2.77"), a(n, "127.0.0.1"), a(n, "0.0.0.0"), a(n, "255.255.255.255")),
		response(&t, append([]dns.RR{srv(n, 1, 120), txt(n, 120, "v=1")}, many...)...),
		response(&t, txt("x", 120, "v=1")),
	}
}

// sendFrom sends a raw packet to the mDNS groups out of a board's namespace,
// by this binary's own test below.
func sendFrom(t *testing.T, b *realBoard, raw []byte) {
	t.Helper()
	cmd := exec.Command("ip", "netns", "exec", b.namespace, os.Args[0], "-test.run=^TestSendRaw$")
	cmd.Env = append(os.Environ(), "EDGESWARM_MDNS_TEST_RAW="+base64.StdEncoding.EncodeToString(raw)+".")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("send: %v: %s", err, out)
	}
}

// TestSendRaw is the other half of sendFrom; by itself it has nothing to send.
func TestSendRaw(t *testing.T) {
	text, ok := strings.CutSuffix(os.Getenv("EDGESWARM_MDNS_TEST_RAW"), ".")
	if !ok {
		return
	}
	raw, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		t.Fatal(err)
	}
	all, err := links()
	if err != nil {
		t.Fatal(err)
	}
	sockets, err := openSockets(t.Context(), all)
	if err != nil {
		t.Fatal(err)
	}
	sent := 0
	for _, s := range sockets {
		for _, l := range all {
			if err := s.send(raw, l.index); err == nil { // IPv6 may still be checking for duplicates
				sent++
			}
		}
		_ = s.close()
	}
	if sent == 0 {
		t.Error("nothing could be sent")
	}
}

func FuzzParse(f *testing.F) {
	for _, raw := range hostile() {
		f.Add(raw)
	}
	text, err := encodeText(discovery.Announcement{Node: id(1), Port: 1, Name: `\ü`, Trouble: "t"})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(response(f, srv(id(1), 1, 1), txt(id(1), 1, text...), a(id(1), "192.0.2.1")))
	f.Fuzz(func(t *testing.T, raw []byte) {
		got, err := parse(raw)
		if err != nil {
			return
		}
		b := newBook(time.Minute)
		for _, h := range got.boards {
			b.hear(h, link{index: 1, name: "eth0"}, netip.MustParseAddr("192.0.2.1"), time.Now())
		}
		for _, s := range b.sightings("", nil) {
			if !api.IsID(string(s.Node)) || !utf8.ValidString(s.Name+s.Trouble) || len(s.Name) > maxString || len(s.Addrs) == 0 || len(s.Addrs) > maxBoardAddrs {
				t.Errorf("out of bounds: %+v", s)
			}
			s.Fleet = ""
			again, err := encodeText(s.Announcement)
			if err != nil {
				t.Fatalf("what was heard can't be said: %v", err)
			}
			if back, err := decodeText(again); err != nil || back.KeyTag != s.KeyTag {
				t.Errorf("%v: %+v became %+v", err, s.Announcement, back)
			}
		}
	})
}
