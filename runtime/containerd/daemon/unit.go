package daemon

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
)

// unit starts the daemon as a transient unit of systemd: with none of what
// edged's own unit is denied, in a control group of its own, and ended by
// systemd when the board is shut down. Its words go to the journal.
type unit struct{ name string }

// systemdRuns reports whether the machine was booted with it, as sd_booted(3) does.
func systemdRuns() bool {
	_, err := os.Stat("/run/systemd/system")
	return err == nil
}

// find asks systemd, which knows the process.
func (u unit) find(ctx context.Context) (int, error) {
	out, err := tell(ctx, "systemctl", "show", "--property=MainPID", "--value", u.name)
	if err != nil {
		return 0, err
	}
	pid, err := strconv.Atoi(strings.TrimSpace(out))
	if err != nil {
		return 0, fmt.Errorf("ask systemd for %s: %w", u.name, err)
	}
	return pid, nil
}

// start starts it anew, or for the first time since the boot: systemd forgets a
// transient unit that has ended, but not while tasks' shims are left of it.
func (u unit) start(ctx context.Context, program string, args []string) (int, error) {
	known, err := tell(ctx, "systemctl", "show", "--property=LoadState", "--value", u.name)
	if err != nil {
		return 0, err
	}
	if strings.TrimSpace(known) == "loaded" {
		_, err = tell(ctx, "systemctl", "start", u.name)
	} else {
		_, err = tell(ctx, "systemd-run", append(u.properties(), append([]string{"--", program}, args...)...)...)
	}
	if err != nil {
		return 0, err
	}
	pid, err := u.find(ctx)
	if err == nil && pid == 0 {
		err = fmt.Errorf("it ended at once: see `journalctl -u %s`", u.name)
	}
	return pid, err
}

// properties are those of the unit that Debian's containerd package has.
func (u unit) properties() []string {
	return []string{
		"--quiet", "--collect", "--unit=" + u.name, "--service-type=exec", "--description=containerd, kept by edged",
		"--property=Delegate=yes", "--property=KillMode=process", "--property=OOMScoreAdjust=-999",
		"--property=LimitNOFILE=infinity", "--property=LimitNPROC=infinity", "--property=LimitCORE=0", "--property=TasksMax=infinity",
		"--property=StartLimitIntervalSec=0", // the pauses between starts are edged's
		"--setenv=" + environment,
	}
}

func (u unit) last() string { return "see `journalctl -u " + u.name + "`" }

// tell runs one of systemd's programs.
func tell(ctx context.Context, program string, args ...string) (string, error) {
	var out, said bytes.Buffer
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Stdout, cmd.Stderr = &out, &said
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("%s: %w: %s", program, err, bytes.TrimSpace(said.Bytes()))
	}
	return out.String(), nil
}
