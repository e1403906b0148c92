package host

import (
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"

	"github.com/google/nftables"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// probeKernel asks the kernel for what tasks and networks need.
func probeKernel() KernelFacts {
	f := KernelFacts{Release: release(), Overlayfs: probeOverlayfs(), TUN: TUN()}
	apart(func() {
		f.WireGuard = probeWireGuard()
		attrs := netlink.NewLinkAttrs()
		attrs.Name = "probe1"
		f.VXLAN = offered(netlink.LinkAdd(&netlink.Vxlan{LinkAttrs: attrs, VxlanId: 1, Port: 4789}))
		f.Nftables = probeNftables()
	})
	return f
}

// apart runs a probe in a network namespace of its own that goes at once; not at
// all if there can't be one.
func apart(probe func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		// The thread dies with this goroutine, because it is never unlocked.
		runtime.LockOSThread()
		if unix.Unshare(unix.CLONE_NEWNET) == nil {
			probe()
		}
	}()
	<-done
}

func probeWireGuard() Answer {
	attrs := netlink.NewLinkAttrs()
	attrs.Name = "probe0"
	return offered(netlink.LinkAdd(&netlink.Wireguard{LinkAttrs: attrs}))
}

// WireGuardMemory is what a board needs for WireGuard outside of the kernel, which
// grows under load: what is called 1 GB is sold with less.
const WireGuardMemory = 900 << 20

// KernelWireGuard reports whether the kernel has WireGuard. It loads the module.
func KernelWireGuard() (has Answer) {
	apart(func() { has = probeWireGuard() })
	return has
}

// TUN reports whether a program can make links. It loads the module.
func TUN() Answer {
	tun, err := os.OpenFile("/dev/net/tun", os.O_RDWR, 0)
	if err != nil {
		return No
	}
	tun.Close()
	return Yes
}

// IsProgram reports whether there is a program at a path.
func IsProgram(path string) bool {
	found, err := exec.LookPath(path)
	return err == nil && found == path
}

// offered reads a kernel's answer: what it has not, it calls not supported.
func offered(err error) Answer {
	switch {
	case err == nil:
		return Yes
	case errors.Is(err, unix.EOPNOTSUPP), errors.Is(err, unix.EPROTONOSUPPORT), errors.Is(err, unix.EAFNOSUPPORT), errors.Is(err, unix.ENODEV), errors.Is(err, unix.ENOENT):
		return No
	default:
		return Unknown
	}
}

// probeNftables makes a table, in the namespace of this thread.
func probeNftables() Answer {
	c, err := nftables.New()
	if err != nil {
		return Unknown
	}
	c.AddTable(&nftables.Table{Name: "probe", Family: nftables.TableFamilyIPv4})
	err = c.Flush()
	if errors.Is(err, unix.EINVAL) { // netfilter's netlink is there, and tables are not
		return No
	}
	return offered(err)
}

// probeOverlayfs asks for a mount that can't be: without layers it is invalid
// to a kernel that has overlayfs, and unknown to another.
func probeOverlayfs() Answer {
	switch err := unix.Mount("overlay", os.TempDir(), "overlay", unix.MS_RDONLY, "lowerdir="); {
	case errors.Is(err, unix.ENODEV):
		return No
	case errors.Is(err, unix.EPERM):
		return Unknown
	case err == nil:
		_ = unix.Unmount(os.TempDir(), unix.MNT_DETACH) // it should not have been
		fallthrough
	default:
		return Yes
	}
}

func release() string {
	var u unix.Utsname
	if unix.Uname(&u) != nil {
		return ""
	}
	return unix.ByteSliceToString(u.Release[:])
}

// probeBuffer is how large a receive buffer a UDP socket gets, asked for as
// QUIC does. The kernel counts its own needs in, and answers with the double.
func probeBuffer() int {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return 0
	}
	defer unix.Close(fd)
	if unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, WantedBuffer) != nil {
		_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, WantedBuffer)
	}
	n, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF)
	if err != nil {
		return 0
	}
	return n / 2
}

// power reads what a Raspberry Pi says of its supply, on its maker's kernel and
// on others.
func (s Survey) power() PowerFacts {
	f := PowerFacts{Throttled: -1}
	if text := s.read("sys/devices/platform/soc/soc:firmware/get_throttled"); text != "" {
		if bits, err := strconv.ParseInt(strings.TrimPrefix(text, "0x"), 16, 64); err == nil {
			f.Throttled = bits
		}
	}
	names, _ := filepath.Glob(s.path("sys/class/hwmon/hwmon*/name"))
	for _, name := range names {
		if raw, err := os.ReadFile(name); err != nil || strings.TrimSpace(string(raw)) != "rpi_volt" {
			continue
		}
		alarms, _ := filepath.Glob(filepath.Join(filepath.Dir(name), "in*_lcrit_alarm"))
		for _, alarm := range alarms {
			raw, err := os.ReadFile(alarm)
			if err == nil && f.UnderVoltage != Yes {
				f.UnderVoltage = No
				if strings.TrimSpace(string(raw)) == "1" {
					f.UnderVoltage = Yes
				}
			}
		}
	}
	return f
}

// links are the interfaces that lead out of the board. They are asked for by
// netlink, as /sys may be that of another network namespace.
func (s Survey) links() (links []LinkFacts) {
	ask := s.Interfaces
	if ask == nil {
		ask = net.Interfaces
	}
	all, err := ask()
	if err != nil {
		return nil
	}
	for _, i := range all {
		if i.Flags&net.FlagRunning != 0 && i.Flags&net.FlagLoopback == 0 && s.leadsOut(i.Name) {
			links = append(links, LinkFacts{Name: i.Name, MTU: i.MTU})
		}
	}
	return links
}

// leadsOut reports whether an interface is a real device's: bridges, veths and
// tunnels have none. The lab's boards have nothing else than a veth, eth0.
func (s Survey) leadsOut(name string) bool {
	_, err := os.Stat(s.path("sys/class/net", name, "device"))
	return err == nil || name == "eth0"
}

func installed(names ...string) Answer {
	for _, name := range names {
		if _, err := exec.LookPath(name); err == nil {
			return Yes
		}
	}
	return No
}
