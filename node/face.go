package node

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/edgeswarm/edgeswarm/api"
)

const (
	// faceEvery is how soon a change shows.
	faceEvery = 3 * time.Second
	// faceTimeout bounds a terminal that takes nothing: a serial line whose
	// other end holds it off.
	faceTimeout = time.Second
)

// showFace keeps who the board is, and how it is, on its terminals: what stands
// before an operator who plugs a screen in. Only a change is drawn. A terminal
// that can't be written is no reason for anything else to stop.
func (b *Board) showFace(ctx context.Context) error {
	if len(b.cfg.Consoles) == 0 {
		return nil
	}
	shown := map[string]string{}
	tick := time.NewTicker(faceEvery)
	defer tick.Stop()
	for {
		text := face(b.status())
		for _, terminal := range b.cfg.Consoles {
			if shown[terminal] == text {
				continue
			}
			if err := draw(terminal, text); err != nil {
				b.cfg.Logger.Debug("console can't be written", "path", terminal, "err", err)
			}
			shown[terminal] = text // or tried: it is not tried all the time
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// face is what a board says of itself on a screen.
func face(s *api.BoardStatus) string {
	var out strings.Builder
	line := func(key, value string) {
		if value != "" {
			fmt.Fprintf(&out, "  %-9s %s\n", key, value)
		}
	}
	fmt.Fprintf(&out, "Edgeswarm %s\n", s.Version)
	line("board", fmt.Sprintf("%s (%s)", s.Hostname, s.NodeID[:min(12, len(s.NodeID))]))
	if s.Addr == "" {
		line("address", "none yet: plug in a network cable, or check the WiFi in edge.yaml")
	} else {
		line("address", s.Addr)
	}
	switch {
	case s.Membership != api.MembershipMember:
		line("fleet", "none: "+s.Message)
	case s.FleetName != "":
		line("fleet", fmt.Sprintf("%s (%s)", s.FleetName, s.FleetID))
	default:
		line("fleet", string(s.FleetID))
	}
	if s.Membership == api.MembershipMember {
		line("state", s.Message)
	}
	line("trouble", s.Description.Trouble)
	return out.String()
}

// draw puts text on a terminal: in the place of what a screen shows, below it
// on a serial line.
func draw(terminal, text string) error {
	f, err := os.OpenFile(terminal, os.O_WRONLY|unix.O_NOCTTY|unix.O_NONBLOCK, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	_ = f.SetWriteDeadline(time.Now().Add(faceTimeout)) // what can't have one does not hold off
	text = strings.ReplaceAll("\n"+text, "\n", "\r\n")
	if name := filepath.Base(terminal); strings.HasPrefix(name, "tty") && len(name) == 4 { // tty1, a screen; not ttyS0
		text = "\x1b[H\x1b[2J" + text
	}
	_, err = f.WriteString(text)
	return err
}
