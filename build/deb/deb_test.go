// Package deb holds the tests of the Debian packages that deb.sh makes of the
// files here: of what is in them. That they install, upgrade and go is seen in
// chroots of bookworm and trixie, by build/test-deb.sh.
package deb

import (
	"archive/tar"
	"bytes"
	"crypto/md5"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
)

func TestMain(m *testing.M) {
	code := m.Run()
	if dir, err := built(); err == nil {
		os.RemoveAll(dir)
	}
	if dir, err := programs(); err == nil {
		os.RemoveAll(dir)
	}
	os.Exit(code)
}

// names of the programs that packages hold.
var names = []string{"edged", "edge-wireguard", "edgectl"}

// programs are those that `make test` built, or ones built here.
var programs = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "edgeswarm-programs-")
	if err != nil {
		return "", err
	}
	if bin := os.Getenv("EDGE_TEST_BIN"); bin != "" {
		for _, name := range names {
			if err := os.Symlink(filepath.Join(bin, name), filepath.Join(dir, name+"-linux-"+arch())); err != nil {
				return "", err
			}
		}
		return dir, nil
	}
	for _, name := range names {
		cmd := exec.Command("go", "build", "-o", filepath.Join(dir, name+"-linux-"+arch()), "./cmd/"+name)
		cmd.Dir, cmd.Env = "../..", append(os.Environ(), "CGO_ENABLED=0")
		if out, err := cmd.CombinedOutput(); err != nil {
			return "", fmt.Errorf("build %s: %w\n%s", name, err, out)
		}
	}
	return dir, nil
})

// arch is Debian's and Go's name of this machine's architecture.
func arch() string {
	out, err := exec.Command("dpkg", "--print-architecture").Output()
	if err != nil {
		panic(fmt.Errorf("ask dpkg: %w (install it: these are tests of its packages)", err))
	}
	return strings.TrimSpace(string(out))
}

// version is what git calls the commit of these tests' packages, packaged what
// they call it.
const version, packaged = "v0.2.0-5-gabc1234", "0.2.0+5.gabc1234"

// built makes the packages once, for the tests that only read them.
var built = sync.OnceValues(build)

// build makes the packages in a folder of their own.
func build() (dir string, err error) {
	folder, err := programs()
	if err != nil {
		return "", err
	}
	if dir, err = os.MkdirTemp("", "edgeswarm-deb-"); err != nil {
		return "", err
	}
	cmd := script(arch())
	cmd.Env = append(cmd.Env, "PROGRAMS="+folder, "OUT="+dir, "VERSION="+version)
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("deb.sh: %w\n%s", err, out)
	}
	return dir, nil
}

func script(args ...string) *exec.Cmd {
	cmd := exec.Command("./deb.sh", args...)
	cmd.Dir, cmd.Env = "..", append(os.Environ(), "STAMP=1790000000", "COMPRESS=none")
	return cmd
}

