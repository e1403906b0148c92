package main

import (
	"bytes"
	"context"
	"debug/elf"
	"embed"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/klauspost/compress/zstd"

	"github.com/edgeswarm/edgeswarm/internal/boardimage"
)

//go:embed files
var embedded embed.FS

func readEmbedded(name string) []byte {
	data, err := embedded.ReadFile("files/" + name)
	if err != nil {
		panic(err) // it was there when this was compiled
	}
	return data
}

// makeImage is the whole way from the lock file to the compressed image.
func makeImage(ctx context.Context, o options, lockPath string, progress io.Writer) error {
	if err := haveTools(); err != nil {
		return err
	}
	r := recipes[o.arch]
	lock, err := os.Open(lockPath)
	if err != nil {
		return err
	}
	defer lock.Close()
	packages, err := readLock(lock)
	if err != nil {
		return fmt.Errorf("%s: %w", lockPath, err)
	}
	debs, err := fetcher{cache: o.cache, mirror: o.mirror}.all(ctx, packages, progress)
	if err != nil {
		return err
	}
	t := newTree()
	for _, deb := range debs {
		if err := unpackDeb(deb, t, r.keep); err != nil {
			return err
		}
	}
	k, err := takeKernel(t)
	if err != nil {
		return err
	}
	if err := addPrograms(o, t); err != nil {
		return err
	}
	boot, err := furnish(r, t, k, o)
	if err != nil {
		return err
	}
	if err := complete(t, r); err != nil {
		return err
	}
	fmt.Fprintf(progress, "kernel %s, %d packages, %d files of %d MB\n", k.version, len(packages), len(t.entries), t.size()/1e6)
	return writeImage(ctx, o, t, boot, progress)
}

// furnish adds what packages' scripts would make and our own files, and returns
// those of the boot partition.
func furnish(r recipe, t *tree, k kernel, o options) (map[string][]byte, error) {
	initramfs, err := makeInitramfs(t, k.version, o)
	if err != nil {
		return nil, err
	}
	boot, err := bootFiles(r, t, k, initramfs)
	if err != nil {
		return nil, err
	}
	return boot, furnishRoot(t)
}

// tools are programs of the build machine, with the packages that bring them.
var tools = []struct{ program, brings string }{
	{"sqfstar", "squashfs-tools"}, {"depmod", "kmod"}, {"xz", "xz-utils"}, {"apt-get", "apt"},
}

func haveTools() error {
	var missing []string
	for _, tool := range tools {
		if _, err := exec.LookPath(tool.program); err != nil {
			missing = append(missing, tool.brings)
		}
	}
	if len(missing) > 0 {
		return fmt.Errorf("programs are missing to make an image: run `make image`, which installs them, or: apt-get install %s", strings.Join(missing, " "))
	}
	return nil
}

// addPrograms puts our own programs into the tree.
func addPrograms(o options, t *tree) error {
	for name, target := range map[string]string{"edged": "usr/bin/edged", "edgectl": "usr/bin/edgectl", "edgeboot": "usr/lib/edgeswarm/edgeboot", "edgeinit": "init"} {
		data, err := os.ReadFile(filepath.Join(o.programs, name+"-linux-"+o.arch))
		if err != nil {
			return fmt.Errorf("%w: run `make image`, which builds it", err)
		}
		t.file(target, 0o755, data)
	}
	return nil
}

