package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/edgeswarm/edgeswarm/internal/boardimage"
)

// deb fabricates a package of the headers given; a file's content is its name.
func deb(t *testing.T, headers ...tar.Header) string {
	t.Helper()
	var data bytes.Buffer
	packed := gzip.NewWriter(&data)
	archive := tar.NewWriter(packed)
	for _, h := range headers {
		if h.Typeflag == tar.TypeReg {
			h.Size = int64(len(h.Name))
		}
		h.ModTime = time.Now() // must not show in an image
		if err := archive.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
		if h.Typeflag == tar.TypeReg {
			_, _ = io.WriteString(archive, h.Name)
		}
	}
	if err := archive.Close(); err != nil {
		t.Fatal(err)
	}
	if err := packed.Close(); err != nil {
		t.Fatal(err)
	}
	out := []byte("!<arch>\n")
	for _, m := range []struct {
		name string
		data []byte
	}{{"debian-binary", []byte("2.0\n")}, {"control.tar.gz", []byte("odd")}, {"data.tar.gz", data.Bytes()}} {
		out = fmt.Appendf(out, "%-16s%-12d%-6d%-6d%-8s%-10d`\n", m.name, time.Now().Unix(), 0, 0, "100644", len(m.data))
		out = append(out, m.data...)
		if len(m.data)%2 == 1 {
			out = append(out, '\n')
		}
	}
	path := filepath.Join(t.TempDir(), "package.deb")
	if err := os.WriteFile(path, out, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func reg(name string, mode int64) tar.Header {
	return tar.Header{Name: name, Mode: mode, Typeflag: tar.TypeReg}
}

func all(string) bool { return true }

func TestPackagesAreUnpackedIntoAMergedRoot(t *testing.T) {
	tr := newTree()
	path := deb(t, tar.Header{Name: "./bin/", Mode: 0o755, Typeflag: tar.TypeDir}, reg("./bin/tool", 0o4755), reg("./usr/bin/other", 0o755),
		tar.Header{Name: "./sbin/link", Linkname: "../bin/tool", Typeflag: tar.TypeSymlink}, tar.Header{Name: "./bin/twin", Linkname: "./bin/tool", Typeflag: tar.TypeLink},
		reg("./usr/share/doc/readme", 0o644))
	if err := unpackDeb(path, tr, func(name string) bool { return !strings.HasPrefix(name, "usr/share/doc") }); err != nil {
		t.Fatal(err)
	}
	want := []string{"usr", "usr/bin", "usr/bin/other", "usr/bin/tool", "usr/bin/twin", "usr/sbin", "usr/sbin/link"}
	if got := tr.paths(); !slices.Equal(got, want) {
		t.Errorf("unpacked %v, want %v", got, want)
	}
	if e, _ := tr.get("bin/twin"); e.mode != 0o4755 || string(e.data) != "./bin/tool" {
		t.Errorf("a twin of a file: %+v", e)
	}
}

func TestWhatIsNoPackageIsRefused(t *testing.T) {
	whole, err := os.ReadFile(deb(t, reg("./usr/bin/tool", 0o755)))
	if err != nil {
		t.Fatal(err)
	}
	device, err := os.ReadFile(deb(t, tar.Header{Name: "./dev/mem", Typeflag: tar.TypeChar}))
	if err != nil {
		t.Fatal(err)
	}
	for name, data := range map[string][]byte{"empty": nil, "another kind": []byte("PK\x03\x04 and more"), "cut in the header": whole[:30], "cut in the data": whole[:len(whole)-40], "with a device": device} {
		path := filepath.Join(t.TempDir(), "bad.deb")
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := unpackDeb(path, newTree(), all); err == nil || !strings.Contains(err.Error(), "bad.deb") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestALockReadsBackAndItsFaultsAreNamed(t *testing.T) {
	sum := strings.Repeat("ab", 32)
	want := []locked{{"a", "1:2-3", "arm64", 10, sum, "debian/pool/main/a/a_2-3_arm64.deb"}, {"b", "1", "all", 20, sum, "debian-security/pool/updates/main/b/b_1_all.deb"}}
	got, err := readLock(bytes.NewReader(writeLock("arm64", []locked{want[1], want[0]})))
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("got %+v, %v", got, err)
	}
	good := "a 1 all 10 " + sum + " debian/pool/a.deb\n"
	for name, text := range map[string]string{
		"line 1: 2 fields": "a 1\n", "line 2: a is there already": good + good, "line 1: \"ten\" is no size": strings.Replace(good, "10", "ten", 1),
		"no SHA-256": strings.Replace(good, sum, "abc", 1), "no path": strings.Replace(good, "debian/pool", "debian/../..", 1), "no package in it": "# nothing\n",
	} {
		if _, err := readLock(strings.NewReader(text)); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("want %q, got %v", name, err)
		}
	}
}

func TestTheCommittedLocksAreWhole(t *testing.T) {
	for arch, r := range recipes {
		f, err := os.Open("lock/" + arch + ".lock")
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		packages, err := readLock(f)
		if err != nil {
			t.Errorf("%s: %v", arch, err)
		}
		for _, want := range r.packages {
			if !slices.Contains(leftOut, want) && !slices.ContainsFunc(packages, func(p locked) bool { return p.Name == want }) {
				t.Errorf("%s: %s is in the recipe and not in the lock: run `make image-lock`", arch, want)
			}
		}
		for _, p := range packages {
			if p.Arch != arch && p.Arch != "all" {
				t.Errorf("%s: %s is for %s", arch, p.Name, p.Arch)
			}
		}
	}
}

func TestAFileOfTheCacheIsCheckedAtEachUse(t *testing.T) {
	dir := t.TempDir()
	sum := sha256.Sum256([]byte("content"))
	p := locked{Name: "a", Version: "1", Arch: "all", Size: 7, SHA256: hex.EncodeToString(sum[:]), Path: "debian/pool/a.deb"}
	f := fetcher{cache: filepath.Join(dir, "cache"), mirror: "copy:" + dir}
	if err := os.MkdirAll(filepath.Join(dir, "debian/pool"), 0o755); err != nil {
		t.Fatal(err)
	}
	archive := filepath.Join(dir, "debian/pool/a.deb")
	if err := os.WriteFile(archive, []byte("c0ntent"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := f.all(t.Context(), []locked{p}, io.Discard); err == nil || !strings.Contains(err.Error(), "fetch a 1") {
		t.Errorf("a mirror with another file: %v", err)
	}
	if err := os.WriteFile(archive, []byte("content"), 0o644); err != nil {
		t.Fatal(err)
	}
	paths, err := f.all(t.Context(), []locked{p}, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(paths[0], []byte("damaged"), 0o644); err != nil {
		t.Fatal(err)
	}
	var said bytes.Buffer
	if _, err := f.all(t.Context(), []locked{p}, &said); err != nil || !strings.Contains(said.String(), "fetching") {
		t.Errorf("a damaged file of the cache: %v, %q", err, said.String())
	}
}

func TestAMissingLibraryIsFoundBeforeABoardMissesIt(t *testing.T) {
	program, err := os.ReadFile("/bin/sh")
	if err != nil {
		t.Fatal(err)
	}
	r := recipe{triplet: "any", loader: "usr/lib/loader"}
	tr := newTree()
	tr.file("bin/sh", 0o755, program)
	if err := complete(tr, r); err == nil || !strings.Contains(err.Error(), "usr/bin/sh needs libc.so.6") || !strings.Contains(err.Error(), "loader") {
		t.Errorf("without libraries: %v", err)
	}
	tr.file("lib/any/libc.so.6", 0o755, nil)
	tr.file("lib/loader", 0o755, nil)
	if err := complete(tr, r); err != nil {
		t.Errorf("with them: %v", err)
	}
}

func TestModulesBringWhatTheyNeed(t *testing.T) {
	tr := newTree()
	root := "lib/modules/1/"
	tr.file(root+"modules.dep", 0o644, []byte("kernel/drivers/block/virtio_blk.ko: kernel/lib/core.ko\nkernel/lib/core.ko:\nkernel/sound/horn.ko:\n"))
	tr.file(root+"modules.alias", 0o644, []byte("# x\nalias virtio:d2v* virtio_blk\nalias pci:horn* horn\n"))
	paths, dep, alias := bootModules(tr, "1")
	if !slices.Equal(paths, []string{"kernel/drivers/block/virtio_blk.ko", "kernel/lib/core.ko"}) || strings.Contains(string(dep), "horn") || string(alias) != "alias virtio:d2v* virtio_blk\n" {
		t.Errorf("%v\n%s\n%s", paths, dep, alias)
	}
}

func TestTheKernelReadsOurInitramfs(t *testing.T) {
	tr := newTree()
	tr.file("init", 0o755, []byte("first"))
	tr.file("modules/a.ko", 0o644, []byte("odd"))
	tr.link("bin", "usr/bin")
	var out bytes.Buffer
	if err := writeCpio(&out, tr, time.Unix(1, 0)); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("busybox", "cpio", "-idm")
	cmd.Dir, cmd.Stdin = t.TempDir(), &out
	if said, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, said)
	}
	if data, err := os.ReadFile(filepath.Join(cmd.Dir, "modules/a.ko")); err != nil || string(data) != "odd" {
		t.Errorf("%q, %v", data, err)
	}
	if info, err := os.Stat(filepath.Join(cmd.Dir, "init")); err != nil || info.Mode().Perm() != 0o755 {
		t.Errorf("%v, %v", info, err)
	}
	if target, err := os.Readlink(filepath.Join(cmd.Dir, "usr/bin")); err != nil {
		t.Logf("link %q", target) // "bin" is canonical: usr/bin
		t.Error(err)
	}
}

// The same packages make the same image, to the bit, whenever it is made.
func TestTwoBuildsMakeOneImage(t *testing.T) {
	build := func() [sha256.Size]byte {
		tr := newTree()
		for _, path := range []string{deb(t, reg("./usr/bin/one", 0o755), reg("./usr/lib/two", 0o644)), deb(t, reg("./etc/three", 0o600))} {
			if err := unpackDeb(path, tr, all); err != nil {
				t.Fatal(err)
			}
		}
		o := options{arch: "arm64", epoch: 1767225600}
		dir := t.TempDir()
		if err := makeRoot(t.Context(), tr, filepath.Join(dir, "root"), o); err != nil {
			t.Fatal(err)
		}
		boot := map[string][]byte{"config.txt": []byte("x"), "a/vmlinuz": bytes.Repeat([]byte("k"), 100000), "a/a-long-name-of-a-file.dtb": nil, "edge.yaml": []byte("# nothing\n"), "EFI/BOOT/BOOTAA64.EFI": []byte("MZ")}
		raw := filepath.Join(dir, "image")
		if err := assemble(raw, filepath.Join(dir, "root"), boot, o); err != nil {
			t.Fatal(err)
		}
		f, err := os.Open(raw)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		sum := sha256.New()
		// The system of a few files ends soon after its partition's beginning.
		if _, err := io.CopyN(sum, f, boardimage.New().Partition(boardimage.SlotA).Offset()+1<<20); err != nil {
			t.Fatal(err)
		}
		for name, want := range boot {
			if got, err := boardimage.ReadBootFile(f, name); err != nil || !bytes.Equal(got, want) {
				t.Errorf("%s reads back as %d bytes, %v", name, len(got), err)
			}
		}
		return [sha256.Size]byte(sum.Sum(nil))
	}
	first := build()
	// A clock that the image shows would tell the two apart: FAT counts in twos.
	for begin := time.Now(); time.Since(begin) < 2100*time.Millisecond; {
		if build() != first {
			t.Fatal("two builds differ")
		}
	}
}
