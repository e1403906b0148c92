package consensus

// SetFaults lets tests delay and fail disk operations by name.
func (c *Config) SetFaults(f func(op string) error) { c.faults = f }
