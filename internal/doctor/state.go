package doctor

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/edgeswarm/edgeswarm/api"
	"github.com/edgeswarm/edgeswarm/internal/host"
)

func clock(c host.ClockFacts, system string, build time.Time) api.Finding {
	mend := "install a time service: `apt-get install systemd-timesyncd`, and see `timedatectl`; with no internet, name one of your own as NTP= in /etc/systemd/timesyncd.conf"
	if system == host.OurImage {
		mend = "let the board reach the internet, or name a server of your own as time-server in edge.yaml, on the card's boot partition"
	}
	switch {
	case c.Now.Before(build):
		return bad(CheckClock, fmt.Sprintf("it says %s, before this program was built", c.Now.UTC().Format(time.RFC3339)),
			"the fleet goes on with a time of its own, but registries, logs and tasks see this one", mend)
	case c.Synchronised == host.No && c.Battery == host.No:
		return warning(CheckClock, "it is not synchronised, and the board has no clock that goes on without power", "times in logs are wrong after a power cut, and registries may be refused", mend)
	case c.Synchronised == host.No:
		return warning(CheckClock, "it is not synchronised", "it drifts by seconds a day: times in logs of different boards can't be compared", mend)
	default:
		return ok(CheckClock, "it is right, as far as the board knows")
	}
}

// Least free space: an image and a few snapshots of the log; and what to warn of.
const (
	scarceDisk = 256 << 20
	littleDisk = 1 << 30
	fewFiles   = 10_000
	slowSync   = 50 * time.Millisecond
	stallSync  = time.Second
)

func disk(d host.DiskFacts, system string) (all []api.Finding) {
	if d.Total > 0 {
		free := fmt.Sprintf("%d MiB of %d MiB are free at %s", d.Free>>20, d.Total>>20, d.Path)
		mend := "remove what is not needed (`journalctl --vacuum-size=50M`, `apt-get clean`), or use a larger card or disk"
		if system == host.OurImage {
			mend = "remove services and volumes that are not needed (`edgectl service ls`, `edgectl volume ls`), or copy the card to a larger one: its data takes the room at the next boot"
		}
		switch {
		case d.Free < scarceDisk:
			all = append(all, bad("disk space", free, "the next image does not fit, and a manager whose log can't grow can't lead", mend))
		case d.Free < littleDisk:
			all = append(all, warning("disk space", free, "a few images more and it is full", mend))
		case d.FreeFiles >= 0 && d.FreeFiles < fewFiles:
			all = append(all, warning("disk space", fmt.Sprintf("%s, but only %d more files can be made", free, d.FreeFiles), "an image has thousands", mend))
		default:
			all = append(all, ok("disk space", "%s", free))
		}
	}
	if d.SyncMedian > 0 {
		text := fmt.Sprintf("4 KiB last on %s after %v, at worst %v", orDisk(d.Device), round(d.SyncMedian), round(d.SyncWorst))
		const mend = "use a card of class A1 or A2, or an SSD on USB; keep the board a worker with `edgectl node demote`"
		switch {
		case d.SyncWorst >= stallSync:
			all = append(all, bad("disk speed", text, "as a manager it holds up every change of the fleet, and loses its lead when it stalls", mend))
		case d.SyncMedian >= slowSync:
			all = append(all, warning("disk speed", text, "as a manager it makes every change of the fleet slow", mend))
		default:
			all = append(all, ok("disk speed", "%s", text))
		}
	}
	return all
}

func orDisk(device string) string {
	if device == "" {
		return "the disk"
	}
	return device
}

func round(d time.Duration) time.Duration {
	if d < 10*time.Millisecond {
		return d.Round(10 * time.Microsecond)
	}
	return d.Round(time.Millisecond)
}

