package e2e

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/edgeswarm/edgeswarm/internal/steer"
)

// plugged is a device that appears while the fleet runs. All boards of the lab
// share one /dev; nothing else in these tests asks for a serial device. It is
// the one behind /dev/net/tun, which opening does nothing to.
const plugged = "/dev/ttyUSB977"

// TestDevices: boards report what is plugged in, tasks go where it is, and
// have what they ask for of their board, and no more.
func TestDevices(t *testing.T) {
	t.Parallel()
	f := formed(t, 2)
	f.load(1, "1")
	f.part("plugging in and out", (*fleet).plugs)
	f.part("options", (*fleet).confines)
	f.part("out of memory", (*fleet).namesOOM)
}

// waits tells whether a service's only wanted task waits, and says why.
func (f *fleet) waits(service, why string) error {
	tasks, err := f.tasks(1, service)
	if err != nil {
		return err
	}
	if len(tasks) == 0 || tasks[0].State() != "pending" || !strings.Contains(tasks[0].Error, why) {
		return fmt.Errorf("want it to wait for: %s; it is%s", why, steer.Table(tasks))
	}
	return nil
}

func (f *fleet) plugs() {
	_ = os.Remove(plugged) // of a run that was killed
	f.t.Cleanup(func() { _ = os.Remove(plugged) })
	f.create("modem", "--device", "class=serial:rw", "web:1")
	f.until("it waits for a device", soon, func() error { return f.waits("modem", "no suitable node: 2 have no serial device") })
	f.do(unix.Mknod(plugged, unix.S_IFCHR|0o600, int(unix.Mkdev(10, 200))))
	runs := f.runs(1, "modem", 1)
	if out := f.must(1, "task", "exec", runs[0].ID, "sh", "-c", "(: <> "+plugged+") && echo open"); strings.TrimSpace(out) != "open" {
		f.t.Errorf("the task says %q of its device", out)
	}
	f.until("a board tells of it", soon, func() error {
		if out := f.must(1, "node", "inspect", "--pretty", "self"); !strings.Contains(out, "Serial: "+plugged) {
			return fmt.Errorf("it says %s", out)
		}
		return nil
	})
	f.do(os.Remove(plugged))
	f.until("its task leaves when it is unplugged", patient, func() error { return f.waits("modem", "have no serial device") })
	f.remove("modem")
}

func (f *fleet) confines() {
	f.create("odd", "--device", "/dev/net/tun", "--init", "--cap-drop", "ALL", "--cap-add", "kill", "--ulimit", "nofile=100:200", "--sysctl", "net.core.somaxconn=999",
		"--shm-size", "8m", "--limit-pids", "60", "--oom-score-adj", "200", "--host", "printer:192.0.2.7", "--dns", "192.0.2.53", "--group-add", "4242", "web:1")
	task := f.runs(1, "odd", 1)[0].ID
	for script, want := range map[string]string{
		"[ -c /dev/net/tun ] && echo here":         "here",
		"tr '\\0' ' ' </proc/1/cmdline":            "/dev/init init-process -- /webd",
		"grep CapEff /proc/self/status | cut -f 2": "0000000000000020",
		"ulimit -n":                        "100",
		"cat /proc/sys/net/core/somaxconn": "999",
		"grep ' /dev/shm ' /proc/mounts | grep -o 'size=.*k'": "size=8192k",
		"cat /proc/self/oom_score_adj":                        "200",
		"grep printer /etc/hosts":                             "192.0.2.7 printer",
		"grep nameserver /etc/resolv.conf":                    "nameserver 192.0.2.53",
		"id -G":                                               "0 4242",
	} {
		if out := f.must(1, "task", "exec", task, "sh", "-c", script); strings.TrimSpace(out) != want {
			f.t.Errorf("%s: %q, want %q", script, out, want)
		}
	}
	f.remove("odd")
}

func (f *fleet) namesOOM() {
	f.create("hungry", "--restart-condition", "none", "--limit-memory", "16m", "--entrypoint", "/bin/sh", "web:1", "-c", "exec dd if=/dev/zero of=/dev/null bs=256M count=1")
	f.until("its end is named", patient, func() error {
		tasks, err := f.tasks(1, "hungry")
		if err == nil && (len(tasks) == 0 || tasks[0].Error != "killed: out of memory, at its limit of 16 MiB") {
			err = fmt.Errorf("it says%s", steer.Table(tasks))
		}
		return err
	})
	f.remove("hungry")
}
