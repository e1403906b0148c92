package bench

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"time"
)

// Of the load on a published port: that of a shop's busy hour.
const (
	loadRate     = 200 // requests a second, each by a connection of its own
	loadRequests = 10000
	loadPort     = 8088
	loadReplicas = 10
)

// Published measures how many requests fail at a port that is published on every
// board, asked from outside the fleet, while all tasks behind it are replaced,
// while a board that runs some is drained, and while edged is killed on the very
// board that is asked.
func Published(ctx context.Context, cfg Config) ([]Figure, error) {
	cfg = cfg.withDefaults()
	failed := func(while string) Figure {
		return Figure{
			Name: fmt.Sprintf("failed of %d requests at a published port, %d a second, %s", loadRequests, loadRate, while), Unit: "requests",
			Bounded: true, Worst: true, Command: "build/bench.sh published",
		}
	}
	figures := []Figure{failed("10 tasks updated, 2 at a time"), failed("a board drained"), failed("edged killed on the board that is asked")}
	slowest := Figure{Name: "the slowest of these requests", Unit: "ms", Command: "build/bench.sh published"}
	err := cfg.with(ctx, 3, func(f *fleet) error {
		if err := f.publishes(ctx, cfg); err != nil {
			return err
		}
		whiles := []func(context.Context) error{
			func(ctx context.Context) error {
				_, err := f.ask(ctx, 2, "service", "update", "--quiet", "--force", "--update-parallelism", "2", "--update-delay", "5s", "--update-monitor", "1s", "web")
				return err
			},
			func(ctx context.Context) error {
				if err := pause(ctx, 5*time.Second); err != nil {
					return err
				}
				_, err := f.ask(ctx, 1, "node", "update", "--availability", "drain", f.lab.Board(2).Name())
				return err
			},
			func(ctx context.Context) error {
				for range 3 {
					if err := pause(ctx, 5*time.Second); err != nil {
						return err
					}
					if err := f.lab.Board(3).Signal(ctx, "edged", 9); err != nil {
						return err
					}
					if err := f.lab.Board(3).StartEdged(); err != nil {
						return err
					}
				}
				return nil
			},
		}
		for i, while := range whiles {
			cfg.Progress("published: %s", figures[i].Name)
			lost, took, err := f.load(ctx, cfg, while)
			if err != nil {
				return err
			}
			figures[i].Values = append(figures[i].Values, float64(lost))
			slowest.Values = append(slowest.Values, float64(took.Milliseconds()))
		}
		return nil
	})
	return append(figures, slowest), err
}

// publishes powers a fleet on that publishes a service on every board.
func (f *fleet) publishes(ctx context.Context, cfg Config) error {
	if err := f.up(ctx); err != nil {
		return err
	}
	if err := f.loadImage(ctx, cfg); err != nil {
		return err
	}
	if _, err := f.ask(ctx, 1, "service", "create", "--quiet", "--name", "web", "--replicas", strconv.Itoa(loadReplicas),
		"--publish", fmt.Sprintf("%d:8080", loadPort), imageName); err != nil {
		return err
	}
	return until(ctx, 200*time.Millisecond, func(ctx context.Context) error {
		_, err := f.lab.LAN(ctx, cfg.Bin+"/webd", "--ask", f.published(3))
		return err
	})
}

func (f *fleet) published(board int) string {
	return fmt.Sprintf("http://%s:%d/", f.lab.Board(board).IP(), loadPort)
}

var loadSays = regexp.MustCompile(`(\d+) asked, (\d+) failed, the slowest took (\S+)`)

// load asks board 3 all the requests, while something is done.
func (f *fleet) load(ctx context.Context, cfg Config, while func(context.Context) error) (failed int, slowest time.Duration, err error) {
	done := make(chan error, 1)
	go func() { done <- while(ctx) }()
	said, asked := f.lab.LAN(ctx, cfg.Bin+"/webd", "--ask", f.published(3), "--times", strconv.Itoa(loadRequests), "--rate", strconv.Itoa(loadRate))
	if err := <-done; err != nil {
		return 0, 0, err
	}
	m := loadSays.FindStringSubmatch(said) // also of a load that ends with an error, because some failed
	if m == nil {
		return 0, 0, errors.Join(fmt.Errorf("the load said %q", said), asked)
	}
	if m[1] != strconv.Itoa(loadRequests) {
		return 0, 0, fmt.Errorf("%s requests were sent, not %d", m[1], loadRequests)
	}
	failed, err = strconv.Atoi(m[2])
	if err != nil {
		return 0, 0, err
	}
	slowest, err = time.ParseDuration(m[3])
	return failed, slowest, err
}