func swap(d host.DiskFacts) []api.Finding {
	for _, area := range d.Swap {
		if !strings.HasPrefix(area.Device, "mmcblk") {
			continue
		}
		mend := fmt.Sprintf("turn it off: `swapoff %s`, and take it out of /etc/fstab", area.Path)
		if area.Path == "/var/swap" {
			mend = "turn it off: `systemctl disable --now dphys-swapfile`; `apt-get install zram-tools` gives swap in compressed memory"
		}
		return []api.Finding{warning("swap", fmt.Sprintf("%s, %d MiB, is on card %s", area.Path, area.Size>>20, area.Device),
			"it wears the card out, and a board that swaps to a card is as good as down", mend)}
	}
	return []api.Finding{ok("swap", "none on a card")}
}

// The bits of get_throttled, as Raspberry Pi's documentation of vcgencmd has
// them; those of what has been since the boot are 16 higher.
var throttledBits = []struct {
	bit        int
	now, since string
}{
	{0, "the supply's voltage is too low", "the supply's voltage was too low since the board started"},
	{3, "it is hotter than the soft limit", "it was hotter than the soft limit"},
	{2, "it is throttled", "it was throttled"},
	{1, "its frequency is capped", "its frequency was capped"},
}

func power(p host.PowerFacts) (all []api.Finding) {
	const check = "power and heat"
	const why = "the board is slow at best, and at worst loses writes or stops"
	const mend = "use the supply that its maker names (5.1 V and 3 A for a Raspberry Pi 4) and a short cable; give it a heat sink or a fan"
	var now, since []string
	if p.UnderVoltage == host.Yes {
		now = append(now, throttledBits[0].now)
	}
	if p.Throttled >= 0 {
		for _, b := range throttledBits {
			switch {
			case p.Throttled>>b.bit&1 == 1 && !slices.Contains(now, b.now):
				now = append(now, b.now)
			case p.Throttled>>(b.bit+16)&1 == 1 && !slices.Contains(now, b.now):
				since = append(since, b.since)
			}
		}
	}
	switch {
	case len(now) > 0:
		return []api.Finding{bad(check, strings.Join(append(now, since...), "; "), why, mend)}
	case len(since) > 0:
		return []api.Finding{warning(check, strings.Join(since, "; "), why, mend)}
	case p.Throttled >= 0 || p.UnderVoltage == host.No:
		return []api.Finding{ok(check, "enough power, and cool enough")}
	default:
		return nil // a board that can't tell
	}
}

// leastMTU is what QUIC needs (1,200 bytes, and headers of IPv6 and UDP);
// usualMTU is Ethernet's.
const (
	leastMTU = 1280
	usualMTU = 1500
)

func network(n host.NetworkFacts) (all []api.Finding) {
	if n.ReceiveBuffer > 0 {
		if n.ReceiveBuffer < host.WantedBuffer {
			all = append(all, warning("UDP buffers", fmt.Sprintf("a socket gets %d KiB of the %d KiB that it asks for", n.ReceiveBuffer>>10, host.WantedBuffer>>10),
				"images are copied between boards more slowly, for packets get lost",
				fmt.Sprintf("let them be larger: `echo net.core.rmem_max=%d > /etc/sysctl.d/60-edgeswarm.conf && sysctl --system`", host.WantedBuffer)))
		} else {
			all = append(all, ok("UDP buffers", "a socket gets the %d KiB that it asks for", host.WantedBuffer>>10))
		}
	}
	for _, l := range n.Links {
		text := fmt.Sprintf("%s carries packets of %d bytes", l.Name, l.MTU)
		mend := fmt.Sprintf("`ip link set %s mtu %d`, if all that is between the boards carries them", l.Name, usualMTU)
		switch {
		case l.MTU < leastMTU:
			all = append(all, bad("MTU", text, fmt.Sprintf("boards can't speak to each other through less than %d", leastMTU), mend))
		case l.MTU < usualMTU:
			all = append(all, warning("MTU", text, "networks between boards carry still less, and some peers don't find out how much", mend))
		default:
			all = append(all, ok("MTU", "%s", text))
		}
	}
	return all
}
