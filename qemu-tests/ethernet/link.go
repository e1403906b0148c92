package ethernet

import (
	"hash/fnv"
	"math/rand/v2"
	"time"
)

// Link is how a board's cable treats frames, in each direction. The zero Link is
// a good cable.
type Link struct {
	Loss      float64       // share of frames that are lost, 0 to 1
	Duplicate float64       // share of frames that arrive twice, 0 to 1
	Delay     time.Duration // added to each frame
	Jitter    time.Duration // added at random, from 0 to this: frames overtake each other
}

// fate decides what becomes of the frames of one direction of one link.
type fate struct{ rand *rand.Rand }

func newFate(seed uint64, port, direction string) fate {
	h := fnv.New64a()
	_, _ = h.Write([]byte(port + "\x00" + direction))
	return fate{rand.New(rand.NewPCG(seed, h.Sum64()))}
}

// copies are the delays after which copies of the next frame arrive: none if
// it is lost. It draws the same number of random numbers for every frame, so
// that a changed Link does not change which later frames are hit.
func (f fate) copies(l Link) []time.Duration {
	lost, doubled, first, second := f.rand.Float64(), f.rand.Float64(), f.rand.Float64(), f.rand.Float64()
	if lost < l.Loss {
		return nil
	}
	delays := []time.Duration{l.Delay + time.Duration(first*float64(l.Jitter))}
	if doubled < l.Duplicate {
		delays = append(delays, l.Delay+time.Duration(second*float64(l.Jitter)))
	}
	return delays
}
