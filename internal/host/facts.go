package host

import (
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Facts are what decides whether a board can do its part, and how well. What
// could not be found out is Unknown, zero or empty: never a guess.
type Facts struct {
	Model  string // as Model
	System string // the ID of /etc/os-release: "debian", "raspbian"; OurImage is our own
	Memory int64  // bytes

	Cgroup  CgroupFacts
	Kernel  KernelFacts
	Clock   ClockFacts
	Disk    DiskFacts
	Power   PowerFacts
	Network NetworkFacts
	Runtime RuntimeFacts
}

// OurImage is the System of boards that run the image that users flash: it is
// read-only, keeps its log in memory, and has no package manager.
const OurImage = "edgeswarm"

// Answer is yes, no, or not known.
type Answer string

// Answers.
const (
	Unknown Answer = ""
	Yes     Answer = "yes"
	No      Answer = "no"
)

// CgroupFacts are of the control groups.
type CgroupFacts struct {
	Version int // 1 or 2; 0 if none is mounted
	// Controllers that tasks can be limited by: "memory", "pids", "cpu".
	Controllers []string
	// CommandLine is the kernel's; CommandLineFile is where it is written on this
	// board, "" if that is not known.
	CommandLine, CommandLineFile string
}

// KernelFacts are what the running kernel has, or can load.
type KernelFacts struct {
	Release                                    string
	Overlayfs, Nftables, WireGuard, VXLAN, TUN Answer
}

// ClockFacts are of the wall clock.
type ClockFacts struct {
	Now          time.Time
	Synchronised Answer // by a time service
	Battery      Answer // a clock that goes on without power
}

// DiskFacts are of the disk that holds the state directory.
type DiskFacts struct {
	Path        string // the state directory
	Device      string // "mmcblk0", "sda", "nvme0n1"
	FileSystem  string // "ext4"
	Free, Total int64  // bytes
	// FreeFiles is how many more files it takes; -1 if there is no limit.
	FreeFiles int64
	// SyncMedian and SyncWorst are how long it takes until 4 KiB last; 0 if that
	// was not measured.
	SyncMedian, SyncWorst time.Duration
	Swap                  []SwapArea
}

// SwapArea is memory's overflow.
type SwapArea struct {
	Path   string // "/var/swap", "/dev/zram0"
	Device string // the disk it is on; "" if it is in memory
	Size   int64  // bytes
}

// PowerFacts are of supply and cooling.
type PowerFacts struct {
	// Throttled is the Raspberry Pi's get_throttled: bits 0 to 3 are now, 16 to
	// 19 since the boot. -1 if the board has none.
	Throttled    int64
	UnderVoltage Answer // by the hwmon driver
}

// NetworkFacts are of the board's links and sockets.
type NetworkFacts struct {
	// ReceiveBuffer is what a UDP socket of this process is given, in bytes, when
	// it asks for WantedBuffer.
	ReceiveBuffer int
	Links         []LinkFacts // those that are up, but for the loopback and what tasks have
}

// LinkFacts are of one interface.
type LinkFacts struct {
	Name string
	MTU  int
}

// RuntimeFacts are of what runs tasks. Who knows them fills them in.
type RuntimeFacts struct {
	Name    string // "containerd 1.7.24"
	Error   string // why it does not answer
	Managed bool   // edged keeps it
	Runc    Answer // runc or crun is installed
}

// WantedBuffer is what QUIC wants of a UDP socket.
const WantedBuffer = 7 << 20

// Survey says what to look at.
type Survey struct {
	Root     string // "" is the board's own; a test has its own /proc, /sys and /boot
	StateDir string
	// Interfaces lists the board's; nil asks the kernel.
	Interfaces func() ([]net.Interface, error)
	// MeasureDisk writes 36 KiB to the disk, and takes 2 s at most.
	MeasureDisk bool
}

// Facts looks at the board. It changes nothing, but that the kernel may load
// modules it is asked for, and that MeasureDisk writes.
func (s Survey) Facts() Facts {
	f := Facts{Cgroup: s.cgroup(), Clock: s.clock(), Power: s.power(), Disk: s.disk()}
	f.Model, _ = model(s.path())
	f.System = s.system()
	f.Memory, _ = Memory()
	f.Network.Links = s.links()
	if s.Root == "" {
		f.Kernel = probeKernel()
		f.Network.ReceiveBuffer = probeBuffer()
	}
	f.Runtime.Runc = installed("runc", "crun")
	return f
}

// path is a file of the board.
func (s Survey) path(elem ...string) string {
	return filepath.Join(append([]string{"/", s.Root}, elem...)...)
}

// read is a small file's text without spaces around it, "" if it can't be read.
func (s Survey) read(elem ...string) string {
	raw, err := os.ReadFile(s.path(elem...))
	if err != nil {
		return ""
	}
	return strings.TrimSpace(strings.TrimRight(string(raw), "\x00"))
}

func (s Survey) system() string {
	for line := range strings.Lines(s.read("etc/os-release")) {
		if id, ok := strings.CutPrefix(strings.TrimSpace(line), "ID="); ok {
			return strings.Trim(id, `"'`)
		}
	}
	return ""
}

func (s Survey) cgroup() CgroupFacts {
	f := CgroupFacts{CommandLine: s.read("proc/cmdline")}
	for _, file := range []string{"boot/firmware/cmdline.txt", "boot/cmdline.txt"} {
		if _, err := os.Stat(s.path(file)); err == nil {
			f.CommandLineFile = "/" + file
			break
		}
	}
	if _, err := os.Stat(s.path("sys/fs/cgroup/cgroup.controllers")); err == nil {
		f.Version = 2
		f.Controllers = strings.Fields(s.read("sys/fs/cgroup/cgroup.controllers"))
		return f
	}
	for _, name := range []string{"cpu", "memory", "pids"} {
		if _, err := os.Stat(s.path("sys/fs/cgroup", name, "cgroup.procs")); err == nil {
			f.Version = 1
			f.Controllers = append(f.Controllers, name)
		}
	}
	return f
}

func (s Survey) clock() ClockFacts {
	f := ClockFacts{Now: time.Now(), Battery: No}
	if rtc, _ := filepath.Glob(s.path("sys/class/rtc/rtc*")); len(rtc) > 0 {
		f.Battery = Yes
	}
	if state, err := unix.Adjtimex(&unix.Timex{}); err == nil {
		f.Synchronised = Yes
		if state == unix.TIME_ERROR {
			f.Synchronised = No
		}
	}
	return f
}
