package flagvalue

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/edgeswarm/edgeswarm/api"
)

// Device reads "/dev/i2c-1[:/path/in/task][:rwm]" or "class=camera[:rwm]".
func Device(s string) (api.Device, error) {
	rest, permissions := s, ""
	// A path may have a colon in it, as /dev/iio:device0 has: what is as short as
	// permissions is taken for them.
	if at := strings.LastIndexByte(s, ':'); at >= 0 && len(s[at+1:]) <= len(api.AllPermissions) && !strings.Contains(s[at:], "/") {
		rest, permissions = s[:at], s[at+1:]
		if permissions == "" || strings.Trim(permissions, api.AllPermissions) != "" {
			return api.Device{}, fmt.Errorf("%q is not what may be done with it: give some of r (read), w (write) and m (make the node), as in %s:rw", permissions, rest)
		}
	}
	if class, ok := strings.CutPrefix(rest, "class="); ok {
		if !slices.Contains(api.DeviceClasses(), class) {
			return api.Device{}, fmt.Errorf("%q is no class of devices: give one of %s", class, strings.Join(api.DeviceClasses(), ", "))
		}
		return api.Device{Class: class, CgroupPermissions: permissions}, nil
	}
	source, target, _ := strings.Cut(rest, ":/")
	if target != "" {
		target = "/" + target
	}
	if !strings.HasPrefix(source, "/dev/") {
		return api.Device{}, errors.New("it is not below /dev: give /dev/NAME[:/path/in/task][:rwm], or class=NAME; other files are a --mount of type bind")
	}
	return api.Device{PathOnHost: source, PathInContainer: target, CgroupPermissions: permissions}, nil
}

// DeviceName reads a device to remove, by its path on the board or its class.
func DeviceName(s string) (string, error) {
	d, err := Device(s)
	return d.Name(), err
}

// Sysctl reads "name=value".
func Sysctl(s string) (Pair, error) {
	name, value, _ := strings.Cut(s, "=")
	if name == "" || value == "" {
		return Pair{}, errors.New("it has no name or no value: write name=value, as in net.core.somaxconn=1024")
	}
	return Pair{strings.TrimSpace(name), strings.TrimSpace(value)}, nil
}

// Ulimit reads "name=soft[:hard]"; -1 is no limit.
func Ulimit(s string) (api.Ulimit, error) {
	name, limits, ok := strings.Cut(s, "=")
	softText, hardText, both := strings.Cut(limits, ":")
	if !both {
		hardText = softText
	}
	soft, errSoft := strconv.ParseInt(softText, 10, 64)
	hard, errHard := strconv.ParseInt(hardText, 10, 64)
	if !ok || name == "" || errSoft != nil || errHard != nil {
		return api.Ulimit{}, errors.New("it can't be read: write name=soft[:hard], as in nofile=1024:4096; -1 is no limit")
	}
	return api.Ulimit{Name: strings.ToLower(name), Soft: soft, Hard: hard}, nil
}

// Host reads "name:address" into a line of a hosts file.
func Host(s string) (string, error) {
	name, text, _ := strings.Cut(s, ":")
	addr, err := netip.ParseAddr(strings.Trim(text, "[]"))
	if err != nil || name == "" || strings.ContainsAny(name, " \t/") {
		return "", errors.New("it is not a name and its address: write name:address, as in printer:192.0.2.7")
	}
	return addr.String() + " " + name, nil
}

// Address reads an IP address.
func Address(s string) (string, error) {
	addr, err := netip.ParseAddr(s)
	if err != nil {
		return "", errors.New("it is not an IP address: give one such as 192.0.2.53")
	}
	return addr.String(), nil
}

// Word reads what can stand in a file of words.
func Word(s string) (string, error) {
	if s == "" || strings.ContainsAny(s, " \t\n") {
		return "", errors.New("it is not one word: give several by giving the flag again")
	}
	return s, nil
}

// Pid reads whose processes a task sees.
func Pid(s string) (string, error) {
	switch s {
	case api.PidHost:
		return s, nil
	case "", "private":
		return "", nil
	}
	return "", errors.New("it is not one of the choices: give host, or private for the task's own")
}

// Swap reads an amount of swap; -1 is without limit.
func Swap(s string) (int64, error) {
	if s == "-1" {
		return -1, nil
	}
	return Bytes(s)
}

// OOMScore reads a number of -1000 to 1000.
func OOMScore(s string) (int64, error) {
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil || n < -1000 || n > 1000 {
		return 0, errors.New("it must lie between -1000, which spares a task, and 1000, which gives it up first")
	}
	return n, nil
}

// Pids reads a number of processes; 0 is the fleet's own bound.
func Pids(s string) (int64, error) {
	n, err := Count(s)
	return int64(n), err
}
