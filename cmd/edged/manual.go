//go:build manual

package main

import (
	"fmt"
	"os"
	"strconv"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/cobra/doc"

	"github.com/edgeswarm/edgeswarm/internal/build"
	"github.com/edgeswarm/edgeswarm/internal/settings"
)

// main, built with the tag manual, prints the manual page of edged, made from
// its settings. $SOURCE_DATE_EPOCH dates it.
func main() {
	epoch, err := strconv.ParseInt(os.Getenv("SOURCE_DATE_EPOCH"), 10, 64)
	if err != nil {
		fmt.Fprintln(os.Stderr, "SOURCE_DATE_EPOCH is no time: set it to the time of the last commit")
		os.Exit(1)
	}
	var board settings.Board
	cmd := &cobra.Command{
		Use: "edged [OPTIONS]", Short: "run a board of an Edgeswarm fleet", DisableAutoGenTag: true, DisableFlagsInUseLine: true,
		Long: `**edged** runs on every board: it joins the board's fleet, or founds it, and keeps
the tasks that the fleet assigns. It is steered with **edgectl**(1).

Each option is also a key of the configuration file, */etc/edgeswarm/edge.yaml*,
which is YAML, and an environment variable: *--fleet-key KEY*, *fleet-key: KEY*
and *EDGE_FLEET_KEY=KEY* say the same. An option wins over the environment, and
that over the file.

Tasks go on when edged ends or is restarted, and an upgrade of the package
restarts it. **edged end-tasks** ends what they leave running, with a containerd
that edged keeps, on a board where edged does not run: so does removing the
package. What must last is in */var/lib/edgeswarm*.`,
		Run: func(*cobra.Command, []string) {},
	}
	cmd.Flags().AddFlagSet(board.Flags())
	cmd.Flags().String("config", defaultFile, "configuration `file`")
	date := time.Unix(epoch, 0).UTC()
	if err := doc.GenMan(cmd, &doc.GenManHeader{Title: "EDGED", Section: "8", Date: &date, Source: "edged " + build.Version, Manual: "Edgeswarm"}, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "write manual:", err)
		os.Exit(1)
	}
}
