package agent

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/edgeswarm/edgeswarm/api"
	"github.com/edgeswarm/edgeswarm/runtime"
)

// Dialer opens connections for probes. *net.Dialer is one.
type Dialer interface {
	DialContext(ctx context.Context, network, address string) (net.Conn, error)
}

// shell runs the line of a CMD-SHELL check.
var shell = []string{"/bin/sh", "-c"}

// loopback is where a task on the board's network is reached.
const loopback = "127.0.0.1"

// prober returns the probe that a check asks for. Addr is the task's address,
// "" with the board's network.
func (a *Agent) prober(check *api.HealthConfig, container, addr string) (func(context.Context) error, error) {
	if addr == "" {
		addr = loopback
	}
	operands := check.Test[1:]
	switch check.Test[0] {
	case api.HealthCommand:
		return a.execProbe(container, operands), nil
	case api.HealthShell:
		return a.execProbe(container, append(append([]string{}, shell...), operands...)), nil
	case api.HealthTCP:
		port, err := api.ParseHealthTCP(operands[0])
		if err != nil {
			return nil, err
		}
		return a.tcpProbe(join(addr, port)), nil
	case api.HealthHTTP:
		port, path, err := api.ParseHealthHTTP(operands[0])
		if err != nil {
			return nil, err
		}
		return a.httpProbe("http://" + join(addr, port) + path), nil
	default:
		return nil, fmt.Errorf("health check of kind %q is not known: update edged", check.Test[0])
	}
}

func join(addr string, port uint16) string {
	return net.JoinHostPort(addr, strconv.Itoa(int(port)))
}

func (a *Agent) execProbe(container string, command []string) func(context.Context) error {
	return func(ctx context.Context) error {
		began := time.Now()
		var said excerpt
		code, err := a.cfg.Driver.Exec(ctx, container, runtime.Process{Args: command}, runtime.Streams{Stdout: &said, Stderr: &said})
		switch {
		case err == nil && code == 0:
			return nil
		case err == nil:
			return failedProbe(exitWords(code), said.String())
		case errors.Is(err, runtime.ErrInvalid):
			return failedProbe("can't be run", err.Error())
		case errors.Is(err, context.DeadlineExceeded):
			return tooSlow(time.Since(began))
		case errors.Is(err, runtime.ErrUnavailable):
			a.health.missed(err)
			return errUnclear{err}
		case errors.Is(err, runtime.ErrNotRunning), errors.Is(err, runtime.ErrNotFound), ctx.Err() != nil:
			return errUnclear{err}
		default:
			return failedProbe("can't be run", err.Error())
		}
	}
}

func (a *Agent) tcpProbe(address string) func(context.Context) error {
	return func(ctx context.Context) error {
		began := time.Now()
		conn, err := a.cfg.Dial.DialContext(ctx, "tcp", address)
		if err != nil {
			return unreached(ctx, err, time.Since(began))
		}
		_ = conn.Close() // it was only to be opened
		return nil
	}
}

// maxHeader bounds what a probed task may answer with before its status counts.
const maxHeader = 16 << 10

func (a *Agent) httpProbe(url string) func(context.Context) error {
	client := &http.Client{
		// A redirect is an answer, and may lead out of the task.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport:     &http.Transport{DialContext: a.cfg.Dial.DialContext, DisableKeepAlives: true, MaxResponseHeaderBytes: maxHeader},
	}
	return func(ctx context.Context) error {
		began := time.Now()
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
		if err != nil {
			return failedProbe("can't be asked", err.Error())
		}
		req.Header.Set("User-Agent", "edgeswarm-health")
		resp, err := client.Do(req)
		if err != nil {
			return unreached(ctx, err, time.Since(began))
		}
		_ = resp.Body.Close() // the status says it all
		if resp.StatusCode < 200 || resp.StatusCode > 399 {
			return failedProbe("HTTP status "+strconv.Itoa(resp.StatusCode), http.StatusText(resp.StatusCode))
		}
		return nil
	}
}

// unreached is what is said of a task to which no connection comes about.
func unreached(ctx context.Context, err error, took time.Duration) error {
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return tooSlow(took)
	}
	if op := (*net.OpError)(nil); errors.As(err, &op) {
		err = op.Err // without the address, which changes with the attempt
	}
	return failedProbe("no connection", err.Error())
}

func tooSlow(took time.Duration) error {
	return fmt.Errorf("no answer within %v", took.Round(time.Millisecond))
}

func failedProbe(what, why string) error {
	if why == "" {
		return errors.New(what)
	}
	return fmt.Errorf("%s: %s", what, why)
}

// maxExcerpt is how much of a probe's output is kept, in bytes.
const maxExcerpt = 200

// excerpt keeps the beginning of what is written to it.
type excerpt struct {
	mu   sync.Mutex
	text []byte
}

var _ io.Writer = (*excerpt)(nil)

func (e *excerpt) Write(p []byte) (int, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.text = append(e.text, p[:min(len(p), maxExcerpt-len(e.text))]...)
	return len(p), nil
}

// String is the output in one line.
func (e *excerpt) String() string {
	e.mu.Lock()
	defer e.mu.Unlock()
	return strings.Join(strings.Fields(strings.ToValidUTF8(string(e.text), "?")), " ")
}
