package client

import (
	"fmt"
	"net/url"
	"os"
	"path"
	"strings"
)

// DefaultSocket is where edged listens unless it was told otherwise.
const DefaultSocket = "/run/edgeswarm/edged.sock"

// HostVariable is the environment variable that names the target when nothing
// else does.
const HostVariable = "EDGE_HOST"

// target is a parsed Config.Target.
type target struct {
	socket string // on the machine that is reached
	ssh    *sshTarget
}

// sshTarget is the machine to reach by ssh.
type sshTarget struct{ user, host, port string }

func (t target) String() string {
	if t.ssh == nil {
		return "unix://" + t.socket
	}
	host := t.ssh.host
	if t.ssh.user != "" {
		host = t.ssh.user + "@" + host
	}
	if t.ssh.port != "" {
		host += ":" + t.ssh.port
	}
	return "ssh://" + host + t.socket
}

// parseTarget reads "unix:///path", "/path" or "ssh://[user@]host[:port][/socket]".
// An empty one is what the environment names, else DefaultSocket.
func parseTarget(raw string) (target, error) {
	if raw == "" {
		raw = os.Getenv(HostVariable)
	}
	if raw == "" {
		return target{socket: DefaultSocket}, nil
	}
	if strings.HasPrefix(raw, "/") {
		return target{socket: raw}, nil
	}
	u, err := url.Parse(raw)
	if err != nil {
		return target{}, fmt.Errorf("host %q is not an address: use unix:///path/to/edged.sock or ssh://user@board", raw)
	}
	switch u.Scheme {
	case "unix":
		if u.Host != "" || !path.IsAbs(u.Path) {
			return target{}, fmt.Errorf("host %q has no absolute path: write unix:// and then the path, as in unix://%s", raw, DefaultSocket)
		}
		return target{socket: u.Path}, nil
	case "ssh":
		return parseSSH(raw, u)
	default:
		return target{}, fmt.Errorf("host %q can't be reached: nodes are steered by their socket (unix:///path) or through ssh (ssh://user@board), because only members hold the certificate that the network asks for", raw)
	}
}

func parseSSH(raw string, u *url.URL) (target, error) {
	if _, secret := u.User.Password(); secret {
		return target{}, fmt.Errorf("host ssh://%s holds a password, which other users of this machine could read: leave it out, ssh asks for it or uses a key", u.Hostname())
	}
	t := target{ssh: &sshTarget{user: u.User.Username(), host: u.Hostname(), port: u.Port()}}
	if t.ssh.host == "" || strings.HasPrefix(t.ssh.host, "-") || strings.HasPrefix(t.ssh.user, "-") {
		return target{}, fmt.Errorf("host %q names no machine: write ssh://user@board", raw)
	}
	if u.RawQuery != "" || u.Fragment != "" {
		return target{}, fmt.Errorf("host %q has a query or fragment: write ssh://user@board[:port][/socket]", raw)
	}
	if u.Path != "" && u.Path != "/" {
		t.socket = u.Path
	}
	return t, nil
}
