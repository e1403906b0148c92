package ethernet

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// wire is a board's end of its cable, and what arrived there.
type wire struct {
	t    *testing.T
	conn net.Conn
	mu   sync.Mutex
	got  []string // payloads, in order
	when []time.Time
}

// plug connects a board to a new port.
func plug(t *testing.T, s *Switch, name string) *wire {
	t.Helper()
	p := newPort(s, name, nil)
	s.mu.Lock()
	s.ports = append(s.ports, p)
	s.mu.Unlock()
	return reconnect(t, p)
}

func reconnect(t *testing.T, p *Port) *wire {
	t.Helper()
	ours, theirs := net.Pipe()
	w := &wire{t: t, conn: ours}
	var running sync.WaitGroup
	running.Go(func() {
		if err := p.serve(t.Context(), theirs); err != nil {
			t.Errorf("port %s: %v", p.name, err)
		}
	})
	running.Go(func() {
		for {
			f, err := readFrame(ours)
			if err != nil {
				return
			}
			w.mu.Lock()
			w.got, w.when = append(w.got, string(f[headerSize:])), append(w.when, time.Now())
			w.mu.Unlock()
		}
	})
	t.Cleanup(func() {
		_ = ours.Close()
		running.Wait()
	})
	synctest.Wait()
	return w
}

var (
	macA      = MAC{2, 0, 0, 0, 0, 0xa}
	macB      = MAC{2, 0, 0, 0, 0, 0xb}
	macC      = MAC{2, 0, 0, 0, 0, 0xc}
	broadcast = MAC{255, 255, 255, 255, 255, 255}
	multicast = MAC{1, 0, 0x5e, 0, 0, 0xfb}
)

func (w *wire) send(to, from MAC, payload string) {
	w.t.Helper()
	f := slices.Concat(frame(to[:]), frame(from[:]), frame{0x88, 0xb5}, frame(payload))
	if err := writeFrame(w.conn, f); err != nil {
		w.t.Fatal(err)
	}
	synctest.Wait()
}

// heard returns what arrived since it was last asked.
func (w *wire) heard() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	got := strings.Join(w.got, " ")
	w.got, w.when = nil, nil
	return got
}

func newSwitch() *Switch { return New(Config{Seed: 1, Log: slog.New(slog.DiscardHandler)}) }

// expect checks what each of the wires heard.
func expect(t *testing.T, what string, want map[*wire]string) {
	t.Helper()
	for w, text := range want {
		if got := w.heard(); got != text {
			t.Errorf("%s: heard %q, want %q", what, got, text)
		}
	}
}

func TestSwitchLearns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSwitch()
		a, b, c := plug(t, s, "a"), plug(t, s, "b"), plug(t, s, "c")
		a.send(macB, macA, "1")
		expect(t, "an unknown address is flooded", map[*wire]string{a: "", b: "1", c: "1"})
		b.send(macA, macB, "2")
		expect(t, "a known one is not", map[*wire]string{a: "2", b: "", c: ""})
		a.send(macB, macA, "3")
		expect(t, "both are known", map[*wire]string{a: "", b: "3", c: ""})
		a.send(broadcast, macA, "4")
		a.send(multicast, macA, "5")
		expect(t, "what is for many", map[*wire]string{a: "", b: "4 5", c: "4 5"})
		c.send(macA, macB, "6") // B was carried over
		a.send(macB, macA, "7")
		expect(t, "an address that moved", map[*wire]string{a: "6", b: "", c: "7"})
		time.Sleep(forgetAfter)
		a.send(macB, macA, "8")
		expect(t, "an address that was long silent", map[*wire]string{a: "", b: "8", c: "8"})
	})
}

// A board that was unplugged is forgotten; in its place comes another.
func TestSwitchForgetsTheUnplugged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSwitch()
		a, b := plug(t, s, "a"), plug(t, s, "b")
		b.send(macA, macB, "hello")
		_ = b.conn.Close()
		synctest.Wait()
		a.heard()
		a.send(macB, macA, "to nobody")
		b = reconnect(t, s.ports[1])
		c := plug(t, s, "c")
		a.send(macB, macA, "again")
		expect(t, "after a reboot", map[*wire]string{a: "", b: "again", c: "again"})
	})
}

func TestSwitchTableIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSwitch()
		a, _ := plug(t, s, "a"), plug(t, s, "b")
		for i := range maxAddresses + 10 {
			m := MAC{2}
			binary.BigEndian.PutUint32(m[2:], uint32(i))
			a.send(macB, m, "")
		}
		if n := len(s.learned); n > maxAddresses {
			t.Errorf("%d addresses are remembered", n)
		}
	})
}

func TestPartition(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSwitch()
		a, b, c, router := plug(t, s, "a"), plug(t, s, "b"), plug(t, s, "c"), plug(t, s, "router")
		b.send(broadcast, macB, "learn")
		for _, w := range []*wire{a, c, router} {
			w.heard()
		}
		s.Partition([]string{"a"}, []string{"b", "c"})
		a.send(macB, macA, "1")
		a.send(broadcast, macA, "2")
		c.send(broadcast, macC, "3")
		expect(t, "islands", map[*wire]string{a: "", b: "3", c: "", router: "2 3"})
		router.send(broadcast, MAC{2, 9}, "4")
		expect(t, "who is in none is heard by all", map[*wire]string{a: "4", b: "4", c: "4"})
		s.Heal()
		a.send(macB, macA, "5")
		expect(t, "healed", map[*wire]string{a: "", b: "5", c: ""})
	})
}

func TestLinkDelays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSwitch()
		a, b := plug(t, s, "a"), plug(t, s, "b")
		if err := s.SetLink("a", Link{Delay: 30 * time.Millisecond}); err != nil {
			t.Fatal(err)
		}
		if err := s.SetLink("b", Link{Delay: 50 * time.Millisecond}); err != nil {
			t.Fatal(err)
		}
		if err := s.SetLink("z", Link{}); err == nil {
			t.Error("a port that is not there has a link")
		}
		begin := time.Now()
		a.send(macB, macA, "1")
		a.send(macB, macA, "2")
		time.Sleep(time.Second)
		b.mu.Lock()
		defer b.mu.Unlock()
		if len(b.got) != 2 || b.got[0] != "1" || b.when[0].Sub(begin) != 80*time.Millisecond {
			t.Errorf("%q arrived at %v, a delay of %v", b.got, b.when, b.when[0].Sub(begin))
		}
	})
}

// What is lost and doubled is what the link says, within what chance allows,
// and the same for the same seed.
func TestLinkFatesAreSeeded(t *testing.T) {
	run := func(seed uint64, l Link) (got string) {
		synctest.Test(t, func(t *testing.T) {
			s := New(Config{Seed: seed, Log: slog.New(slog.DiscardHandler)})
			a, b := plug(t, s, "a"), plug(t, s, "b")
			if err := s.SetLink("b", l); err != nil {
				t.Fatal(err)
			}
			for i := range 1000 {
				a.send(macB, macA, fmt.Sprint(i))
			}
			time.Sleep(time.Minute)
			got = b.heard()
		})
		return got
	}
	lossy := Link{Loss: 0.2, Duplicate: 0.1, Jitter: 50 * time.Millisecond}
	first, again, other := run(7, lossy), run(7, lossy), run(8, lossy)
	if first != again {
		t.Error("one seed, two outcomes")
	}
	if first == other {
		t.Error("two seeds, one outcome")
	}
	seen := map[string]int{}
	for _, payload := range strings.Fields(first) {
		seen[payload]++
	}
	twice := 0
	for payload, n := range seen {
		if n > 2 {
			t.Errorf("frame %s arrived %d times", payload, n)
		}
		if n == 2 {
			twice++
		}
	}
	if lost := 1000 - len(seen); lost < 150 || lost > 250 || twice < 50 || twice > 120 {
		t.Errorf("of 1000 frames %d were lost and %d doubled, want about 200 and 80", lost, twice)
	}
	if in := strings.Fields(run(7, Link{})); len(in) != 1000 || !slices.Equal(in[:3], []string{"0", "1", "2"}) {
		t.Errorf("over a good cable %d of 1000 frames came, first %q", len(in), in[:3])
	}
}

