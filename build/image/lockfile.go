package main

import (
	"bufio"
	"cmp"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// locked is one package as the lock file pins it.
type locked struct {
	Name, Version, Arch string
	Size                int64
	SHA256              string
	// URL of the archive that had it when the lock was made, below a mirror:
	// "debian/pool/…" or "debian-security/pool/…".
	Path string
}

const lockHeader = `# Debian packages that the image is made of. Made by: go run ./build/image lock --arch %s
# name version architecture size sha256 path
`

var sha256Hex = regexp.MustCompile(`^[0-9a-f]{64}$`)

// readLock reads a lock file. An error names the line.
func readLock(r io.Reader) ([]locked, error) {
	var all []locked
	seen := map[string]bool{}
	lines := bufio.NewScanner(r)
	for n := 1; lines.Scan(); n++ {
		text := strings.TrimSpace(lines.Text())
		if text == "" || strings.HasPrefix(text, "#") {
			continue
		}
		f := strings.Fields(text)
		if len(f) != 6 {
			return nil, fmt.Errorf("line %d: %d fields where 6 belong", n, len(f))
		}
		p := locked{Name: f[0], Version: f[1], Arch: f[2], SHA256: f[4], Path: f[5]}
		var err error
		if p.Size, err = strconv.ParseInt(f[3], 10, 64); err != nil || p.Size <= 0 {
			return nil, fmt.Errorf("line %d: %q is no size", n, f[3])
		}
		if !sha256Hex.MatchString(p.SHA256) {
			return nil, fmt.Errorf("line %d: %q is no SHA-256", n, p.SHA256)
		}
		if strings.Contains(p.Path, "..") || !strings.HasPrefix(p.Path, "debian") || !strings.HasSuffix(p.Path, ".deb") {
			return nil, fmt.Errorf("line %d: %q is no path of a package below a mirror", n, p.Path)
		}
		if seen[p.Name] {
			return nil, fmt.Errorf("line %d: %s is there already", n, p.Name)
		}
		seen[p.Name] = true
		all = append(all, p)
	}
	if len(all) == 0 && lines.Err() == nil {
		return nil, fmt.Errorf("no package in it")
	}
	return all, lines.Err()
}

// writeLock renders what readLock reads, ordered by name.
func writeLock(arch string, all []locked) []byte {
	slices.SortFunc(all, func(a, b locked) int { return cmp.Compare(a.Name, b.Name) })
	var out strings.Builder
	fmt.Fprintf(&out, lockHeader, arch)
	for _, p := range all {
		fmt.Fprintln(&out, p.Name, p.Version, p.Arch, p.Size, p.SHA256, p.Path)
	}
	return []byte(out.String())
}
