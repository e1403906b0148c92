package static

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/edgeswarm/edgeswarm/api"
	"github.com/edgeswarm/edgeswarm/discovery"
)

func TestAddressesAreSightingsOfTheirOwn(t *testing.T) {
	f, err := New(Config{Addrs: []string{"192.0.2.1", "192.0.2.2:99", "[2001:db8::1]:7", "2001:db8::2", "[2001:db8::3]"}})
	if err != nil {
		t.Fatal(err)
	}
	<-f.Changed()
	var got []netip.AddrPort
	for _, s := range f.Sightings() {
		if s.Announcement != (discovery.Announcement{}) || s.Heard.IsZero() {
			t.Errorf("says more than an address: %+v", s)
		}
		got = append(got, s.Addrs...)
	}
	want := "[192.0.2.1:2377 192.0.2.2:99 [2001:db8::1]:7 [2001:db8::2]:2377 [2001:db8::3]:2377]"
	if fmt.Sprint(got) != want {
		t.Errorf("got %v, want %s", got, want)
	}
}

func TestWhatIsNoAddress(t *testing.T) {
	for _, bad := range []string{"", ":2377", "board1:0", "board1:70000", "board1:x", "a b", "http://board1", "[::1", "a:b:c"} {
		if _, err := New(Config{Addrs: []string{bad}}); api.KindOf(err) != api.Invalid {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

func TestNamesAreFollowed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var answers sync.Map // host to addresses
		f, err := New(Config{Addrs: []string{"board1.lan", "192.0.2.9"}, Lookup: func(_ context.Context, host string) ([]netip.Addr, error) {
			if a, ok := answers.Load(host); ok {
				return a.([]netip.Addr), nil
			}
			return nil, errors.New("no such host")
		}})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- f.Run(ctx) }()
		synctest.Wait()
		<-f.Changed()
		if s := f.Sightings(); len(s) != 1 {
			t.Fatalf("before the name resolves: %v", s)
		}
		for _, addr := range []string{"192.0.2.1", "192.0.2.2"} {
			answers.Store("board1.lan", []netip.Addr{netip.MustParseAddr(addr)})
			<-f.Changed() // within a minute, or the bubble is deadlocked
			if s := f.Sightings(); len(s) != 2 || s[0].Addrs[0].Addr().String() != addr {
				t.Errorf("the name moved to %s: %v", addr, s)
			}
		}
		answers.Delete("board1.lan")
		time.Sleep(10 * time.Minute)
		if s := f.Sightings(); len(s) != 2 {
			t.Errorf("a name that resolves no more lost its address: %v", s)
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}
