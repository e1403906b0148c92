package host

import (
	"errors"
	"net"
	"os"
	"path/filepath"
	"reflect"
	"testing"

	"golang.org/x/sys/unix"
)

// fakeRoot is a board's /proc, /sys and /boot.
func fakeRoot(t *testing.T, files map[string]string) string {
	t.Helper()
	root := t.TempDir()
	for path, text := range files {
		write(t, filepath.Join(root, path), text)
	}
	return root
}

func TestFactsOfARaspberryPi(t *testing.T) {
	root := fakeRoot(t, map[string]string{
		"proc/device-tree/model":                              "Raspberry Pi 4 Model B Rev 1.4\x00",
		"etc/os-release":                                      "PRETTY_NAME=\"Raspbian 13\"\nVERSION_ID=\"13\"\nID=\"raspbian\"\nID_LIKE=debian\n",
		"proc/cmdline":                                        "console=tty1 cgroup_disable=memory root=PARTUUID=1\n",
		"boot/firmware/cmdline.txt":                           "console=tty1 root=PARTUUID=1\n",
		"sys/fs/cgroup/cgroup.controllers":                    "cpuset cpu io pids\n",
		"sys/devices/platform/soc/soc:firmware/get_throttled": "50005\n",
		"sys/class/hwmon/hwmon0/name":                         "cpu_thermal\n",
		"sys/class/hwmon/hwmon1/name":                         "rpi_volt\n",
		"sys/class/hwmon/hwmon1/in0_lcrit_alarm":              "1\n",
		"sys/class/net/wwan0/device/x":                        "",
		"proc/swaps":                                          "Filename\tType\tSize\tUsed\tPriority\n/dev/zram0 partition 102400 0 100\n/var/swap file 102396 0 -2\n",
		"var/swap":                                            "x",
	})
	up := net.FlagUp | net.FlagRunning
	f := Survey{Root: root, StateDir: root, Interfaces: func() ([]net.Interface, error) {
		return []net.Interface{
			{Name: "lo", MTU: 65536, Flags: up | net.FlagLoopback}, {Name: "eth0", MTU: 1500, Flags: up}, {Name: "wlan0", MTU: 1500, Flags: net.FlagUp},
			{Name: "wwan0", MTU: 1420, Flags: up}, {Name: "edge0", MTU: 1280, Flags: up},
		}, nil
	}}.Facts()
	if f.Model != "Raspberry Pi 4 Model B Rev 1.4" || f.System != "raspbian" || f.Memory < 64<<20 {
		t.Errorf("%q with %q and %d bytes", f.Model, f.System, f.Memory)
	}
	wantCgroup := CgroupFacts{
		Version: 2, Controllers: []string{"cpuset", "cpu", "io", "pids"},
		CommandLine: "console=tty1 cgroup_disable=memory root=PARTUUID=1", CommandLineFile: "/boot/firmware/cmdline.txt",
	}
	if !reflect.DeepEqual(f.Cgroup, wantCgroup) {
		t.Errorf("control groups: %+v", f.Cgroup)
	}
	if f.Power != (PowerFacts{Throttled: 0x50005, UnderVoltage: Yes}) {
		t.Errorf("power: %+v", f.Power)
	}
	if want := []LinkFacts{{"eth0", 1500}, {"wwan0", 1420}}; !reflect.DeepEqual(f.Network.Links, want) {
		t.Errorf("links: %+v", f.Network.Links)
	}
	if f.Clock.Battery != No || f.Clock.Now.IsZero() || f.Clock.Synchronised == Unknown {
		t.Errorf("clock: %+v", f.Clock)
	}
	if len(f.Disk.Swap) != 2 || f.Disk.Swap[0] != (SwapArea{Path: "/dev/zram0", Size: 102400 << 10}) || f.Disk.Swap[1].Size != 102396<<10 {
		t.Errorf("swap: %+v", f.Disk.Swap)
	}
	if f.Disk.Total <= 0 || f.Disk.SyncMedian != 0 {
		t.Errorf("disk, which was not to be measured: %+v", f.Disk)
	}
	if f.Kernel != (KernelFacts{}) {
		t.Errorf("the kernel that runs the test was taken for the board's: %+v", f.Kernel)
	}
}

