package lab

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// cardFile is the board's edge.yaml. It is on the card, so whoever powers the
// board on again, in whatever process, starts it with the same key.
func (b Board) cardFile() string { return filepath.Join(b.StateDir(), "edge.yaml") }

// argsFile holds Config.Args, for the same reason.
func (b Board) argsFile() string { return filepath.Join(b.StateDir(), "edged-args.json") }

// writeCard prepares the card of a board that is plugged in.
func (b Board) writeCard() error {
	card := "# What a person writes on a board's card.\n"
	if b.lab.cfg.FleetKey != "" {
		card += fmt.Sprintf("fleet-key: %q\n", b.lab.cfg.FleetKey)
	}
	if err := os.WriteFile(b.cardFile(), []byte(card), 0o600); err != nil {
		return fmt.Errorf("write card: %w", err)
	}
	args, err := json.Marshal(b.lab.cfg.Args)
	if err != nil {
		return fmt.Errorf("write card: %w", err)
	}
	if err := os.WriteFile(b.argsFile(), args, 0o600); err != nil {
		return fmt.Errorf("write card: %w", err)
	}
	return nil
}

// Set writes a setting on the board's card, in place of the one of its name; ""
// takes it off. It counts from the next start of the board's edged on.
func (b Board) Set(name, value string) error {
	raw, err := os.ReadFile(b.cardFile())
	if err != nil {
		return fmt.Errorf("write card: %w", err)
	}
	lines := slices.DeleteFunc(strings.SplitAfter(string(raw), "\n"), func(line string) bool { return strings.HasPrefix(line, name+":") })
	if value != "" {
		lines = append(lines, name+": "+value+"\n")
	}
	if err := os.WriteFile(b.cardFile(), []byte(strings.Join(lines, "")), 0o600); err != nil {
		return fmt.Errorf("write card: %w", err)
	}
	return nil
}

// managed reports whether the board's edged keeps a containerd by itself: its
// card says so.
func (b Board) managed() bool {
	args, err := b.cardArgs()
	i := slices.Index(args, "--containerd")
	return err == nil && i >= 0 && i+1 < len(args) && args[i+1] == "managed"
}

// cardArgs are the further arguments of the board's edged.
func (b Board) cardArgs() ([]string, error) {
	raw, err := os.ReadFile(b.argsFile())
	if err != nil {
		return nil, fmt.Errorf("read card: %w", err)
	}
	var args []string
	if err := json.Unmarshal(raw, &args); err != nil {
		return nil, fmt.Errorf("read card: %w", err)
	}
	return args, nil
}