// makeInitramfs holds edgeinit and the drivers that may be needed to reach the
// card: nothing of Debian's user space.
func makeInitramfs(t *tree, version string, o options) ([]byte, error) {
	first, _ := t.get("init")
	t.remove("init") // of the initramfs only
	small := newTree()
	small.put("init", first)
	for _, dir := range []string{"dev", "proc", "sys", "root", "run"} {
		small.folder(dir, 0o755)
	}
	paths, dep, alias := bootModules(t, version)
	if len(paths) == 0 {
		return nil, errors.New("the kernel has no driver for any card")
	}
	for _, p := range paths {
		e, ok := t.get("usr/lib/modules/" + version + "/" + p)
		if !ok {
			return nil, fmt.Errorf("module %s is left out and needed to boot", p)
		}
		small.put("modules/"+p, e)
	}
	small.file("modules/modules.dep", 0o644, dep)
	small.file("modules/modules.alias", 0o644, alias)
	small.file("modules/always", 0o644, []byte(strings.Join(alwaysLoaded, "\n")+"\n"))
	var out bytes.Buffer
	w, err := zstd.NewWriter(&out, zstd.WithEncoderLevel(zstd.SpeedBestCompression), zstd.WithEncoderConcurrency(1))
	if err != nil {
		return nil, err
	}
	if err := writeCpio(w, small, o.at()); err != nil {
		return nil, err
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}

// complete checks that every program finds its libraries: what was left out of
// the packages must not be missed on a board.
func complete(t *tree, r recipe) error {
	dirs := []string{"usr/lib/" + r.triplet, "usr/lib", "usr/lib64", "usr/lib/" + r.triplet + "/systemd", "usr/lib/systemd"}
	var missing []string
	for _, name := range t.paths() {
		e := t.entries[name]
		if e.kind != file || !bytes.HasPrefix(e.data, []byte("\x7fELF")) || strings.HasSuffix(name, ".ko") {
			continue
		}
		program, err := elf.NewFile(bytes.NewReader(e.data))
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		needed, err := program.ImportedLibraries()
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		for _, lib := range needed {
			if !slices.ContainsFunc(dirs, func(dir string) bool { _, ok := t.get(path.Join(dir, lib)); return ok }) {
				missing = append(missing, name+" needs "+lib)
			}
		}
	}
	if _, ok := t.get(r.loader); !ok {
		missing = append(missing, "every program needs "+r.loader)
	}
	if len(missing) > 0 {
		return fmt.Errorf("libraries are missing from the image:\n  %s", strings.Join(missing, "\n  "))
	}
	return nil
}

// writeImage makes the file systems, puts them in their places and compresses
// the whole.
func writeImage(ctx context.Context, o options, t *tree, boot map[string][]byte, progress io.Writer) error {
	if err := os.MkdirAll(o.out, 0o755); err != nil {
		return err
	}
	dir, err := os.MkdirTemp(o.out, ".image-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	root := filepath.Join(dir, "root.squashfs")
	if err := makeRoot(ctx, t, root, o); err != nil {
		return err
	}
	raw := filepath.Join(dir, "edgeswarm-"+o.arch+".img")
	if err := assemble(raw, root, boot, o); err != nil {
		return err
	}
	if o.raw {
		return os.Rename(raw, filepath.Join(o.out, filepath.Base(raw)))
	}
	fmt.Fprintln(progress, "compressing")
	// Two threads, whatever this machine has: their number shows in the result.
	// Most of it is compressed already, so a higher level gains little.
	cmd := exec.CommandContext(ctx, "xz", "-3", "-T2", "--block-size=32MiB", "--check=crc64", "-k", raw)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("compress image: %w: %s", err, out)
	}
	for _, name := range []string{raw, raw + ".xz"} {
		if err := os.Rename(name, filepath.Join(o.out, filepath.Base(name))); err != nil {
			return err
		}
	}
	return writeSum(filepath.Join(o.out, filepath.Base(raw)+".xz"), progress)
}

// makeRoot makes the read-only system.
func makeRoot(ctx context.Context, t *tree, target string, o options) error {
	at := strconv.FormatInt(o.epoch, 10)
	cmd := exec.CommandContext(ctx, "sqfstar", "-root-mode", "755", "-comp", "zstd", "-b", "128K", "-no-xattrs", "-no-progress", "-quiet", "-mkfs-time", at, "-all-time", at, target)
	cmd.Env = slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, "SOURCE_DATE_EPOCH=") }) // refused beside the options
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return err
	}
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said
	if err := cmd.Start(); err != nil {
		return err
	}
	err = errors.Join(t.writeTar(stdin, o.at()), stdin.Close())
	if err = errors.Join(cmd.Wait(), err); err != nil {
		return fmt.Errorf("make system: %w: %s", err, said.Bytes())
	}
	return nil
}

// assemble puts partition table, boot partition and system into a raw image.
func assemble(raw, root string, boot map[string][]byte, o options) error {
	image, err := os.OpenFile(raw, os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o644)
	if err != nil {
		return err
	}
	defer image.Close()
	if err := image.Truncate(boardimage.ImageSize); err != nil {
		return err
	}
	layout := boardimage.New()
	sector := make([]byte, boardimage.SectorSize)
	layout.Write(sector)
	if _, err := image.WriteAt(sector, 0); err != nil {
		return err
	}
	system, err := os.Open(root)
	if err != nil {
		return err
	}
	defer system.Close()
	place := layout.Partition(boardimage.SlotA)
	n, err := io.Copy(io.NewOffsetWriter(image, place.Offset()), system)
	if err != nil {
		return err
	}
	if n > place.Bytes() {
		return fmt.Errorf("the system has %d MB and its partition %d MB: leave more out (recipe.go)", n/1e6, place.Bytes()/1e6)
	}
	return writeBoot(image, layout.Partition(boardimage.Boot), boot, o.at())
}

// walkRoot calls add with each of our own files for the root.
func walkRoot(add func(name string, data []byte)) error {
	return fs.WalkDir(embedded, "files/root", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := embedded.ReadFile(name)
		add(strings.TrimPrefix(name, "files/root/"), data)
		return err
	})
}