func TestFactsOfABoardWithNothing(t *testing.T) {
	f := Survey{Root: t.TempDir(), StateDir: "/nowhere", Interfaces: func() ([]net.Interface, error) { return nil, errors.New("no kernel to ask") }}.Facts()
	if f.Cgroup.Version != 0 || f.Power != (PowerFacts{Throttled: -1}) || f.Disk.Total != 0 || f.Network.Links != nil || f.Model != "" || f.System != "" {
		t.Errorf("%+v", f)
	}
	if f := (Survey{Root: fakeRoot(t, map[string]string{"sys/fs/cgroup/pids/cgroup.procs": ""})}).cgroup(); f.Version != 1 || !reflect.DeepEqual(f.Controllers, []string{"pids"}) {
		t.Errorf("cgroup version 1: %+v", f)
	}
}

// TestASwapFileIsOnItsDisk: the disk of a swap file is that of its file system,
// and of a partition the disk that it is part of.
func TestASwapFileIsOnItsDisk(t *testing.T) {
	root := fakeRoot(t, map[string]string{"sys/devices/mmc0/block/mmcblk0/mmcblk0p2/partition": "2\n", "proc/swaps": "/var/swap file 8 0 -2\n", "var/swap": ""})
	var st unix.Stat_t
	if err := unix.Stat(filepath.Join(root, "var/swap"), &st); err != nil {
		t.Fatal(err)
	}
	number := filepath.Join(root, "sys/dev/block", deviceNumber(st.Dev))
	if err := os.MkdirAll(filepath.Dir(number), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("../../devices/mmc0/block/mmcblk0/mmcblk0p2", number); err != nil {
		t.Fatal(err)
	}
	f := Survey{Root: root, StateDir: root}.disk()
	if f.Device != "mmcblk0" || len(f.Swap) != 1 || f.Swap[0].Device != "mmcblk0" {
		t.Errorf("%+v", f)
	}
}

// TestThisBoardIsLookedAt: the probes of the kernel, the disk and a socket, on
// the machine of the test, and that they leave nothing.
func TestThisBoardIsLookedAt(t *testing.T) {
	dir := t.TempDir()
	f := Survey{StateDir: dir, MeasureDisk: true}.Facts()
	if f.Kernel.Release == "" || f.Kernel.Overlayfs != Yes || f.Kernel.Nftables != Yes || f.Kernel.VXLAN != Yes || f.Kernel.TUN != Yes || f.Kernel.WireGuard == Unknown {
		t.Errorf("kernel: %+v; a machine that runs these tests has all but WireGuard", f.Kernel)
	}
	if f.Disk.SyncMedian <= 0 || f.Disk.SyncWorst < f.Disk.SyncMedian || f.Disk.FileSystem == "" {
		t.Errorf("disk: %+v", f.Disk)
	}
	if f.Network.ReceiveBuffer <= 0 || f.Runtime.Runc != Yes || f.Cgroup.Version == 0 {
		t.Errorf("%+v %+v %+v", f.Network, f.Runtime, f.Cgroup)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
	for _, name := range []string{"probe0", "probe1"} {
		if _, err := os.Stat("/sys/class/net/" + name); err == nil {
			t.Errorf("link %s was left behind", name)
		}
	}
}

func TestOurImageIsKnown(t *testing.T) {
	root, err := filepath.Abs("../../build/image/files/root")
	if err != nil {
		t.Fatal(err)
	}
	if got := (Survey{Root: root}).system(); got != OurImage {
		t.Errorf("the image says that it is %q", got)
	}
}
