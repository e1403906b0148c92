package main

import (
	"context"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/edgeswarm/edgeswarm/identity"
	"github.com/edgeswarm/edgeswarm/internal/boardimage"
	"github.com/edgeswarm/edgeswarm/internal/settings"
)

// settingsOf is the edge.yaml that `flash` with these arguments would write.
func settingsOf(t *testing.T, args ...string) (string, error) {
	t.Helper()
	c := &cli{}
	var card settings.Card
	f := flashing{settings: card.Flags()}
	for i := 0; i+1 < len(args); i += 2 {
		switch args[i] {
		case "config":
			f.file = args[i+1]
		case "fleet-key-file":
			f.fleetKeyFile = args[i+1]
		default:
			if err := f.settings.Set(args[i], args[i+1]); err != nil {
				t.Fatal(err)
			}
		}
	}
	raw, err := c.cardSettings(&f)
	return string(raw), err
}

func TestAnInterruptedFlashSaysWhatIsLeft(t *testing.T) {
	image, card := filepath.Join(t.TempDir(), "blank.img"), filepath.Join(t.TempDir(), "card")
	sector := make([]byte, boardimage.SectorSize)
	boardimage.New().Write(sector)
	if err := os.WriteFile(image, sector, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(image, boardimage.ImageSize); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	err := run(ctx, []string{"flash", "--image", image, "--device", card}, streams{in: strings.NewReader(""), out: io.Discard, err: io.Discard})
	if err == nil || exitCode(err) != exitInterrupted || !strings.Contains(err.Error(), card+" holds nothing of use now: flash it again") {
		t.Errorf("got %v", err)
	}
}

func TestFlashWritesWhatWasAskedFor(t *testing.T) {
	key := identity.GenerateFleetKey().Reveal()
	dir := t.TempDir()
	keyFile, file := filepath.Join(dir, "key"), filepath.Join(dir, "edge.yaml")
	mine := "# mine\nname: attic # up there\nfleet-key: " + key + "\n"
	for path, text := range map[string]string{keyFile: key + "\n", file: mine} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for name, tt := range map[string]struct {
		args []string
		want string
	}{
		"nothing":           {nil, ""},
		"flags":             {[]string{"name", "shed", "fleet-key-file", keyFile}, "fleet-key: " + key + "\nname: shed\n"},
		"a file as it is":   {[]string{"config", file}, mine},
		"a flag wins":       {[]string{"config", file, "name", "shed"}, "fleet-key: " + key + "\nname: shed\n"},
		"a key wins or not": {[]string{"config", file, "fleet-key-file", keyFile}, "fleet-key: " + key + "\nname: attic\n"},
	} {
		if got, err := settingsOf(t, tt.args...); err != nil || got != tt.want {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
}
