package main

import (
	"archive/tar"
	"io"
	"maps"
	"path"
	"slices"
	"strings"
	"time"
)

type kind int

const (
	file kind = iota
	folder
	link
)

// entry is one file of a tree.
type entry struct {
	kind     kind
	mode     uint32 // permissions
	uid, gid int
	data     []byte // of a file
	target   string // of a link
}

// tree is a file system in the making: paths without a leading slash, each
// folder of it real. Debian's merged /usr is applied to what is put in.
type tree struct{ entries map[string]entry }

func newTree() *tree { return &tree{entries: map[string]entry{}} }

// merged are folders of the root that live in /usr.
var merged = []string{"bin", "sbin", "lib", "lib64"}

func canonical(name string) string {
	first, rest, deeper := strings.Cut(name, "/")
	if slices.Contains(merged, first) {
		name = "usr/" + first
		if deeper {
			name += "/" + rest
		}
	}
	return name
}

// put adds or replaces an entry, and adds the folders above it.
func (t *tree) put(name string, e entry) {
	name = canonical(name)
	for dir := path.Dir(name); dir != "."; dir = path.Dir(dir) {
		if _, ok := t.entries[dir]; !ok {
			t.entries[dir] = entry{kind: folder, mode: 0o755}
		}
	}
	t.entries[name] = e
}

func (t *tree) get(name string) (entry, bool) {
	e, ok := t.entries[canonical(name)]
	return e, ok
}

func (t *tree) file(name string, mode uint32, data []byte) {
	t.put(name, entry{kind: file, mode: mode, data: data})
}
func (t *tree) folder(name string, mode uint32) { t.put(name, entry{kind: folder, mode: mode}) }
func (t *tree) link(name, target string) {
	t.put(name, entry{kind: link, mode: 0o777, target: target})
}

// remove takes an entry and all below it away.
func (t *tree) remove(name string) {
	name = canonical(name)
	maps.DeleteFunc(t.entries, func(p string, _ entry) bool { return p == name || strings.HasPrefix(p, name+"/") })
}

// paths are all names, a folder before what is in it.
func (t *tree) paths() []string { return slices.Sorted(maps.Keys(t.entries)) }

// size is that of all files.
func (t *tree) size() (n int64) {
	for _, e := range t.entries {
		n += int64(len(e.data))
	}
	return n
}

// writeTar renders the tree, every time stamp at.
func (t *tree) writeTar(w io.Writer, at time.Time) error {
	archive := tar.NewWriter(w)
	for _, name := range t.paths() {
		e := t.entries[name]
		h := &tar.Header{Name: name, Mode: int64(e.mode), Uid: e.uid, Gid: e.gid, ModTime: at, Size: int64(len(e.data)), Format: tar.FormatPAX, Typeflag: tar.TypeReg}
		switch e.kind {
		case folder:
			h.Name, h.Typeflag = name+"/", tar.TypeDir
		case link:
			h.Typeflag, h.Linkname = tar.TypeSymlink, e.target
		}
		if err := archive.WriteHeader(h); err != nil {
			return err
		}
		if _, err := archive.Write(e.data); err != nil {
			return err
		}
	}
	return archive.Close()
}
