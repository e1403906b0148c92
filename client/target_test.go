package client

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
)

func TestTargetsAreRead(t *testing.T) {
	for _, c := range []struct{ raw, env, want string }{
		{"", "", "unix:///run/edgeswarm/edged.sock"},
		{"", "unix:///tmp/a.sock", "unix:///tmp/a.sock"},
		{"unix:///tmp/b.sock", "unix:///tmp/a.sock", "unix:///tmp/b.sock"},
		{"/tmp/b.sock", "", "unix:///tmp/b.sock"},
		{"ssh://board1", "", "ssh://board1"},
		{"ssh://pi@board1:2222/run/x.sock", "", "ssh://pi@board1:2222/run/x.sock"},
	} {
		t.Setenv(HostVariable, c.env)
		got, err := parseTarget(c.raw)
		if err != nil || got.String() != c.want {
			t.Errorf("parseTarget(%q) with %q = %v, %v; want %s", c.raw, c.env, got, err, c.want)
		}
	}
}

func TestTargetsThatCantWorkAreRefused(t *testing.T) {
	for raw, say := range map[string]string{
		"tcp://10.0.0.1:2377":     "ssh://user@board",
		"board1":                  "ssh://user@board",
		"unix://relative/path":    "absolute path",
		"ssh://":                  "names no machine",
		"ssh://-oProxyCommand=sh": "names no machine",
		"ssh://-oX@h":             "names no machine",
		"ssh://pi:secret@board1":  "password",
		"ssh://board1?x=1":        "query",
		"ssh://%zz":               "not an address",
	} {
		_, err := parseTarget(raw)
		if err == nil || !strings.Contains(err.Error(), say) || strings.Contains(err.Error(), "\n") {
			t.Errorf("parseTarget(%q) = %v; want one line with %q", raw, err, say)
		}
		if err != nil && strings.Contains(err.Error(), "secret") {
			t.Errorf("parseTarget(%q) repeats the password: %v", raw, err)
		}
	}
}

func TestSSHCommandLine(t *testing.T) {
	target, err := parseTarget("ssh://pi@board1:2222/run/it's.sock")
	if err != nil {
		t.Fatal(err)
	}
	got := target.ssh.command([]string{"ssh"}, target.socket)
	want := []string{"ssh", "-l", "pi", "-p", "2222", "-o", "ConnectTimeout=30", "-T", "--", "board1",
		"edgectl", "--host", `'unix:///run/it'\''s.sock'`, "dial-stdio"}
	if !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}

func TestFailuresToConnectSayWhatToDo(t *testing.T) {
	local := target{socket: "/run/x.sock"}
	for say, err := range map[string]error{
		"as root, or with sudo":   &os.PathError{Op: "connect", Err: syscall.EACCES},
		"socket does not exist":   fmt.Errorf("dial: %w", fs.ErrNotExist),
		"nothing listens":         fmt.Errorf("dial: %w", syscall.ECONNREFUSED),
		"is edged running there":  errors.New("strange"),
		"does not answer as edge": nil,
	} {
		got := local.explain(err).Error()
		if !strings.Contains(got, say) || !strings.Contains(got, "/run/x.sock") || strings.Contains(got, "\n") {
			t.Errorf("explain(%v) = %q; want one line with %q and the socket", err, got, say)
		}
	}
}
