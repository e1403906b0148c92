package api

import (
	"slices"
	"strconv"
	"strings"
)

// signals are Linux's by name; the realtime ones are counted from RTMIN and RTMAX.
var signals = strings.Fields(`ABRT ALRM BUS CHLD CLD CONT FPE HUP ILL INT IO IOT KILL PIPE POLL PROF PWR QUIT SEGV
	STKFLT STOP SYS TERM TRAP TSTP TTIN TTOU URG USR1 USR2 VTALRM WINCH XCPU XFSZ RTMIN RTMAX`)

// isSignal accepts what every board can send: SIGTERM, term, RTMIN+3 and 15.
func isSignal(s string) bool {
	if n, err := strconv.Atoi(s); err == nil {
		return 1 <= n && n <= 64 && s[0] != '+'
	}
	name := strings.TrimPrefix(strings.ToUpper(s), "SIG")
	for from, most := range map[string]int{"RTMIN+": 15, "RTMAX-": 14} {
		if count, is := strings.CutPrefix(name, from); is {
			n, err := strconv.Atoi(count)
			return err == nil && count == strconv.Itoa(n) && 1 <= n && n <= most
		}
	}
	return slices.Contains(signals, name)
}
