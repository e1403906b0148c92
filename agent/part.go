package agent

import (
	"fmt"

	"github.com/edgeswarm/edgeswarm/api"
)

// gathering puts together an assignment that comes in parts. Nothing of it is
// applied, nor written, before it is whole: a set that lacks what was still to
// come would stop tasks. It ends with its session, and the next begins from the
// set that is held. The zero gathering is ready.
type gathering struct{ whole *api.Assignment }

// add takes a message in and returns the whole once that was its last part,
// nil before.
func (g *gathering) add(part *api.Assignment) (*api.Assignment, error) {
	if g.whole == nil {
		if !part.More {
			return part, nil
		}
		first := *part
		g.whole = &first
		return nil, nil
	}
	w := g.whole
	if part.Full != w.Full || part.Previous != w.Previous || part.Next != w.Next {
		return nil, fmt.Errorf("%w: a part of %v came amid those of %v", errGap, part.Next, w.Next)
	}
	w.Set, w.Removed = append(w.Set, part.Set...), append(w.Removed, part.Removed...)
	w.Lease, w.HeartbeatPeriod, w.Time = part.Lease, part.HeartbeatPeriod, part.Time
	if part.More {
		return nil, nil
	}
	w.More, g.whole = false, nil
	return w, nil
}
