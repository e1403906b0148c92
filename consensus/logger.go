package consensus

import (
	"context"
	"fmt"
	"io"
	"log"
	"log/slog"

	"github.com/hashicorp/go-hclog"
)

// raftLogger hands raft's own log lines to slog, one level down: raft's Info is
// the workings of an election, and its errors are mostly a peer that is off.
type raftLogger struct {
	to   *slog.Logger
	args []any
}

var _ hclog.Logger = raftLogger{}

func slogLevel(level hclog.Level) slog.Level {
	if level >= hclog.Error {
		return slog.LevelInfo
	}
	return slog.LevelDebug
}

// routine are errors that a board which is off causes several times a second.
var routine = map[string]bool{
	"failed to heartbeat to": true, "failed to appendEntries to": true,
	"failed to make requestVote RPC": true, "failed to decode incoming command": true,
	"failed to accept connection": true, "failed to flush response": true,
}

// Log implements hclog.Logger.
func (l raftLogger) Log(level hclog.Level, msg string, args ...any) {
	to := slogLevel(level)
	if routine[msg] {
		to = slog.LevelDebug
	}
	if !l.to.Enabled(context.Background(), to) {
		return
	}
	for i, a := range args {
		if f, ok := a.(hclog.Format); ok && len(f) > 0 {
			args[i] = fmt.Sprintf(f[0].(string), f[1:]...)
		}
	}
	l.to.Log(context.Background(), to, "raft: "+msg, args...)
}

func (l raftLogger) Trace(msg string, args ...any) { l.Log(hclog.Trace, msg, args...) }
func (l raftLogger) Debug(msg string, args ...any) { l.Log(hclog.Debug, msg, args...) }
func (l raftLogger) Info(msg string, args ...any)  { l.Log(hclog.Info, msg, args...) }
func (l raftLogger) Warn(msg string, args ...any)  { l.Log(hclog.Warn, msg, args...) }
func (l raftLogger) Error(msg string, args ...any) { l.Log(hclog.Error, msg, args...) }

func (l raftLogger) enabled(level hclog.Level) bool {
	return l.to.Enabled(context.Background(), slogLevel(level))
}

func (l raftLogger) IsTrace() bool { return false }
func (l raftLogger) IsDebug() bool { return l.enabled(hclog.Debug) }
func (l raftLogger) IsInfo() bool  { return l.enabled(hclog.Info) }
func (l raftLogger) IsWarn() bool  { return l.enabled(hclog.Warn) }
func (l raftLogger) IsError() bool { return l.enabled(hclog.Error) }

func (l raftLogger) ImpliedArgs() []any { return l.args }
func (l raftLogger) Name() string       { return "" }

// With implements hclog.Logger.
func (l raftLogger) With(args ...any) hclog.Logger {
	return raftLogger{to: l.to.With(args...), args: append(append([]any(nil), l.args...), args...)}
}

func (l raftLogger) Named(string) hclog.Logger      { return l }
func (l raftLogger) ResetNamed(string) hclog.Logger { return l }
func (l raftLogger) SetLevel(hclog.Level)           {}
func (l raftLogger) GetLevel() hclog.Level          { return hclog.Debug }

// StandardLogger implements hclog.Logger.
func (l raftLogger) StandardLogger(*hclog.StandardLoggerOptions) *log.Logger {
	return slog.NewLogLogger(l.to.Handler(), slog.LevelDebug)
}

// StandardWriter implements hclog.Logger.
func (l raftLogger) StandardWriter(opts *hclog.StandardLoggerOptions) io.Writer {
	return l.StandardLogger(opts).Writer()
}
