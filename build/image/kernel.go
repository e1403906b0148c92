package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// kernel is what of the tree belongs to the kernel.
type kernel struct {
	version string
	image   []byte
	trees   map[string][]byte // device trees, by file name
}

// takeKernel takes the kernel itself out of the tree, unpacks its modules (the
// file system compresses them anyway, and a slow board need not twice) and
// writes their indexes, as the package's script would.
func takeKernel(t *tree) (kernel, error) {
	k := kernel{trees: map[string][]byte{}}
	for _, name := range t.paths() {
		if version, ok := strings.CutPrefix(name, "boot/vmlinuz-"); ok {
			if k.version != "" {
				return k, fmt.Errorf("two kernels: %s and %s", k.version, version)
			}
			k.version, k.image = version, t.entries[name].data
		}
		if strings.HasPrefix(name, "usr/lib/linux-image-") && strings.HasSuffix(name, ".dtb") {
			k.trees[path.Base(name)] = t.entries[name].data
		}
	}
	if k.version == "" {
		return k, fmt.Errorf("no package brings a kernel")
	}
	t.remove("boot")
	t.remove("usr/lib/linux-image-" + k.version)
	return k, indexModules(t, k.version)
}

func indexModules(t *tree, version string) error {
	dir, err := os.MkdirTemp("", "edgeswarm-modules-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	root := "usr/lib/modules/" + version
	for _, name := range t.paths() {
		if !strings.HasPrefix(name, root+"/") || t.entries[name].kind != file {
			continue
		}
		e := t.entries[name]
		if plain, ok := strings.CutSuffix(name, ".ko.xz"); ok {
			cmd := exec.Command("xz", "-dc")
			cmd.Stdin = bytes.NewReader(e.data)
			if e.data, err = cmd.Output(); err != nil {
				return fmt.Errorf("unpack %s: %w", name, err)
			}
			delete(t.entries, name)
			name = plain + ".ko"
			t.put(name, e)
		}
		target := filepath.Join(dir, strings.TrimPrefix(name, "usr/"))
		if err := os.MkdirAll(filepath.Dir(target), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(target, e.data, 0o644); err != nil {
			return err
		}
	}
	if out, err := exec.Command("depmod", "-b", dir, version).CombinedOutput(); err != nil {
		return fmt.Errorf("index modules: %w: %s", err, out)
	}
	made, err := filepath.Glob(filepath.Join(dir, "lib/modules", version, "modules.*"))
	if err != nil {
		return err
	}
	for _, m := range made {
		data, err := os.ReadFile(m)
		if err != nil {
			return err
		}
		t.file(path.Join(root, filepath.Base(m)), 0o644, data)
	}
	return nil
}

// bootModules are the modules of the initramfs: those of diskModules and all
// that they need. It returns the tree's paths below the folder of modules, and
// the indexes' lines that speak of them.
func bootModules(t *tree, version string) (paths []string, dep, alias []byte) {
	root := "usr/lib/modules/" + version + "/"
	index := string(t.entries[root+"modules.dep"].data)
	needs := map[string][]string{}
	for line := range strings.Lines(index) {
		name, rest, _ := strings.Cut(line, ":")
		needs[name] = strings.Fields(rest) // already whole: depmod follows them to the end
	}
	take := map[string]bool{}
	for name, others := range needs {
		if slices.ContainsFunc(diskModules, func(p string) bool { return strings.HasPrefix(name, "kernel/"+p) }) {
			take[name] = true
			for _, o := range others {
				take[o] = true
			}
		}
	}
	for line := range strings.Lines(index) {
		if name, _, _ := strings.Cut(line, ":"); take[name] {
			paths, dep = append(paths, name), append(dep, line...)
		}
	}
	names := map[string]bool{}
	for _, p := range paths {
		names[moduleName(p)] = true
	}
	for line := range strings.Lines(string(t.entries[root+"modules.alias"].data)) {
		if f := strings.Fields(line); len(f) == 3 && names[f[2]] {
			alias = append(alias, line...)
		}
	}
	return paths, dep, alias
}

// moduleName is a module's name as the kernel writes it.
func moduleName(file string) string {
	return strings.ReplaceAll(strings.TrimSuffix(path.Base(file), ".ko"), "-", "_")
}
