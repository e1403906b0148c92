package api

import "testing"

func TestIsSignal(t *testing.T) {
	for text, want := range map[string]bool{
		"SIGTERM": true, "TERM": true, "sigusr1": true, "15": true, "64": true, "SIGRTMIN+3": true, "RTMAX-14": true, "RTMAX": true,
		"": false, "0": false, "65": false, "-9": false, "+9": false, "SIGNONSENSE": false, "SIG": false, "SIGSIGTERM": false,
		"RTMIN+16": false, "RTMAX-0": false, "RTMIN+01": false, "RTMIN-1": false, "kill it": false,
	} {
		if isSignal(text) != want {
			t.Errorf("%q: %v, want %v", text, !want, want)
		}
	}
}