func mustBuild(t *testing.T, build func() (string, error)) string {
	t.Helper()
	dir, err := build()
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// deb is a package that was read back.
type deb struct {
	files   map[string]file // what it installs, by path
	control map[string]file
	fields  map[string]string
}

type file struct {
	*tar.Header
	data []byte
}

func open(t *testing.T, path string) deb {
	t.Helper()
	d := deb{files: unpack(t, "--fsys-tarfile", path), control: unpack(t, "--ctrl-tarfile", path), fields: map[string]string{}}
	for line := range strings.Lines(string(d.control["control"].data)) {
		if name, value, ok := strings.Cut(strings.TrimSpace(line), ": "); ok && !strings.HasPrefix(line, " ") {
			d.fields[name] = value
		}
	}
	return d
}

func unpack(t *testing.T, part, path string) map[string]file {
	t.Helper()
	raw, err := exec.Command("dpkg-deb", part, path).Output()
	if err != nil {
		t.Fatalf("read %s: %v", path, err)
	}
	all := map[string]file{}
	for r := tar.NewReader(bytes.NewReader(raw)); ; {
		h, err := r.Next()
		if err == io.EOF {
			return all
		}
		if err != nil {
			t.Fatal(err)
		}
		data, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		all[strings.Trim(strings.TrimPrefix(h.Name, "."), "/")] = file{h, data}
	}
}

func one(t *testing.T, dir, name string) string {
	t.Helper()
	found, _ := filepath.Glob(filepath.Join(dir, name+"_*.deb"))
	if len(found) != 1 {
		t.Fatalf("packages of %s: %v", name, found)
	}
	return found[0]
}

func TestPackages(t *testing.T) {
	dir := mustBuild(t, built)
	for name, want := range map[string]struct {
		files   map[string]int64 // with their modes
		control []string
		needs   map[string][]string // words in fields
	}{
		"edged": {
			map[string]int64{
				"usr/bin/edged": 0o755, "usr/bin/edge-wireguard": 0o755, "usr/lib/systemd/system/edged.service": 0o644, "etc/edgeswarm/edge.yaml": 0o600,
				"usr/share/man/man8/edged.8.gz": 0o644, "usr/share/doc/edged/copyright": 0o644, "usr/share/doc/edged/changelog.gz": 0o644,
				"usr/share/doc/edged/licences.gz": 0o644, "usr/share/lintian/overrides/edged": 0o644,
			},
			[]string{"conffiles", "control", "md5sums", "postinst", "postrm", "prerm"},
			map[string][]string{"Depends": {"containerd (>= 1.6)", "runc | crun"}, "Recommends": {"edgectl (= " + packaged + ")"}},
		},
		"edgectl": {
			map[string]int64{
				"usr/bin/edgectl": 0o755, "usr/share/man/man1/edgectl.1.gz": 0o644, "usr/share/man/man1/edgectl-service-create.1.gz": 0o644,
				"usr/share/man/man1/edgectl-doctor.1.gz": 0o644, "usr/share/bash-completion/completions/edgectl": 0o644,
				"usr/share/zsh/vendor-completions/_edgectl": 0o644, "usr/share/fish/vendor_completions.d/edgectl.fish": 0o644,
				"usr/share/doc/edgectl/copyright": 0o644, "usr/share/doc/edgectl/changelog.gz": 0o644,
				"usr/share/doc/edgectl/licences.gz": 0o644, "usr/share/lintian/overrides/edgectl": 0o644,
			},
			[]string{"control", "md5sums"},
			nil,
		},
	} {
		d := open(t, one(t, dir, name))
		if d.fields["Package"] != name || d.fields["Version"] != packaged || d.fields["Architecture"] != arch() {
			t.Errorf("%s: %v", name, d.fields)
		}
		for field, words := range want.needs {
			for _, w := range words {
				if !strings.Contains(d.fields[field], w) {
					t.Errorf("%s: %s is %q, without %q", name, field, d.fields[field], w)
				}
			}
		}
		for path, mode := range want.files {
			if got, ok := d.files[path]; !ok || got.Mode != mode || got.Size == 0 {
				t.Errorf("%s: %s has mode %o, want %o (there: %v)", name, path, modeOf(got), mode, ok)
			}
		}
		d.check(t, name)
		for control := range d.control {
			if control != "" && !slices.Contains(want.control, control) {
				t.Errorf("%s: control file %s", name, control)
			}
		}
	}
}

func modeOf(f file) int64 {
	if f.Header == nil {
		return 0
	}
	return f.Mode
}

// check holds a package to what holds for all.
func (d deb) check(t *testing.T, name string) {
	t.Helper()
	sums := string(d.control["md5sums"].data)
	for path, f := range d.files {
		if f.Uid != 0 || f.Gid != 0 || f.Uname != "root" && f.Uname != "" || f.ModTime.Unix() != 1790000000 {
			t.Errorf("%s: %s belongs to %d:%d, of %v", name, path, f.Uid, f.Gid, f.ModTime)
		}
		switch {
		case f.Typeflag == tar.TypeDir && f.Mode != 0o755:
			t.Errorf("%s: folder %s has mode %o", name, path, f.Mode)
		case f.Typeflag != tar.TypeReg && f.Typeflag != tar.TypeDir:
			t.Errorf("%s: %s is of type %c", name, path, f.Typeflag)
		case f.Typeflag == tar.TypeReg && !strings.Contains(sums, sum(f.data)+"  "+path+"\n"):
			t.Errorf("%s: %s is not in md5sums", name, path)
		}
	}
	for _, script := range []string{"postinst", "prerm", "postrm"} {
		f, ok := d.control[script]
		if !ok {
			continue
		}
		if f.Mode != 0o755 || !bytes.HasPrefix(f.data, []byte("#!/bin/sh\nset -e\n")) {
			t.Errorf("%s: %s has mode %o, or goes on after an error", name, script, f.Mode)
		}
		sh := exec.Command("sh", "-n")
		sh.Stdin = bytes.NewReader(f.data)
		if out, err := sh.CombinedOutput(); err != nil {
			t.Errorf("%s: %s: %s", name, script, out)
		}
	}
}

func sum(data []byte) string {
	s := md5.Sum(data)
	return hex.EncodeToString(s[:])
}

// TestTheSameCommitGivesTheSameBytes builds twice.
func TestTheSameCommitGivesTheSameBytes(t *testing.T) {
	a, b := mustBuild(t, built), mustBuild(t, build)
	defer os.RemoveAll(b)
	for _, name := range []string{"edged", "edgectl"} {
		first, err := os.ReadFile(one(t, a, name))
		if err != nil {
			t.Fatal(err)
		}
		second, err := os.ReadFile(one(t, b, name))
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(first, second) {
			t.Errorf("%s: two builds differ", name)
		}
	}
}

func TestVersions(t *testing.T) {
	for commit, want := range map[string]string{
		version: packaged, "v1.2.3": "1.2.3", "v1.2.3-1-gabc-dirty": "1.2.3+1.gabc.dirty", "abc1234": "0~20260921.141320.abc1234",
	} {
		cmd := script("version")
		cmd.Env = append(cmd.Env, "VERSION="+commit)
		if out, err := cmd.Output(); err != nil || strings.TrimSpace(string(out)) != want {
			t.Errorf("%s becomes %s (%v), want %s", commit, out, err, want)
		}
	}
	for _, order := range [][2]string{{"0~20260921.141320.abc1234", "0.1.0"}, {"0.2.0", packaged}, {packaged, "0.2.1"}} {
		if err := exec.Command("dpkg", "--compare-versions", order[0], "lt", order[1]).Run(); err != nil {
			t.Errorf("%s is not older than %s", order[0], order[1])
		}
	}
}

// TestEveryCommandHasItsPage: the pages are made from the commands, so that none
// is forgotten.
func TestEveryCommandHasItsPage(t *testing.T) {
	folder, err := programs()
	if err != nil {
		t.Fatal(err)
	}
	d := open(t, one(t, mustBuild(t, built), "edgectl"))
	var walk func(words ...string)
	pages := 0
	walk = func(words ...string) {
		if _, ok := d.files["usr/share/man/man1/"+strings.Join(append([]string{"edgectl"}, words...), "-")+".1.gz"]; !ok {
			t.Errorf("edgectl %s has no page", strings.Join(words, " "))
		}
		pages++
		out, err := exec.Command(filepath.Join(folder, "edgectl-linux-"+arch()), append(words, "--help")...).Output()
		if err != nil {
			t.Fatal(err)
		}
		_, list, _ := strings.Cut(string(out), "Available Commands:\n")
		list, _, _ = strings.Cut(list, "\n\n")
		for line := range strings.Lines(list) {
			if f := strings.Fields(line); len(f) > 1 && f[0] != "help" {
				walk(append(slices.Clone(words), f[0])...)
			}
		}
	}
	walk()
	if pages < 30 {
		t.Errorf("only %d commands were found", pages)
	}
}
