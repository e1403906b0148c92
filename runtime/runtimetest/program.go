package runtimetest

import (
	"fmt"
	"strings"
	"time"
)

// Shell renders a program for a Bourne shell with the usual commands beside
// it, busybox's for one. Init of a PID namespace gets only the signals it has
// a handler for, so the script sets one.
//
// A program is a list of steps, taken one after the other. The process ends
// with 0 behind the last. The steps:
//
//	print TEXT       write a line to standard output
//	warn TEXT        write a line to standard error
//	env NAME         print an environment variable
//	hostname         print the host name
//	cat PATH         print a file
//	write PATH TEXT  make a file with one line
//	copy             copy standard input to standard output until its end
//	ignore SIGNAL    from now on nothing happens on the signal ("TERM")
//	on SIGNAL CODE   from now on the signal ends the process with the code
//	sleep DURATION   "1.5s"
//	wait             run until a signal ends it: 143 on TERM unless said otherwise
//	exit CODE        end
//	grow BYTES       take that much memory and hold it
func Shell(steps ...string) []string {
	lines := []string{"trap 'exit 143' TERM"}
	for _, step := range steps {
		lines = append(lines, shellLine(step))
	}
	return []string{"/bin/sh", "-c", strings.Join(lines, "\n")}
}

func shellLine(step string) string {
	word, first, rest := splitStep(step)
	text := strings.TrimSpace(first + " " + rest)
	switch word {
	case "print":
		return "echo " + quote(text)
	case "warn":
		return "echo " + quote(text) + " >&2"
	case "env":
		return `echo "$` + first + `"`
	case "hostname":
		return "hostname"
	case "cat":
		return "cat " + quote(first)
	case "write":
		return "echo " + quote(rest) + " > " + quote(first) + " || exit 1"
	case "copy":
		return "cat"
	case "ignore":
		return "trap '' " + first
	case "on":
		return fmt.Sprintf("trap 'exit %s' %s", rest, first)
	case "sleep":
		d, err := time.ParseDuration(first)
		if err != nil {
			panic(err) // the suite's own text
		}
		return fmt.Sprintf("sleep %.3f & wait $!", d.Seconds())
	case "wait":
		return "while :; do sleep 0.2 & wait $!; done"
	case "exit":
		return "exit " + first
	case "grow":
		return "exec dd if=/dev/zero of=/dev/null count=1 bs=" + first
	default:
		panic("runtimetest: no such step: " + step) // the suite's own text
	}
}

func quote(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }

// splitStep splits a step into its word, its first operand, and the others.
func splitStep(step string) (word, first, rest string) {
	word, tail, _ := strings.Cut(step, " ")
	first, rest, _ = strings.Cut(tail, " ")
	return word, first, rest
}
