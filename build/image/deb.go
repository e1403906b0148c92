package main

import (
	"archive/tar"
	"bufio"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path"
	"strconv"
	"strings"
)

// unpackDeb adds a package's files to the tree. Its scripts are not run: what
// they would do, the recipe does.
func unpackDeb(file string, t *tree, keep func(path string) bool) error {
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	defer f.Close()
	name, member, err := dataMember(bufio.NewReader(f))
	if err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	plain, wait, err := decompress(name, member)
	if err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	if err := unpackTar(plain, t, keep); err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	return wait()
}

// dataMember finds data.tar.* in an ar archive (deb(5)).
func dataMember(r io.Reader) (string, io.Reader, error) {
	magic := make([]byte, 8)
	if _, err := io.ReadFull(r, magic); err != nil || string(magic) != "!<arch>\n" {
		return "", nil, errors.New("not a Debian package: it does not begin as an ar archive")
	}
	for {
		header := make([]byte, 60)
		if _, err := io.ReadFull(r, header); err != nil {
			return "", nil, errors.New("no data in the package: it is cut short")
		}
		name := strings.TrimRight(strings.TrimSpace(string(header[:16])), "/")
		size, err := strconv.ParseInt(strings.TrimSpace(string(header[48:58])), 10, 64)
		if err != nil || size < 0 {
			return "", nil, fmt.Errorf("member %q has no size", name)
		}
		if strings.HasPrefix(name, "data.tar") {
			return name, io.LimitReader(r, size), nil
		}
		if _, err := io.CopyN(io.Discard, r, size+size%2); err != nil {
			return "", nil, fmt.Errorf("member %q is cut short", name)
		}
	}
}

// decompress pipes through Debian's own tool: ten times as fast as what there
// is in Go. wait ends it.
func decompress(name string, r io.Reader) (io.Reader, func() error, error) {
	none := func() error { return nil }
	tool := map[string]string{".xz": "xz", ".zst": "zstd"}[path.Ext(name)]
	switch {
	case name == "data.tar":
		return r, none, nil
	case name == "data.tar.gz":
		plain, err := gzip.NewReader(r)
		return plain, none, err
	case tool == "":
		return nil, nil, fmt.Errorf("%s: unknown compression", name)
	}
	cmd := exec.Command(tool, "-dc")
	cmd.Stdin = r
	plain, err := cmd.StdoutPipe()
	if err != nil {
		return nil, nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, nil, err
	}
	return plain, func() error {
		_, _ = io.Copy(io.Discard, plain)
		if err := cmd.Wait(); err != nil {
			return fmt.Errorf("decompress %s: %w", name, err)
		}
		return nil
	}, nil
}

func unpackTar(r io.Reader, t *tree, keep func(string) bool) error {
	for archive := tar.NewReader(r); ; {
		h, err := archive.Next()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		name := path.Clean("/" + h.Name)[1:]
		if name == "" || !keep(name) {
			continue
		}
		e := entry{mode: uint32(h.Mode) & 0o7777, uid: h.Uid, gid: h.Gid}
		switch h.Typeflag {
		case tar.TypeDir:
			e.kind = folder
		case tar.TypeSymlink:
			e.kind, e.target = link, h.Linkname
		case tar.TypeReg:
			e.kind = file
			if e.data, err = io.ReadAll(archive); err != nil {
				return err
			}
		case tar.TypeLink:
			twin, ok := t.get(path.Clean("/" + h.Linkname)[1:])
			if !ok {
				continue // of something that is not kept
			}
			e = twin
		default:
			return fmt.Errorf("%s: a kind of file (%c) that no package should hold", h.Name, h.Typeflag)
		}
		t.put(name, e)
	}
}
