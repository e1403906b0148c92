package containerd

import (
	"errors"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/edgeswarm/edgeswarm/api"
	"github.com/edgeswarm/edgeswarm/runtime"
)

// devRoot is where a board's devices are.
const devRoot = "/dev"

// notShared are folders of /dev that a container has of its own.
var notShared = []string{"/dev/pts", "/dev/shm", "/dev/mqueue", "/dev/fd", "/dev/console", "/dev/hugepages"}

// containerDevices are the devices that a container sees, and what it may do
// with them.
func containerDevices(c runtime.Container) ([]specs.LinuxDevice, []specs.LinuxDeviceCgroup, error) {
	if c.Spec.Privileged {
		all, err := devicesAt(devRoot, devRoot)
		return all, []specs.LinuxDeviceCgroup{{Allow: true, Access: api.AllPermissions}}, err
	}
	var devices []specs.LinuxDevice
	var rules []specs.LinuxDeviceCgroup
	for _, wanted := range c.Devices {
		found, err := devicesAt(wanted.PathOnHost, firstOf(wanted.PathInContainer, wanted.PathOnHost))
		if err != nil {
			return nil, nil, err
		}
		for _, dev := range found {
			if slices.ContainsFunc(devices, func(other specs.LinuxDevice) bool { return other.Path == dev.Path }) {
				continue // asked for by its class and by its path
			}
			devices = append(devices, dev)
			rules = append(rules, specs.LinuxDeviceCgroup{
				Allow: true, Type: dev.Type, Major: &dev.Major, Minor: &dev.Minor, Access: firstOf(wanted.CgroupPermissions, api.AllPermissions),
			})
		}
	}
	return devices, rules, nil
}

// devicesAt describes the device at a path, or all in a folder, as the
// container is to see them. Owner and mode are the board's: a process that is
// not root needs the group that it has there.
func devicesAt(source, target string) ([]specs.LinuxDevice, error) {
	real, err := filepath.EvalSymlinks(source)
	if err != nil {
		return nil, invalid("device %s is not on this board: %v", source, err)
	}
	if real != devRoot && !strings.HasPrefix(real, devRoot+"/") {
		return nil, invalid("device %s leads out of %s, to %s", source, devRoot, real)
	}
	var found []specs.LinuxDevice
	err = filepath.WalkDir(real, func(at string, entry fs.DirEntry, err error) error {
		switch {
		case errors.Is(err, fs.ErrNotExist) && at != real:
			return nil // unplugged while we looked
		case err != nil:
			return err
		case at != real && slices.Contains(notShared, at):
			if entry.IsDir() {
				return fs.SkipDir
			}
			return nil
		case entry.Type()&fs.ModeDevice == 0:
			return nil
		}
		dev, err := describeDevice(at)
		if errors.Is(err, fs.ErrNotExist) && at != real {
			return nil
		}
		if err != nil {
			return err
		}
		dev.Path = path.Join(target, strings.TrimPrefix(at, real))
		found = append(found, dev)
		return nil
	})
	if err != nil {
		return nil, invalid("device %s of this board can't be read: %v", source, err)
	}
	if len(found) == 0 {
		return nil, invalid("%s is no device on this board", source)
	}
	return found, nil
}

func describeDevice(at string) (specs.LinuxDevice, error) {
	var stat unix.Stat_t
	if err := unix.Lstat(at, &stat); err != nil {
		return specs.LinuxDevice{}, &os.PathError{Op: "stat", Path: at, Err: err}
	}
	kind := "c"
	if stat.Mode&unix.S_IFMT == unix.S_IFBLK {
		kind = "b"
	}
	mode := fs.FileMode(stat.Mode & 0o7777)
	return specs.LinuxDevice{
		Type: kind, Major: int64(unix.Major(uint64(stat.Rdev))), Minor: int64(unix.Minor(uint64(stat.Rdev))),
		FileMode: &mode, UID: &stat.Uid, GID: &stat.Gid,
	}, nil
}
