package logs

import (
	"context"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
	"testing"
	"time"
)

// The test program is its own log process: see spawn.
const (
	envServe = "EDGESWARM_TEST_LOGS_SERVE"
	envDir   = "EDGESWARM_TEST_LOGS_DIR"
)

func TestMain(m *testing.M) {
	if run := os.Getenv(envServe); run != "" {
		ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
		ctx, cancel := context.WithTimeout(ctx, 2*time.Minute) // of a test run that was interrupted
		err := Serve(ctx, Config{Dir: os.Getenv(envDir), RunDir: run, Logger: slog.New(slog.NewTextHandler(os.Stderr, nil))})
		cancel()
		stop()
		if err != nil {
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}
