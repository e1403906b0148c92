package host

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/edgeswarm/edgeswarm/api"
)

// maxDevices and maxPaths, in bytes of their paths, bound what a board reports:
// every manager keeps it, and takes no description that is too large.
const (
	maxDevices = 512
	maxPaths   = 16 << 10
)

// Devices lists what the board has below /dev, by class, but for ordinary
// devices. Other names of a device (/dev/serial/by-id/…) are of no class, so
// that a class has each device once.
func Devices() ([]api.BoardDevices, error) { return devices("/dev", "/sys") }

func devices(dev, sys string) ([]api.BoardDevices, error) {
	byClass := map[string][]string{}
	err := filepath.WalkDir(dev, func(real string, entry fs.DirEntry, err error) error {
		path := "/dev" + strings.TrimPrefix(real, dev)
		switch {
		case err != nil && real == dev:
			return err
		case err != nil:
			return nil // unplugged while we looked
		case real == dev:
			return nil
		case api.OrdinaryDevice(path):
			if entry.IsDir() {
				return fs.SkipDir
			}
			return nil
		}
		switch entry.Type() & (fs.ModeDevice | fs.ModeSymlink) {
		case fs.ModeDevice:
			class := classOf(path, sys)
			byClass[class] = append(byClass[class], path)
		case fs.ModeSymlink:
			if info, err := os.Stat(real); err == nil && info.Mode()&fs.ModeDevice != 0 {
				byClass[""] = append(byClass[""], path)
			}
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("list devices: %w", err)
	}
	return bounded(byClass), nil
}

// bounded sorts, and leaves out what is beyond the bounds: those of no class first.
func bounded(byClass map[string][]string) []api.BoardDevices {
	var all []api.BoardDevices
	for class, paths := range byClass {
		slices.Sort(paths)
		all = append(all, api.BoardDevices{Class: class, Paths: paths})
	}
	slices.SortFunc(all, api.BoardDevices.Compare)
	count, size := 0, 0
	for i := range all {
		for n, path := range all[i].Paths {
			count, size = count+1, size+len(path)
			if count > maxDevices || size > maxPaths {
				all[i].Paths = all[i].Paths[:n]
				break
			}
		}
	}
	return slices.DeleteFunc(all, func(d api.BoardDevices) bool { return len(d.Paths) == 0 })
}

// notCameras are words in the names of video devices that see nothing: a
// Raspberry Pi has a dozen of them and maybe no camera.
var notCameras = []string{"codec", "isp", "hevc", "jpeg", "rpivid"}

func classOf(path, sys string) string {
	class := api.DeviceClass(path)
	if class != "camera" {
		return class
	}
	name, err := os.ReadFile(filepath.Join(sys, "class/video4linux", filepath.Base(path), "name"))
	if err == nil && slices.ContainsFunc(notCameras, func(word string) bool { return strings.Contains(strings.ToLower(string(name)), word) }) {
		return ""
	}
	return class
}

// noModels are what makers of PCs write where a model should be.
var noModels = []string{"to be filled by o.e.m.", "system product name", "default string", "not specified", "not applicable", "none", "unknown"}

// Model is the name that the board's maker gave it; "" if it has none.
func Model() (string, error) { return model("/") }

func model(root string) (string, error) {
	for _, path := range []string{"proc/device-tree/model", "sys/class/dmi/id/product_name"} {
		raw, err := os.ReadFile(filepath.Join(root, path))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return "", fmt.Errorf("read the board's model: %w", err)
		}
		name := strings.Join(strings.Fields(strings.Trim(string(raw), "\x00\n")), " ")
		if name != "" && !slices.Contains(noModels, strings.ToLower(name)) {
			return name, nil
		}
	}
	return "", nil
}
