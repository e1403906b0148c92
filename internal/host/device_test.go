package host

import (
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/edgeswarm/edgeswarm/api"
)

// node makes a device file; that of /dev/null does nobody harm.
func node(t *testing.T, path string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mknod(path, unix.S_IFCHR|0o600, int(unix.Mkdev(1, 3))); err != nil {
		t.Fatalf("make device %s (as root?): %v", path, err)
	}
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestDevicesAreFoundByClass(t *testing.T) {
	dev, sys := t.TempDir(), t.TempDir()
	for _, name := range []string{
		"null", "tty0", "tty", "ptmx", "pts/3", "loop0", "vcs1", // ordinary
		"i2c-10", "i2c-1", "video0", "video10", "bus/usb/001/002", "ttyUSB0", "watchdog0", "fuse", "net/tun",
	} {
		node(t, filepath.Join(dev, name))
	}
	write(t, filepath.Join(dev, "notes"), "no device")
	write(t, filepath.Join(sys, "class/video4linux/video10/name"), "bcm2835-codec-decode\n")
	write(t, filepath.Join(sys, "class/video4linux/video0/name"), "UVC Camera (046d:0825)\n")
	for name, target := range map[string]string{"serial/by-id/usb-FTDI": "../../ttyUSB0", "dangling": "gone", "stdin": "/dev/null"} {
		link := filepath.Join(dev, name)
		if err := os.MkdirAll(filepath.Dir(link), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(target, link); err != nil {
			t.Fatal(err)
		}
	}
	got, err := devices(dev, sys)
	if err != nil {
		t.Fatal(err)
	}
	want := []api.BoardDevices{
		{Class: "camera", Paths: []string{"/dev/video0"}},
		{Class: "i2c", Paths: []string{"/dev/i2c-1", "/dev/i2c-10"}},
		{Class: "serial", Paths: []string{"/dev/ttyUSB0"}},
		{Class: "usb", Paths: []string{"/dev/bus/usb/001/002"}},
		{Class: "watchdog", Paths: []string{"/dev/watchdog0"}},
		{Paths: []string{"/dev/fuse", "/dev/net/tun", "/dev/serial/by-id/usb-FTDI", "/dev/video10"}},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("found %+v\nwant %+v", got, want)
	}
	if _, err := devices(filepath.Join(dev, "missing"), sys); err == nil {
		t.Error("no error without /dev")
	}
}

func TestAReportIsBounded(t *testing.T) {
	byClass := map[string][]string{"usb": {"/dev/bus/usb/001/001"}}
	for i := range 2 * maxDevices {
		byClass[""] = append(byClass[""], fmt.Sprintf("/dev/x%04d", i))
	}
	all := bounded(byClass)
	if len(all) != 2 || all[0].Class != "usb" || len(all[1].Paths) != maxDevices-1 {
		t.Errorf("%d classes, the last with %d paths", len(all), len(all[len(all)-1].Paths))
	}
}

func TestLongNamesAreBoundedToo(t *testing.T) {
	byClass := map[string][]string{}
	for i := range maxDevices {
		byClass[""] = append(byClass[""], fmt.Sprintf("/dev/serial/by-id/%0200d", i))
	}
	all := bounded(byClass)
	if raw, err := api.Encode(all); err != nil || len(raw) > maxPaths*5/4 {
		t.Errorf("%d bytes, %v", len(raw), err)
	}
}

func TestThisBoardHasDevices(t *testing.T) {
	all, err := Devices()
	if err != nil || len(all) == 0 {
		t.Errorf("found %v, %v", all, err)
	}
}

func TestModels(t *testing.T) {
	for name, c := range map[string]struct {
		files map[string]string
		want  string
	}{
		"a Raspberry Pi": {map[string]string{"proc/device-tree/model": "Raspberry Pi 4 Model B Rev 1.4\x00"}, "Raspberry Pi 4 Model B Rev 1.4"},
		"a PC":           {map[string]string{"sys/class/dmi/id/product_name": "NUC8i3BEH \n"}, "NUC8i3BEH"},
		"no name":        {map[string]string{"sys/class/dmi/id/product_name": "To Be Filled By O.E.M.\n"}, ""},
		"nothing":        {nil, ""},
	} {
		root := t.TempDir()
		for path, text := range c.files {
			write(t, filepath.Join(root, path), text)
		}
		if got, err := model(root); got != c.want || err != nil {
			t.Errorf("%s: %q, %v; want %q", name, got, err, c.want)
		}
	}
}
