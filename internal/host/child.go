package host

import (
	"os/exec"
	"runtime"
	"syscall"
)

// StartBound starts a program that the kernel kills when this process ends,
// however it ends. What the program's Wait says comes over the channel, once;
// the caller does not call Wait.
func StartBound(cmd *exec.Cmd) (<-chan error, error) {
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.Pdeathsig = syscall.SIGKILL
	started, ended := make(chan error), make(chan error, 1)
	go func() {
		// The kernel means the thread that started it, not the process: keep
		// that thread for as long as the program lives.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		started <- err
		if err == nil {
			ended <- cmd.Wait()
		}
	}()
	return ended, <-started
}
