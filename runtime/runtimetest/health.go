package runtimetest

import "github.com/edgeswarm/edgeswarm/runtime"

func testNoHealthcheck(b *board) {
	c := b.container("wait")
	_, err := b.Driver.Healthcheck(b.context(), c.ID)
	b.wantErr("health check of an unknown container", err, runtime.ErrNotFound)
	b.prepare(c)
	if h, err := b.Driver.Healthcheck(b.context(), c.ID); h != nil || err != nil {
		b.Errorf("health check %+v, %v of an image that has none", h, err)
	}
	b.start(c)
	b.Interrupt()
	_, err = b.Driver.Healthcheck(b.context(), c.ID)
	b.wantErr("health check without a runtime", err, runtime.ErrUnavailable)
	b.Restore()
	b.eventually("info", func() error {
		_, err := b.Driver.Info(b.context())
		return err
	})
}
