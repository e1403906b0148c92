package node

import (
	"errors"
	"fmt"
	"os"

	"github.com/edgeswarm/edgeswarm/api"
	"github.com/edgeswarm/edgeswarm/internal/host"
)

// foundingFile holds what a founder has decided until its log has it: should
// the plug be pulled in between, the next start goes on from here.
const foundingFile = "founding"

// founding is the first state of a fleet.
type founding struct {
	Cluster *api.Cluster
	Node    *api.Node
}

func saveFounding(dir *stateDir, f founding) error {
	raw, err := api.Encode(f)
	if err != nil {
		return err
	}
	return host.WriteFile(dir.room(foundingFile), raw, 0o600)
}

// loadFounding answers nil if there is none.
func loadFounding(dir *stateDir) (*founding, error) {
	raw, err := os.ReadFile(dir.room(foundingFile))
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read founding: %w", err)
	}
	var f founding
	if err := api.DecodeStrict(raw, &f); err != nil {
		return nil, fmt.Errorf("read founding: %w", err)
	}
	return &f, nil
}
