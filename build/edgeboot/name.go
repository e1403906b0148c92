package main

import (
	"crypto/rand"
	"errors"
	"os"
	"path/filepath"
	"strings"

	"github.com/edgeswarm/edgeswarm/internal/settings"
)

// boardName is the card's name for the board, or one that no other board of
// the LAN should have. That is kept on the data partition: a board keeps its
// name when its network card is changed.
func boardName(c *settings.Card) (string, error) {
	if c.Board.Name != "" {
		return c.Board.Name, nil
	}
	kept := filepath.Join(dataDir, "name")
	raw, err := os.ReadFile(kept)
	if name := strings.TrimSpace(string(raw)); err == nil && name != "" {
		return name, nil
	}
	name := "edge-" + serial("/")
	return name, errors.Join(os.WriteFile(kept+".new", []byte(name+"\n"), 0o644), os.Rename(kept+".new", kept))
}

// serial is the end of the number that the maker gave the board, in six
// characters as they are printed on it: of the board itself, or else of its
// first network card. At random if it has none.
func serial(root string) string {
	places := []string{filepath.Join(root, "proc/device-tree/serial-number")}
	cards, _ := filepath.Glob(filepath.Join(root, "sys/class/net/*/address"))
	for _, path := range append(places, cards...) {
		raw, err := os.ReadFile(path)
		text := strings.ToLower(strings.ReplaceAll(strings.Trim(string(raw), "\x00\n "), ":", ""))
		if err == nil && len(text) >= 6 && strings.Trim(text, "0") != "" {
			return text[len(text)-6:]
		}
	}
	return strings.ToLower(rand.Text()[:6])
}
