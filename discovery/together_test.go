package discovery

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/edgeswarm/edgeswarm/api"
)

type fake struct {
	seen    []Sighting
	changed chan struct{}
	said    Announcement
	err     error
}

func (f *fake) Announce(a Announcement)  { f.said = a }
func (f *fake) Sightings() []Sighting    { return f.seen }
func (f *fake) Changed() <-chan struct{} { return f.changed }

func (f *fake) Run(ctx context.Context) error {
	if f.err == nil {
		<-ctx.Done()
	}
	return f.err
}

func sighting(node api.NodeID, name string, heard int64, addrs ...string) Sighting {
	s := Sighting{Announcement: Announcement{Node: node, Name: name}, Heard: time.Unix(heard, 0)}
	for _, a := range addrs {
		s.Addrs = append(s.Addrs, netip.MustParseAddrPort(a))
	}
	return s
}

func TestTogether(t *testing.T) {
	one := &fake{changed: make(chan struct{}, 1), seen: []Sighting{
		sighting("b", "old", 1, "192.0.2.1:1", "192.0.2.2:1"), sighting("c", "c", 1, "192.0.2.3:1"),
	}}
	two := &fake{changed: make(chan struct{}, 1), seen: []Sighting{
		sighting("", "", 5, "198.51.100.1:1"), sighting("", "", 5, "198.51.100.2:1"), sighting("b", "new", 2, "192.0.2.2:1", "192.0.2.9:1"),
	}}
	f := Together(one, two)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- f.Run(ctx) }()
	two.changed <- struct{}{}
	<-f.Changed()
	var got []string
	for _, s := range f.Sightings() {
		got = append(got, fmt.Sprint(s.Node, s.Name, s.Addrs))
	}
	want := "[[198.51.100.2:1] [198.51.100.1:1] bnew[192.0.2.2:1 192.0.2.9:1 192.0.2.1:1] cc[192.0.2.3:1]]"
	if fmt.Sprint(got) != want {
		t.Errorf("got  %v\nwant %s", got, want)
	}
	f.Announce(Announcement{Name: "me"})
	if one.said.Name != "me" || two.said.Name != "me" {
		t.Error("not all announce")
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	broken := Together(&fake{}, &fake{err: errors.New("broken")})
	if err := broken.Run(t.Context()); err == nil {
		t.Error("one that errs does not end the others")
	}
}
