package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// modules are the kernel's drivers in the initramfs, with depmod's indexes.
type modules struct {
	dir     string
	needs   map[string][]string // path below dir, to those it needs, the first to load last
	byName  map[string]string
	aliases []alias
	loaded  map[string]bool // by path; tried once
	known   map[string]bool // modaliases that were looked up
}

type alias struct{ pattern, module string }

func openModules(dir string) (*modules, error) {
	m := &modules{dir: dir, needs: map[string][]string{}, byName: map[string]string{}, loaded: map[string]bool{}, known: map[string]bool{}}
	dep, err := os.ReadFile(filepath.Join(dir, "modules.dep"))
	if err != nil {
		return nil, err
	}
	for line := range strings.Lines(string(dep)) {
		name, rest, _ := strings.Cut(line, ":")
		m.needs[name] = strings.Fields(rest)
		m.byName[kernelName(name)] = name
	}
	index, err := os.ReadFile(filepath.Join(dir, "modules.alias"))
	if err != nil {
		return nil, err
	}
	for line := range strings.Lines(string(index)) {
		if f := strings.Fields(line); len(f) == 3 {
			m.aliases = append(m.aliases, alias{f[1], f[2]})
		}
	}
	return m, nil
}

// kernelName is a module's name as the kernel writes it.
func kernelName(file string) string {
	return strings.ReplaceAll(strings.TrimSuffix(path.Base(file), ".ko"), "-", "_")
}

// always loads what no device asks for and every board needs.
func (m *modules) always() error {
	list, err := os.ReadFile(filepath.Join(m.dir, "always"))
	if err != nil {
		return err
	}
	for _, name := range strings.Fields(string(list)) {
		if path, ok := m.byName[kernelName(name)]; ok { // else built into the kernel
			if err := m.load(path); err != nil {
				return err
			}
		}
	}
	return nil
}

// forDevices loads the drivers of the devices that are there. One that does
// not load is told and passed over: it may not be the card's.
func (m *modules) forDevices(sys string) {
	_ = filepath.WalkDir(sys, func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.Name() != "modalias" {
			return nil // devices come and go
		}
		raw, err := os.ReadFile(name)
		if err != nil {
			return nil
		}
		device := strings.TrimSpace(string(raw))
		if m.known[device] {
			return nil
		}
		m.known[device] = true
		for _, file := range m.match(device) {
			if err := m.load(file); err != nil {
				fmt.Println("edgeinit:", err)
			}
		}
		return nil
	})
}

// match lists the modules that say they drive a device.
func (m *modules) match(device string) (files []string) {
	for _, a := range m.aliases {
		if ok, err := path.Match(a.pattern, device); ok && err == nil {
			files = append(files, m.byName[a.module])
		}
	}
	return files
}

func (m *modules) load(file string) error {
	if m.loaded[file] {
		return nil
	}
	m.loaded[file] = true
	needs := m.needs[file]
	for i := len(needs) - 1; i >= 0; i-- {
		if err := m.load(needs[i]); err != nil {
			return err
		}
	}
	f, err := os.Open(filepath.Join(m.dir, file))
	if err != nil {
		return err
	}
	defer f.Close()
	if err := unix.FinitModule(int(f.Fd()), "", 0); err != nil && !errors.Is(err, unix.EEXIST) {
		return fmt.Errorf("load %s: %w", file, err)
	}
	return nil
}
