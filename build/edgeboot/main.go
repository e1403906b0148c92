// Command edgeboot brings a board's system up to where edged takes over:
// `setup` makes, checks and mounts the data partition, and turns edge.yaml into
// what the board's other programs read; `resolv` hands on the name servers that
// the network tells of.
//
// A board must come up whatever is wrong: each trouble is told on the console
// and handed on to edged, which announces it. edgeboot does not run anything
// that lasts, and joins no fleet.
package main

import (
	"fmt"
	"os"
)

func main() {
	command := ""
	if len(os.Args) > 1 {
		command = os.Args[1]
	}
	var err error
	switch command {
	case "setup":
		err = setup()
	case "resolv":
		err = writeResolv()
	default:
		err = fmt.Errorf("unknown command %q: edgeboot is run by a board's own units: setup, resolv", command)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "edgeboot:", err)
		os.Exit(1)
	}
}
