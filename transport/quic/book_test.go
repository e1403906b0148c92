package quic

import (
	"fmt"
	"net/netip"
	"testing"

	"github.com/edgeswarm/edgeswarm/api"
)

func addr(s string) netip.AddrPort { return netip.MustParseAddrPort(s) }

func TestBookRanks(t *testing.T) {
	var b book
	const n = api.NodeID("n")
	show := func() string {
		addrs, _ := b.lookup(n)
		return fmt.Sprint(addrs)
	}
	if addrs, changed := b.lookup(n); addrs != nil || changed != nil {
		t.Error("an unknown node is known")
	}
	b.learn(n, addr("10.0.0.1:1"), addr("10.0.0.2:1"))
	b.learn(n, addr("10.0.0.3:1"))
	if got := show(); got != "[10.0.0.3:1 10.0.0.1:1 10.0.0.2:1]" {
		t.Errorf("newest first: %s", got)
	}
	b.answered(n, addr("10.0.0.2:1"))
	b.learn(n, addr("10.0.0.9:1"))
	if got := show(); got != "[10.0.0.2:1 10.0.0.9:1 10.0.0.3:1 10.0.0.1:1]" {
		t.Errorf("the one that answered first: %s", got)
	}
	b.silent(n, addr("10.0.0.3:1")) // not the good one: nothing changes
	b.silent(n, addr("10.0.0.2:1"))
	if got := show(); got != "[10.0.0.9:1 10.0.0.2:1 10.0.0.3:1 10.0.0.1:1]" {
		t.Errorf("after its silence: %s", got)
	}
	b.forget(n)
	if got := show(); got != "[]" {
		t.Errorf("forgotten: %s", got)
	}
}

func TestBookSaysWhenThereIsNews(t *testing.T) {
	var b book
	if !b.learn("n", addr("10.0.0.1:1")) {
		t.Error("the first address is no news")
	}
	_, changed := b.lookup("n")
	if b.learn("n", addr("[::ffff:10.0.0.1]:1")) {
		t.Error("an address is news in another form")
	}
	select {
	case <-changed:
		t.Error("woken by no news")
	default:
	}
	b.learn("n", addr("10.0.0.2:1"))
	select {
	case <-changed:
	default:
		t.Error("not woken by news")
	}
}

func TestCleanAddresses(t *testing.T) {
	for in, want := range map[string]string{
		"10.0.0.1:1":            "10.0.0.1:1",
		"[::ffff:10.0.0.1]:1":   "10.0.0.1:1",
		"[fe80::1%eth0]:1":      "[fe80::1%eth0]:1",
		"[fd00::1%eth0]:1":      "[fd00::1]:1",
		"0.0.0.0:1":             "invalid AddrPort",
		"[::]:1":                "invalid AddrPort",
		"224.0.0.251:5353":      "invalid AddrPort",
		"10.0.0.1:0":            "invalid AddrPort",
		"[::ffff:0.0.0.0]:2377": "invalid AddrPort",
	} {
		if got := clean(addr(in)).String(); got != want {
			t.Errorf("clean(%s) = %s, want %s", in, got, want)
		}
	}
}

func TestQuoteDefusesAPeersWords(t *testing.T) {
	if got := quote("a\nb\x1b[31mc\u0085d"); got != "a b [31mc d" {
		t.Errorf("%q", got)
	}
	if got := quote(string(make([]byte, 5000))); len(got) > maxReason+5 {
		t.Errorf("%d bytes", len(got))
	}
}
