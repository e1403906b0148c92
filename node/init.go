package node

import (
	"fmt"
	"os"

	"github.com/edgeswarm/edgeswarm/runtime/reaper"
)

// InitProcess is the first argument that makes edged the first process of a
// container: what follows is the container's command, behind "--".
const InitProcess = "init-process"

// RunInitProcess is edged in that role. It returns the code to exit with.
func RunInitProcess(args []string) int {
	if len(args) > 0 && args[0] == "--" {
		args = args[1:]
	}
	code, err := reaper.Run(args)
	if err != nil {
		fmt.Fprintln(os.Stderr, "init:", err)
	}
	return code
}

// initProgram is how a container's first process is started: this very
// program, or nothing if it can't be found.
func initProgram() []string {
	self, err := os.Executable()
	if err != nil {
		return nil
	}
	return []string{self, InitProcess}
}
