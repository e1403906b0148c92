// Command webd is the web server that the lab's images hold: it answers with
// its version and where it runs, and ends well on SIGTERM. With --exit-after
// it fails, which tests of updates need; with --ask it is a client instead.
package main

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/spf13/pflag"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "webd:", err)
		os.Exit(1)
	}
}

func run() error {
	listen := pflag.String("listen", ":8080", "address to answer on")
	exitAfter := pflag.Duration("exit-after", 0, "end with an error after this long")
	url := pflag.String("ask", "", "ask this URL, print the answer, and end")
	times := pflag.Int("times", 1, "how often, each time by a connection of its own")
	rate := pflag.Int("rate", 0, "ask so often a second, and tell how many failed instead of what was answered")
	pflag.Parse()
	switch {
	case *url != "" && *rate > 0:
		return load(*url, *times, *rate)
	case *url != "":
		return ask(*url, *times)
	}
	version, err := os.ReadFile("/version")
	if err != nil {
		return err
	}
	host, err := os.Hostname()
	if err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	if *exitAfter > 0 {
		time.AfterFunc(*exitAfter, func() { fmt.Fprintln(os.Stderr, "told to fail"); os.Exit(3) })
	}
	server := &http.Server{Addr: *listen, ReadHeaderTimeout: 5 * time.Second, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "version %s on %s\n", version, host)
	})}
	fmt.Printf("webd %s listens on %s\n", version, *listen)
	failed := make(chan error, 1)
	go func() { failed <- server.ListenAndServe() }()
	select {
	case err := <-failed:
		return err
	case <-ctx.Done():
	}
	fmt.Printf("webd %s ends\n", version)
	grace, cancel := context.WithTimeout(context.Background(), 3*time.Second)
	defer cancel()
	return server.Shutdown(grace)
}
