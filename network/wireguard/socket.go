package wireguard

import (
	"bufio"
	"encoding/hex"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"time"
)

// Socket is the link of a process outside of the kernel, by the path of the
// process's socket. What is spoken there is WireGuard's cross-platform
// configuration protocol (https://www.wireguard.com/xplatform/).
type Socket struct{ Path string }

var _ Link = Socket{}

// answerWithin is how long the process may take.
const answerWithin = 5 * time.Second

// Apply implements Link.
func (s Socket) Apply(c Change) error {
	var b strings.Builder
	b.WriteString("set=1\n")
	if c.Private != nil {
		fmt.Fprintf(&b, "private_key=%x\n", c.Private[:])
	}
	if c.Port != 0 {
		fmt.Fprintf(&b, "listen_port=%d\n", c.Port)
	}
	for _, p := range c.Peers {
		p.write(&b)
	}
	_, err := s.ask(b.String())
	return err
}

func (p PeerChange) write(b *strings.Builder) {
	fmt.Fprintf(b, "public_key=%x\n", p.Key[:])
	if p.Remove {
		b.WriteString("remove=true\n")
		return
	}
	if p.Endpoint.IsValid() {
		fmt.Fprintf(b, "endpoint=%s\n", p.Endpoint)
	}
	if p.Keepalive != nil {
		fmt.Fprintf(b, "persistent_keepalive_interval=%d\n", *p.Keepalive/time.Second)
	}
	if p.Replace {
		b.WriteString("replace_allowed_ips=true\n")
	}
	for _, prefix := range p.Allowed {
		fmt.Fprintf(b, "allowed_ip=%s\n", prefix)
	}
}

// State implements Link.
func (s Socket) State() (state State, err error) {
	lines, err := s.ask("get=1\n")
	if err != nil {
		return state, err
	}
	for _, line := range lines {
		if err := state.readLine(line); err != nil {
			return state, fmt.Errorf("ask %s: %q: %w", s.Path, line, err)
		}
	}
	return state, nil
}

func (s *State) readLine(line string) (err error) {
	name, value, _ := strings.Cut(line, "=")
	switch name {
	case "private_key":
		s.Private, err = keyOf(value)
		return err
	case "listen_port":
		port, err := strconv.ParseUint(value, 10, 16)
		s.Port = uint16(port)
		return err
	case "public_key":
		s.Peers = append(s.Peers, Peer{})
	}
	if len(s.Peers) == 0 {
		return nil
	}
	p := &s.Peers[len(s.Peers)-1]
	switch name {
	case "public_key":
		p.Key, err = keyOf(value)
	case "endpoint":
		p.Endpoint, err = netip.ParseAddrPort(value)
	case "persistent_keepalive_interval":
		var seconds uint64
		seconds, err = strconv.ParseUint(value, 10, 16)
		p.Keepalive = time.Duration(seconds) * time.Second
	case "last_handshake_time_sec", "last_handshake_time_nsec":
		var n int64
		if n, err = strconv.ParseInt(value, 10, 64); n == 0 || err != nil {
			break
		}
		if name == "last_handshake_time_sec" {
			p.Shaken = time.Unix(n, 0)
		} else if !p.Shaken.IsZero() {
			p.Shaken = p.Shaken.Add(time.Duration(n))
		}
	case "allowed_ip":
		var prefix netip.Prefix
		prefix, err = netip.ParsePrefix(value)
		p.Allowed = append(p.Allowed, prefix)
	}
	return err
}

func keyOf(text string) (k Key, err error) {
	raw, err := hex.DecodeString(text)
	if err == nil && len(raw) != len(k) {
		err = fmt.Errorf("a key of %d bytes", len(raw))
	}
	copy(k[:], raw)
	return k, err
}

// ask sends a request and answers the lines of the answer.
func (s Socket) ask(request string) (lines []string, err error) {
	conn, err := net.DialTimeout("unix", s.Path, answerWithin)
	if err != nil {
		return nil, fmt.Errorf("reach the WireGuard process: %w", err)
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(answerWithin)); err != nil {
		return nil, fmt.Errorf("ask the WireGuard process: %w", err)
	}
	if _, err := conn.Write([]byte(request + "\n")); err != nil {
		return nil, fmt.Errorf("ask the WireGuard process: %w", err)
	}
	for in := bufio.NewScanner(conn); in.Scan(); {
		code, last := strings.CutPrefix(in.Text(), "errno=")
		if last && code != "0" {
			return nil, fmt.Errorf("the WireGuard process refused with error %s", code)
		}
		if last {
			return lines, nil
		}
		lines = append(lines, in.Text())
	}
	return nil, fmt.Errorf("the WireGuard process %s hung up", s.Path)
}
