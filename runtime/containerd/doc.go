// Package containerd is the runtime.Driver that runs tasks in a containerd
// daemon, version 1.6 to 2.x, through its socket. It writes the OCI
// specification itself, with Docker's defaults, hands the task's log FIFOs to
// the shim, so that no byte of output passes through this process, and keeps
// what it must know of a container in the container's own record, so that
// nothing is lost when this process or the daemon restarts.
//
// It does not fetch images (package image does), make network namespaces
// (network does), read logs (logs does) or start the daemon.
package containerd
