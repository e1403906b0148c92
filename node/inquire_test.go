package node

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

// A leader that has lost its fleet without knowing it may call a new member
// none. Only a no that lasts is believed.
func TestABoardIsDisownedOnlyIfNobodySaysOtherwise(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDoubts()
		if d.disowned() {
			t.Error("the first no is believed")
		}
		time.Sleep(disownedFor - time.Millisecond)
		if d.disowned() {
			t.Error("believed too soon")
		}
		d.settle() // a leader takes it for a member
		time.Sleep(time.Hour)
		if d.disowned() {
			t.Error("a no of before still counts")
		}
		time.Sleep(disownedFor)
		if !d.disowned() {
			t.Error("a no that lasts is not believed")
		}
	})
}

func TestRefusalsAreOneWakeUp(t *testing.T) {
	d := newDoubts()
	for range 3 {
		d.turnedAway()
	}
	if len(d.refused) != 1 || !d.wasTurnedAway() {
		t.Errorf("%d wake-ups, turned away %v", len(d.refused), d.wasTurnedAway())
	}
	if d.settle(); d.wasTurnedAway() {
		t.Error("turned away after its leader spoke")
	}
}

// A board that was about to leave is not taken for one that was removed, which
// would say so for ever.
func TestTheFirstReasonToEndCounts(t *testing.T) {
	for _, c := range []struct {
		leaving bool
		reasons []error
		want    error
	}{
		{false, []error{errRemoved}, errRemoved},
		{true, []error{errRemoved}, errLeft},
		{true, []error{errFolded, errRemoved}, errFolded},
		{false, []error{errRemoved, errFolded}, errRemoved},
	} {
		m := &membership{end: make(chan error, 1)}
		m.leaving.Store(c.leaving)
		for _, r := range c.reasons {
			m.finish(r)
		}
		if got := <-m.end; !errors.Is(got, c.want) {
			t.Errorf("leaving %v, %v: it ended because %v", c.leaving, c.reasons, got)
		}
	}
}
