package containerd

import (
	"testing"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/edgeswarm/edgeswarm/runtime"
	"github.com/edgeswarm/edgeswarm/runtime/runtimetest"
)

func TestDriver(t *testing.T) {
	daemon := startDaemon(t)
	first := daemon.driver(t)
	daemon.awaitUp(t, first)
	image := daemon.image(t, first, ocispec.ImageConfig{})
	runtimetest.Run(t, func(t *testing.T) runtimetest.Fixture {
		driver := daemon.open(t)
		t.Cleanup(func() { _ = driver.Close() }) // the one that is then open: containers are removed through it
		return runtimetest.Fixture{
			Driver: driver,
			Reopen: func() runtime.Driver {
				if err := driver.Close(); err != nil {
					t.Fatal(err)
				}
				driver = daemon.open(t)
				return driver
			},
			Interrupt: daemon.kill,
			Restore:   func() { daemon.start(t) },
			Image:     image,
			Command:   runtimetest.Shell,
			Kernel:    true,
		}
	})
}
