package main

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"sync"
	"time"
)

// askTimeout is how long one answer may take.
const askTimeout = 3 * time.Second

func askOnce(client *http.Client, url string, to io.Writer) error {
	resp, err := client.Get(url)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s", url, resp.Status)
	}
	_, err = io.Copy(to, resp.Body)
	return err
}

// ask prints what a URL answers, so many times over, each by a connection of its
// own. It ends with the first that fails.
func ask(url string, times int) error {
	client := newClient()
	for range times {
		if err := askOnce(client, url, os.Stdout); err != nil {
			return err
		}
	}
	return nil
}

// load asks a URL at a steady rate per second, whether it answers or not, each time
// by a connection of its own, and prints how that went. It fails if one does.
func load(url string, times, rate int) error {
	var mu sync.Mutex
	var failed int
	var first error
	var slowest time.Duration
	client := newClient()
	var under sync.WaitGroup
	tick := time.NewTicker(time.Second / time.Duration(rate))
	defer tick.Stop()
	for range times {
		<-tick.C
		under.Go(func() {
			began := time.Now()
			err := askOnce(client, url, io.Discard)
			took := time.Since(began)
			mu.Lock()
			defer mu.Unlock()
			slowest = max(slowest, took)
			if err != nil {
				failed++
				if first == nil {
					first = err
				}
			}
		})
	}
	under.Wait()
	fmt.Printf("%d asked, %d failed, the slowest took %v\n", times, failed, slowest.Round(time.Millisecond))
	if first != nil {
		return fmt.Errorf("%d of %d failed; the first: %w", failed, times, first)
	}
	return nil
}

func newClient() *http.Client {
	return &http.Client{Timeout: askTimeout, Transport: &http.Transport{DisableKeepAlives: true}}
}
