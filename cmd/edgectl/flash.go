package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/edgeswarm/edgeswarm/cmd/edgectl/internal/flagvalue"
	"github.com/edgeswarm/edgeswarm/cmd/edgectl/internal/flash"
	"github.com/edgeswarm/edgeswarm/internal/settings"
)

// flashing is what `flash` was told.
type flashing struct {
	flash.Config
	settings     *pflag.FlagSet // one flag for each key of edge.yaml
	file         string         // an edge.yaml to start from
	fleetKeyFile string
}

func newFlash(c *cli) *cobra.Command {
	var card settings.Card
	f := flashing{settings: card.Flags()}
	size := flagvalue.New(flagvalue.Bytes, "bytes")
	cmd := &cobra.Command{
		Use:   "flash [OPTIONS] --image FILE --device DISK|FILE",
		Short: "Write a board's image and its settings to a card",
		Long: `Write the image of a board's system to a card, and the board's settings to the
edge.yaml on it; then read back what was written. A disk that is mounted, that
this system runs from, or that is built in is refused. DISK may be a file that is
not there yet: it is made, for an emulator or another program to write.

Each setting is a flag here and a key of edge.yaml; --config starts from a file.`,
		Example: `  edgectl flash --image edgeswarm-arm64.img.xz --device /dev/sdb --fleet-key-file fleet.key --name attic
  edgectl flash --image edgeswarm-arm64.img.xz --device /dev/sdb --config edge.yaml
  edgectl flash --image edgeswarm-arm64.img.xz --device board1.img --fleet-key-file fleet.key --size 8g`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if f.Image == "" || f.Target == "" {
				return usageErrorf("flash needs --image and --device; see edgectl flash --help")
			}
			f.FileSize = size.Or(0)
			return c.flash(cmd.Context(), &f)
		},
	}
	fs := cmd.Flags()
	fs.SortFlags = false
	fs.StringVar(&f.Image, "image", "", "the image, FILE.img.xz or FILE.img; FILE.sha256 beside it is held against it")
	fs.StringVar(&f.Target, "device", "", "the card's disk, such as /dev/sdb, or a file to make")
	fs.StringVar(&f.file, "config", "", "an edge.yaml to put on the card; the flags below win over it")
	fs.StringVar(&f.fleetKeyFile, "fleet-key-file", "", "file with the fleet's key, or - for standard input")
	fs.Var(size, "size", "how large to make a file (default 4g)")
	fs.BoolVar(&f.KeepData, "keep-data", false, "keep the data partition that the card has: the board goes on as who it was")
	fs.BoolVar(&f.Force, "force", false, "also to a disk that is built into this machine")
	fs.AddFlagSet(f.settings)
	return cmd
}

func (c *cli) flash(ctx context.Context, f *flashing) error {
	var err error
	if f.Settings, err = c.cardSettings(f); err != nil {
		return err
	}
	bar := newBar(c)
	f.Progress = func(step flash.Step, done, total int64) { bar.draw(string(step), done, total) }
	begin := time.Now()
	err = flash.Run(ctx, f.Config)
	bar.end()
	if errors.Is(err, context.Canceled) { // who interrupts may not know what is left
		return exitError{exitInterrupted, fmt.Errorf("interrupted: %s holds nothing of use now: flash it again", f.Target)}
	}
	if err != nil {
		return err
	}
	fmt.Fprintf(c.out, "%s is written and verified, in %v.\n", f.Target, time.Since(begin).Round(time.Second))
	if f.settings.Lookup("fleet-key").Value.String() == "" && f.settings.Lookup("join-token").Value.String() == "" {
		fmt.Fprintln(c.err, "note: no fleet key and no join token is on the card: the board will wait for one in its edge.yaml, or to be taken in")
	}
	return nil
}

// cardSettings makes the content of edge.yaml: a file as it was written, if no
// flag adds to it. Whatever is wrong in it is told at once, not by a board later.
func (c *cli) cardSettings(f *flashing) ([]byte, error) {
	key, err := c.readFleetKey(f.fleetKeyFile)
	if err != nil {
		return nil, err
	}
	if key != "" {
		if f.settings.Changed("fleet-key") {
			return nil, usageErrorf("--fleet-key and --fleet-key-file: give one of them")
		}
		if err := f.settings.Set("fleet-key", key); err != nil {
			return nil, err
		}
	}
	if err := settings.Judge(f.settings); err != nil {
		return nil, invalidf("%w", err)
	}
	given := false
	f.settings.VisitAll(func(f *pflag.Flag) { given = given || f.Changed })
	var raw []byte
	if f.file != "" {
		if raw, err = os.ReadFile(f.file); err != nil {
			return nil, invalidf("--config: %w", err)
		}
		if wrong := settings.FromYAML(f.settings, raw); len(wrong) > 0 {
			var lines []string
			for _, w := range wrong {
				lines = append(lines, w.Error())
			}
			return nil, invalidf("%s %s", f.file, strings.Join(lines, "; "))
		}
	}
	if set := f.settings.Lookup; set("join-token").Value.String() != "" && len(sliceOf(set("join-addr"))) == 0 {
		return nil, invalidf("a join token is set and no --join-addr: name a manager's address")
	}
	if f.file != "" && !given {
		return raw, nil
	}
	return settings.YAML(f.settings)
}

func sliceOf(f *pflag.Flag) []string {
	if list, ok := f.Value.(pflag.SliceValue); ok {
		return list.GetSlice()
	}
	return nil
}
