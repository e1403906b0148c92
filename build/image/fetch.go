package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
)

// fetcher gets packages from a mirror into a cache. apt's own downloader does
// it, so that a machine's proxies and settings count. What is in the cache is
// checked again at each use.
type fetcher struct {
	cache, mirror string
}

// all makes every package be in the cache and returns their files, in order.
func (f fetcher) all(ctx context.Context, packages []locked, progress io.Writer) ([]string, error) {
	if err := os.MkdirAll(f.cache, 0o755); err != nil {
		return nil, fmt.Errorf("make package cache: %w", err)
	}
	paths := make([]string, len(packages))
	var missing []locked
	for i, p := range packages {
		paths[i] = f.path(p)
		if f.check(p) != nil {
			missing = append(missing, p)
		}
	}
	for i, p := range missing {
		fmt.Fprintf(progress, "fetching %d of %d: %s %s\n", i+1, len(missing), p.Name, p.Version)
		if err := f.one(ctx, p); err != nil {
			return nil, err
		}
	}
	return paths, nil
}

// path names the file by its hash: a changed lock never meets a stale file.
func (f fetcher) path(p locked) string {
	return filepath.Join(f.cache, p.Name+"_"+p.SHA256[:16]+".deb")
}

func (f fetcher) one(ctx context.Context, p locked) error {
	tmp := f.path(p) + ".part"
	for _, left := range []string{tmp, tmp + ".FAILED"} { // apt would go on from them
		if err := os.Remove(left); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
	}
	cmd := exec.CommandContext(ctx, "/usr/lib/apt/apt-helper", "-o", "APT::Sandbox::User=", "download-file", f.mirror+"/"+p.Path, tmp, "SHA256:"+p.SHA256)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("fetch %s %s: %w: %s\nif Debian has moved on to a newer version: `go run ./build/image lock`, or set EDGE_DEBIAN_MIRROR to a dated archive of http://snapshot.debian.org",
			p.Name, p.Version, err, bytes.TrimSpace(out))
	}
	if err := os.Rename(tmp, f.path(p)); err != nil {
		return err
	}
	return f.check(p)
}

var errDiffers = errors.New("it is not what the lock file pins")

// check compares a file of the cache with the lock.
func (f fetcher) check(p locked) error {
	file, err := os.Open(f.path(p))
	if err != nil {
		return err
	}
	defer file.Close()
	sum := sha256.New()
	n, err := io.Copy(sum, file)
	if err != nil {
		return err
	}
	if n != p.Size || hex.EncodeToString(sum.Sum(nil)) != p.SHA256 {
		return fmt.Errorf("%s: %w", file.Name(), errDiffers)
	}
	return nil
}