// A board that takes nothing costs no memory without bound, and nobody else
// a frame.
func TestSlowReceiverIsDropped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSwitch()
		a, b := plug(t, s, "a"), plug(t, s, "b")
		stuck := newPort(s, "stuck", nil)
		stuck.plugged = true // and nobody serves it
		s.ports = append(s.ports, stuck)
		for range queueLen + 10 {
			a.send(broadcast, macA, "x")
		}
		if n := len(strings.Fields(b.heard())); n != queueLen+10 {
			t.Errorf("%d frames came past a stuck board", n)
		}
		if len(stuck.queue) != queueLen || stuck.dropped != 10 {
			t.Errorf("%d frames are queued and %d dropped", len(stuck.queue), stuck.dropped)
		}
	})
}

func TestAddressOf(t *testing.T) {
	arp := func(mac MAC, ip ...byte) frame {
		f := slices.Concat(frame(broadcast[:]), frame(macA[:]), frame{8, 6}, make(frame, 28))
		copy(f[22:28], mac[:])
		copy(f[28:32], ip)
		return f
	}
	ipv4 := func(ip ...byte) frame {
		f := slices.Concat(frame(broadcast[:]), frame(macA[:]), frame{8, 0}, make(frame, 20))
		copy(f[26:30], ip)
		return f
	}
	for name, c := range map[string]struct {
		f    frame
		want string
	}{
		"ARP":                        {arp(macA, 10, 0, 2, 15), "10.0.2.15"},
		"ARP probe":                  {arp(macA, 0, 0, 0, 0), ""},
		"ARP for another":            {arp(macB, 10, 0, 2, 15), ""},
		"ARP cut short":              {arp(macA, 10, 0, 2, 15)[:40], ""},
		"IP":                         {ipv4(192, 168, 1, 2), "192.168.1.2"},
		"IP before there is a lease": {ipv4(0, 0, 0, 0), ""},
		"IP link-local":              {ipv4(169, 254, 3, 4), ""},
		"IP cut short":               {ipv4(10, 0, 2, 15)[:30], ""},
		"another type":               {slices.Concat(frame(broadcast[:]), frame(macA[:]), frame{0x88, 0xb5}), ""},
	} {
		a, ok := addressOf(c.f)
		if ok != (c.want != "") || ok && a != netip.MustParseAddr(c.want) {
			t.Errorf("%s: %v, %v", name, a, ok)
		}
	}
}

// TestSocket is the whole of a port: a socket, a capture, one board after the
// other, and the end.
func TestSocket(t *testing.T) {
	dir := t.TempDir()
	s := New(Config{Captures: dir, Log: slog.New(slog.DiscardHandler)})
	var running sync.WaitGroup
	for _, name := range []string{"a", "b"} {
		p, err := s.Listen(name, filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		running.Go(func() {
			if err := p.Run(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
	if _, err := s.Listen("a", filepath.Join(dir, "again")); err == nil {
		t.Error("two ports have one name")
	}
	dial := func(name string) net.Conn {
		conn, err := net.Dial("unix", filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		return conn
	}
	for range 2 { // one board after the other on the same plugs
		a, b := dial("a"), dial("b")
		want := slices.Concat(frame(macB[:]), frame(macA[:]), frame{0x88, 0xb5}, bytes.Repeat(frame("x"), 1000))
		got := make(chan frame, 1)
		go func() {
			f, _ := readFrame(b)
			got <- f
		}()
		resend := time.NewTicker(5 * time.Millisecond) // until both plugs are taken
		for f := (frame)(nil); f == nil; {
			if err := writeFrame(a, want); err != nil {
				t.Fatal(err)
			}
			select {
			case f = <-got:
				if !bytes.Equal(f, want) {
					t.Errorf("%d bytes came", len(f))
				}
			case <-resend.C:
			}
		}
		resend.Stop()
		_, _ = a.Close(), b.Close()
	}
	t.Cleanup(func() { // the test's context has ended
		running.Wait()
		raw, err := os.ReadFile(filepath.Join(dir, "b.pcap"))
		if err != nil {
			t.Fatal(err)
		}
		if len(raw) < 24+16+snapLen || binary.LittleEndian.Uint32(raw[32:]) != snapLen || binary.LittleEndian.Uint32(raw[36:]) != headerSize+1000 {
			t.Errorf("the capture has %d bytes: % x", len(raw), raw[:min(len(raw), 64)])
		}
	})
}
