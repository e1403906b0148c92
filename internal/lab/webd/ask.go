package main

import (
	"io"
	"net/http"
	"os"
	"time"
)

// askTimeout is how long one answer may take.
const askTimeout = 3 * time.Second

// ask prints what a URL answers, so many times over.
func ask(url string, times int) error {
	client := &http.Client{Timeout: askTimeout, Transport: &http.Transport{DisableKeepAlives: true}}
	for range times {
		resp, err := client.Get(url)
		if err != nil {
			return err
		}
		_, err = io.Copy(os.Stdout, resp.Body)
		if cerr := resp.Body.Close(); err == nil {
			err = cerr
		}
		if err != nil {
			return err
		}
	}
	return nil
}
