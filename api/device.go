package api

import (
	"cmp"
	"path"
	"slices"
	"strings"
)

// Device lets a task use a device of its board: the one at PathOnHost, or all
// of a Class, each at its own path. Swarm has no such thing; the names are
// those of Docker's HostConfig.Devices.
type Device struct {
	PathOnHost string `json:",omitempty"` // below /dev; a folder is all in it
	Class      string `json:",omitempty"` // one of DeviceClasses, instead of a path
	// PathInContainer is where the task sees it; "" is PathOnHost.
	PathInContainer string `json:",omitempty"`
	// CgroupPermissions are of r (read), w (write) and m (mknod); "" is all.
	CgroupPermissions string `json:",omitempty"`
}

// AllPermissions on a device, Docker's default.
const AllPermissions = "rwm"

// Name is what the device is asked for by, and removed from a service by:
// "/dev/i2c-1" or "class=camera".
func (d Device) Name() string {
	if d.Class != "" {
		return "class=" + d.Class
	}
	return d.PathOnHost
}

func (d Device) orDefault() Device {
	if d.PathOnHost != "" {
		d.PathOnHost = path.Clean(d.PathOnHost)
	}
	if d.PathInContainer == "" {
		d.PathInContainer = d.PathOnHost
	}
	if d.CgroupPermissions == "" {
		d.CgroupPermissions = AllPermissions
	}
	return d
}

// BoardDevices are the devices of one class that a board has. Those of no
// known class are under "".
type BoardDevices struct {
	Class string   `json:",omitempty"`
	Paths []string // sorted
}

// Compare orders by class, those of none last.
func (b BoardDevices) Compare(o BoardDevices) int {
	return cmp.Or(cmp.Compare(min(1, len(o.Class)), min(1, len(b.Class))), cmp.Compare(b.Class, o.Class))
}

func (b BoardDevices) equal(o BoardDevices) bool {
	return b.Class == o.Class && slices.Equal(b.Paths, o.Paths)
}

// classPatterns tell, by path, what kind of device a node of /dev is. A codec
// or an image processor looks like a camera by its path; who can see the
// board tells them apart (see internal/host).
var classPatterns = []struct {
	class    string
	patterns []string
}{
	{"camera", []string{"/dev/video*"}},
	{"gpio", []string{"/dev/gpiochip*", "/dev/gpiomem*"}},
	{"gpu", []string{"/dev/dri/*", "/dev/mali*", "/dev/nvidia*"}},
	{"i2c", []string{"/dev/i2c-*"}},
	{"input", []string{"/dev/input/event*"}},
	{"ir", []string{"/dev/lirc*"}},
	{"npu", []string{"/dev/accel/*", "/dev/apex_*", "/dev/hailo*"}},
	{"sensor", []string{"/dev/iio:device*"}},
	{"serial", []string{"/dev/ttyUSB*", "/dev/ttyACM*", "/dev/ttyAMA*", "/dev/ttymxc*", "/dev/ttyTHS*"}},
	{"sound", []string{"/dev/snd/*"}},
	{"spi", []string{"/dev/spidev*"}},
	{"tpm", []string{"/dev/tpm*"}},
	{"usb", []string{"/dev/bus/usb/*/*"}},
	{"watchdog", []string{"/dev/watchdog*"}},
}

// DeviceClasses lists the classes that a service can ask for.
func DeviceClasses() []string {
	var classes []string
	for _, c := range classPatterns {
		classes = append(classes, c.class)
	}
	return classes
}

// DeviceClass is the class of the device at a path; "" if it is of none.
func DeviceClass(p string) string {
	for _, c := range classPatterns {
		if matchesAny(c.patterns, p) {
			return c.class
		}
	}
	return ""
}

// ordinary devices are on every board, or come and go with what it does rather
// than with what is plugged in.
var ordinary = []string{
	"/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom", "/dev/kmsg", "/dev/tty", "/dev/tty[0-9]*", "/dev/console",
	"/dev/ptmx", "/dev/vcs*", "/dev/ram[0-9]*", "/dev/loop*", "/dev/dm-*", "/dev/nbd*", "/dev/zram*", "/dev/std*",
}

// ordinaryFolders hold nothing but such devices, or other names for some.
var ordinaryFolders = []string{
	"/dev/pts", "/dev/shm", "/dev/mqueue", "/dev/hugepages", "/dev/fd", "/dev/disk", "/dev/mapper", "/dev/char", "/dev/block", "/dev/cpu",
}

// OrdinaryDevice reports whether boards don't report the device, or the folder:
// where a task that asks for it may run is then not decided by it.
func OrdinaryDevice(p string) bool {
	return matchesAny(ordinary, p) || slices.ContainsFunc(ordinaryFolders, func(dir string) bool {
		return p == dir || strings.HasPrefix(p, dir+"/")
	})
}

func matchesAny(patterns []string, p string) bool {
	return slices.ContainsFunc(patterns, func(pattern string) bool {
		ok, _ := path.Match(pattern, p) // our own patterns
		return ok
	})
}

// HasDevice reports whether the board has what is asked for.
func (d NodeDescription) HasDevice(want Device) bool {
	if want.Class != "" {
		return slices.ContainsFunc(d.Devices, func(b BoardDevices) bool { return b.Class == want.Class && len(b.Paths) > 0 })
	}
	asked := path.Clean(want.PathOnHost)
	return OrdinaryDevice(asked) || slices.ContainsFunc(d.Devices, func(b BoardDevices) bool {
		return slices.ContainsFunc(b.Paths, func(p string) bool { return p == asked || strings.HasPrefix(p, asked+"/") })
	})
}

// Lacks names the first of the devices that the board does not have.
func (d NodeDescription) Lacks(devices []Device) (Device, bool) {
	for _, want := range devices {
		if !d.HasDevice(want) {
			return want, true
		}
	}
	return Device{}, false
}

func (c *check) devices(field string, devices []Device) {
	seen := map[string]bool{}
	for _, d := range devices {
		c.that((d.PathOnHost == "") != (d.Class == ""), field, "a device is asked for either by path or by class")
		if d.Class != "" {
			c.that(slices.Contains(DeviceClasses(), d.Class), field, "class %q is not one of %s", d.Class, strings.Join(DeviceClasses(), ", "))
			c.that(d.PathInContainer == "", field, "class %s has a path in the container: devices of a class keep their own paths", d.Class)
		} else {
			clean := path.Clean(d.PathOnHost)
			c.that(path.IsAbs(d.PathOnHost) && strings.HasPrefix(clean, "/dev/"), field, "%q is not a path below /dev: other files are a bind mount", d.PathOnHost)
			c.that(d.PathInContainer == "" || path.IsAbs(d.PathInContainer) && path.Clean(d.PathInContainer) != "/", field,
				"%q, where the task is to see %s, is not an absolute path below /", d.PathInContainer, d.PathOnHost)
		}
		c.that(!seen[d.Name()], field, "%s is asked for twice", d.Name())
		seen[d.Name()] = true
		for i, r := range d.CgroupPermissions {
			c.that(strings.ContainsRune(AllPermissions, r) && strings.IndexRune(d.CgroupPermissions, r) == i, field,
				"permissions %q of %s are not of r, w and m, each at most once", d.CgroupPermissions, d.Name())
		}
	}
}
