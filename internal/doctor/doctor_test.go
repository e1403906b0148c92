package doctor

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/edgeswarm/edgeswarm/api"
	"github.com/edgeswarm/edgeswarm/internal/host"
	"github.com/edgeswarm/edgeswarm/internal/script"
)

var built = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// boards are the beginnings of the transcripts: boards that are well.
func boards() map[string]host.Facts {
	pi := host.Facts{
		Model: "Raspberry Pi 4 Model B Rev 1.4", Memory: 1900 << 20,
		Cgroup: host.CgroupFacts{Version: 2, Controllers: []string{"cpu", "io", "memory", "pids"}, CommandLineFile: "/boot/firmware/cmdline.txt"},
		Kernel: host.KernelFacts{Release: "6.12.47+rpt-rpi-v8", Overlayfs: host.Yes, Nftables: host.Yes, WireGuard: host.Yes, VXLAN: host.Yes, TUN: host.Yes},
		Clock:  host.ClockFacts{Now: built.AddDate(0, 6, 0), Synchronised: host.Yes, Battery: host.No},
		Disk: host.DiskFacts{
			Path: "/var/lib/edgeswarm", Device: "mmcblk0", FileSystem: "ext4", Free: 20 << 30, Total: 29 << 30, FreeFiles: 1e6,
			SyncMedian: 4210 * time.Microsecond, SyncWorst: 31 * time.Millisecond,
		},
		Power:   host.PowerFacts{Throttled: 0, UnderVoltage: host.No},
		Network: host.NetworkFacts{ReceiveBuffer: host.WantedBuffer, Links: []host.LinkFacts{{Name: "eth0", MTU: 1500}}},
		Runtime: host.RuntimeFacts{Name: "containerd 1.7.24", Runc: host.Yes},
	}
	pc := pi
	pc.Model, pc.Cgroup.CommandLineFile = "NUC8i3BEH", ""
	pc.Clock.Battery, pc.Power, pc.Disk.Device = host.Yes, host.PowerFacts{Throttled: -1}, "nvme0n1"
	return map[string]host.Facts{"pi": pi, "pc": pc, "unknown": {Clock: host.ClockFacts{Now: built}, Power: host.PowerFacts{Throttled: -1}, Disk: host.DiskFacts{FreeFiles: -1}}}
}

// TestTranscripts: `board NAME` begins with a board that is well; `with JSON`
// lays other facts over it; `examine` prints what is amiss, `examine all`
// everything.
func TestTranscripts(t *testing.T) {
	script.Run(t, "testdata/*.txt", func(t *testing.T) func(string) string {
		var facts host.Facts
		return func(line string) string {
			command, rest, _ := strings.Cut(line, " ")
			switch command {
			case "board":
				var known bool
				if facts, known = boards()[rest]; !known {
					t.Fatalf("no board is called %q", rest)
				}
			case "with":
				dec := json.NewDecoder(strings.NewReader(rest))
				dec.DisallowUnknownFields()
				if err := dec.Decode(&facts); err != nil {
					t.Fatalf("%s: %v", line, err)
				}
			case "examine":
				return print(Examine(facts, built), rest == "all")
			default:
				t.Fatalf("unknown command %q", line)
			}
			return ""
		}
	})
}

func print(findings []api.Finding, all bool) string {
	var out strings.Builder
	for _, f := range findings {
		if f.Level == api.FindingOK && !all {
			continue
		}
		fmt.Fprintf(&out, "%s %s: %s\n", f.Level, f.Check, f.What)
		if f.Why != "" {
			fmt.Fprintf(&out, "  why: %s\n  do: %s\n", f.Why, f.Mend)
		}
	}
	if out.Len() == 0 {
		return "all is well\n"
	}
	return out.String()
}

// TestWhatIsAmissIsExplained: no finding other than ok goes without a reason
// and a remedy, and none that is ok has one, whatever the facts.
func TestWhatIsAmissIsExplained(t *testing.T) {
	answers := []host.Answer{host.Unknown, host.Yes, host.No}
	for i := range 3 * 3 * 3 * 3 * 3 {
		pick := func(n int) host.Answer { return answers[i/n%3] }
		f := boards()["pi"]
		f.Kernel.Overlayfs, f.Kernel.Nftables, f.Kernel.WireGuard, f.Kernel.VXLAN, f.Kernel.TUN = pick(1), pick(3), pick(9), pick(27), pick(81)
		f.Memory = int64(i%2) << 30
		f.Power.UnderVoltage, f.Clock.Synchronised, f.Clock.Battery, f.Runtime.Runc = pick(1), pick(3), pick(9), pick(27)
		f.Power.Throttled = int64(i)
		for _, g := range Examine(f, built) {
			if (g.Level == api.FindingOK) != (g.Why == "" && g.Mend == "") || g.What == "" || g.Check == "" {
				t.Fatalf("%+v of %+v", g, f)
			}
		}
	}
}
