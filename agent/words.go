package agent

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// signalled is what is added to the number of the signal that ended a process.
const signalled = 128

// exitWords says an exit code, and what is known of its meaning.
func exitWords(code int) string {
	meaning := ""
	switch {
	case code == 126:
		meaning = "command can't be executed"
	case code == 127:
		meaning = "command not found"
	case code > signalled:
		meaning = signalWords(unix.Signal(code - signalled))
	}
	if meaning == "" {
		return fmt.Sprintf("exit code %d", code)
	}
	return fmt.Sprintf("exit code %d (%s)", code, meaning)
}

func signalWords(s unix.Signal) string {
	name := unix.SignalName(s)
	switch s {
	case unix.SIGSEGV:
		return name + ": invalid memory access"
	case unix.SIGILL:
		return name + ": built for another processor?"
	case unix.SIGBUS:
		return name + ": bad memory access"
	case unix.SIGFPE:
		return name + ": arithmetic error"
	case unix.SIGABRT:
		return name + ": it gave up by itself"
	case unix.SIGKILL:
		return name + ": killed"
	case unix.SIGTERM, unix.SIGINT:
		return name + ": told to end"
	}
	return name // "" if there is no such signal
}
