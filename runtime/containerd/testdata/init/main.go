// Command init is a reaper of its own, for tests of drivers.
package main

import (
	"fmt"
	"os"

	"github.com/edgeswarm/edgeswarm/runtime/reaper"
)

func main() {
	code, err := reaper.Run(os.Args[2:]) // behind "--"
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
	os.Exit(code)
}
