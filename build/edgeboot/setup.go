package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/edgeswarm/edgeswarm/internal/boardimage"
	"github.com/edgeswarm/edgeswarm/internal/settings"
)

// Places of a running board.
const (
	runDir     = "/run/edgeboot"
	bootNote   = runDir + "/boot" // what init tells setup
	bootDir    = "/boot"          // the boot partition
	dataDir    = "/data"
	networkDir = "/run/systemd/network"
)

// setup is the second half: settings and data partition. It comes to its end
// whatever is wrong, so that the board comes up; what was wrong is told here, on
// the console, and handed to edged to tell all others.
func setup() error {
	disk, err := noted("disk")
	if err != nil {
		return err
	}
	raw, err := openBoot(boardimage.Device(disk, boardimage.Boot))
	card, flags, troubles := readCard(raw)
	if err != nil {
		troubles = append(troubles, err)
	}
	if err := mountData(disk, dataDir, card.OnDamage); err != nil {
		troubles = append(troubles, err, unix.Mount("tmpfs", dataDir, "tmpfs", 0, "mode=755"))
		withoutData(card)
	}
	name, err := boardName(card)
	troubles = append(troubles, err, places(), unix.Sethostname([]byte(name)))
	troubles = present(append(troubles, writeFiles(card)))
	edged, err := edgedSettings(flags, name, troubles)
	if err == nil {
		err = os.WriteFile(runDir+"/edged.yaml", edged, 0o600)
	}
	for _, t := range present(append(troubles, err)) {
		fmt.Fprintf(os.Stderr, "\r\nThis board has a trouble: %v\r\n", t)
	}
	return nil
}

func present(all []error) (some []error) {
	for _, err := range all {
		if err != nil {
			some = append(some, err)
		}
	}
	return some
}

// withoutData makes a board that has lost sight of who it was join nothing: as
// another board it would only be in the way when the first comes back.
func withoutData(c *settings.Card) {
	c.Board.FleetKey, c.Board.JoinToken, c.Board.JoinAddrs = "", "", nil
}

// openBoot mounts the boot partition, which a board only reads, and returns the
// settings on it.
func openBoot(device string) ([]byte, error) {
	if err := unix.Mount(device, bootDir, "vfat", unix.MS_RDONLY|unix.MS_NOATIME|unix.MS_NODEV|unix.MS_NOSUID, "umask=077"); err != nil {
		return nil, fmt.Errorf("mount the boot partition %s: %w: flash the card anew, or check it on another computer", device, err)
	}
	raw, err := os.ReadFile(filepath.Join(bootDir, cardFile))
	if errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("%s is not on the boot partition: write one there", cardFile)
	}
	return raw, err
}

// noted reads a value that init left.
func noted(key string) (string, error) {
	raw, err := os.ReadFile(bootNote)
	if err != nil {
		return "", err
	}
	for line := range strings.Lines(string(raw)) {
		if value, ok := strings.CutPrefix(strings.TrimSpace(line), key+"="); ok {
			return value, nil
		}
	}
	return "", fmt.Errorf("%s does not tell the %s", bootNote, key)
}

// places makes the folders that must last, and binds edged's to where it looks.
func places() error {
	const state = "/var/lib/edgeswarm"
	for _, dir := range []string{dataDir + "/edgeswarm", dataDir + "/ssh", state} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return err
		}
	}
	if err := unix.Mount(dataDir+"/edgeswarm", state, "", unix.MS_BIND, ""); err != nil {
		return fmt.Errorf("mount %s: %w", state, err)
	}
	return nil
}

// writeFiles writes what the board's other programs read.
func writeFiles(c *settings.Card) error {
	files := map[string]string{
		runDir + "/wpa.conf":                      wpaConfig(c),
		runDir + "/ssh/authorized_keys":           strings.Join(c.SSHKeys, "\n"),
		"/run/systemd/timesyncd.conf.d/card.conf": timeServers(c),
	}
	if c.Shell {
		files[runDir+"/shell"] = "yes"
	}
	for name, text := range networkUnits(c) {
		files[filepath.Join(networkDir, name)] = text
	}
	for name, text := range files {
		if text == "" {
			continue
		}
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			return err
		}
		mode := os.FileMode(0o600)
		if strings.HasPrefix(name, "/run/systemd/") { // read by users of their own
			mode = 0o644
		}
		if err := os.WriteFile(name, []byte(strings.TrimSpace(text)+"\n"), mode); err != nil {
			return err
		}
	}
	return nil
}
