package consensus

import "testing"

// All other tests set timings of their own, so that only this one sees that
// the defaults go together.
func TestDefaultsAreValid(t *testing.T) {
	c := Config{ID: "a", Dir: t.TempDir(), Network: struct{ Network }{}, Machine: struct{ Machine }{}}
	if err := c.withDefaults().validate(); err != nil {
		t.Error(err)
	}
}
