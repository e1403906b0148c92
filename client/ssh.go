package client

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os/exec"
	"strings"
	"sync"
	"time"
)

// command is the ssh call whose standard input and output lead to the node's
// socket on the other machine. It asks for no terminal there.
func (s sshTarget) command(program []string, socket string) []string {
	args := append([]string(nil), program...)
	if s.user != "" {
		args = append(args, "-l", s.user)
	}
	if s.port != "" {
		args = append(args, "-p", s.port)
	}
	args = append(args, "-o", "ConnectTimeout=30", "-T", "--", s.host, "edgectl")
	if socket != "" {
		args = append(args, "--host", shellQuote("unix://"+socket))
	}
	return append(args, "dial-stdio")
}

// shellQuote protects an argument from the other machine's shell.
func shellQuote(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }

// commandConn is a connection over a program's standard input and output. Its
// deadlines are not kept: gRPC ends calls by closing it.
type commandConn struct {
	cmd    *exec.Cmd
	in     io.WriteCloser
	out    io.ReadCloser
	report func(error)

	stderr tail
	once   sync.Once
}

// startCommand runs a program as a connection. report is told why it ended, if
// it ended by itself.
func startCommand(args []string, report func(error)) (net.Conn, error) {
	c := &commandConn{cmd: exec.Command(args[0], args[1:]...), report: report}
	c.cmd.Stderr = &c.stderr
	c.cmd.WaitDelay = time.Second
	var err error
	if c.in, err = c.cmd.StdinPipe(); err != nil {
		return nil, fmt.Errorf("open pipe: %w", err)
	}
	if c.out, err = c.cmd.StdoutPipe(); err != nil {
		return nil, fmt.Errorf("open pipe: %w", err)
	}
	if err := c.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", args[0], err)
	}
	return c, nil
}

func (c *commandConn) Read(p []byte) (int, error) {
	n, err := c.out.Read(p)
	if err == nil || n > 0 {
		return n, nil
	}
	c.once.Do(func() {
		if werr := c.cmd.Wait(); werr != nil {
			c.report(errors.New(c.why(werr)))
		}
	})
	return 0, io.EOF
}

// why prefers what the program said to how it ended.
func (c *commandConn) why(err error) string {
	if said := c.stderr.String(); said != "" {
		return said
	}
	return fmt.Sprintf("%s: %v", c.cmd.Args[0], err)
}

func (c *commandConn) Write(p []byte) (int, error) { return c.in.Write(p) }

// Close ends the program; what it had still to say is lost with it.
func (c *commandConn) Close() error {
	err := c.in.Close()
	c.once.Do(func() {
		_ = c.cmd.Process.Kill()
		_ = c.cmd.Wait() // its verdict is the kill
	})
	return err
}

type commandAddr string

func (a commandAddr) Network() string { return "command" }
func (a commandAddr) String() string  { return string(a) }

func (c *commandConn) LocalAddr() net.Addr              { return commandAddr("here") }
func (c *commandConn) RemoteAddr() net.Addr             { return commandAddr(c.cmd.Args[0]) }
func (c *commandConn) SetDeadline(time.Time) error      { return nil }
func (c *commandConn) SetReadDeadline(time.Time) error  { return nil }
func (c *commandConn) SetWriteDeadline(time.Time) error { return nil }

// tailBytes bounds what is kept of a program's complaints.
const tailBytes = 4 << 10

// tail keeps the end of what is written to it.
type tail struct {
	mu  sync.Mutex
	buf []byte
}

func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.buf = append(t.buf, p...)
	if over := len(t.buf) - tailBytes; over > 0 {
		t.buf = t.buf[over:]
	}
	return len(p), nil
}

// String is what was written, on one line.
func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return strings.Join(strings.FieldsFunc(string(t.buf), func(r rune) bool { return r == '\n' || r == '\r' }), "; ")
}
