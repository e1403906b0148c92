package main

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/pflag"

	"github.com/edgeswarm/edgeswarm/internal/settings"
)

// cardFile holds the board's settings, on the boot partition.
const cardFile = "edge.yaml"

// readCard reads the board's settings. What is wrong is passed over and told;
// what is right counts, so that a board with a slip in its file still has its
// network.
func readCard(raw []byte) (*settings.Card, *pflag.FlagSet, []error) {
	var c settings.Card
	flags := c.Flags()
	wrong := settings.FromYAML(flags, raw)
	for i, err := range wrong {
		wrong[i] = fmt.Errorf("%s %w", cardFile, err)
	}
	if c.Board.JoinToken != "" && len(c.Board.JoinAddrs) == 0 {
		c.Board.JoinToken = "" // edged would refuse it
		wrong = append(wrong, fmt.Errorf("%s: join-token is set and join-addr is not: name a manager's address", cardFile))
	}
	if c.Address == "" && c.Gateway != "" {
		wrong = append(wrong, fmt.Errorf("%s: gateway is set and address is not: DHCP tells the gateway, or set both", cardFile))
	}
	return &c, flags, wrong
}

// edgedSettings is the file that edged is started with: what the card's flags
// say of edged, and what this board is.
func edgedSettings(card *pflag.FlagSet, name string, troubles []error) ([]byte, error) {
	var b settings.Board
	own := b.Flags()
	failed := own.Set("name", name)
	for _, terminal := range consoles() {
		failed = errors.Join(failed, own.Set("console", terminal))
	}
	if trouble := oneLine(troubles); trouble != "" {
		failed = errors.Join(failed, own.Set("trouble", trouble))
	}
	if failed != nil {
		return nil, failed
	}
	card.Visit(func(f *pflag.Flag) {
		if mine := own.Lookup(f.Name); mine != nil && !mine.Changed {
			mine.Value, mine.Changed = f.Value, true
		}
	})
	return settings.YAML(own)
}

// oneLine tells all troubles as others are told of them.
func oneLine(troubles []error) string {
	var lines []string
	for _, t := range troubles {
		lines = append(lines, strings.Join(strings.Fields(t.Error()), " "))
	}
	return strings.Join(lines, "; ")
}

// consoles are the terminals that the kernel speaks on: every screen and
// serial line that is there.
func consoles() []string {
	raw, err := os.ReadFile("/sys/class/tty/console/active")
	if err != nil {
		return nil
	}
	var all []string
	for _, name := range strings.Fields(string(raw)) {
		if name == "tty0" {
			name = "tty1" // the screen itself; tty0 is whichever is shown
		}
		all = append(all, "/dev/"+name)
	}
	return all
}
