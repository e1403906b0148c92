package term_test

import (
	"errors"
	"testing"
	"time"

	"github.com/edgeswarm/edgeswarm/api"
	"github.com/edgeswarm/edgeswarm/consensus"
	"github.com/edgeswarm/edgeswarm/manager/managertest"
	"github.com/edgeswarm/edgeswarm/manager/term"
	"github.com/edgeswarm/edgeswarm/store"
)

func TestUpdateDecidesAgain(t *testing.T) {
	state := managertest.Found(t, time.Now, managertest.Node("a", "one"))
	tries := 0
	_, err := term.Update(t.Context(), state.Writer, store.Op{}, func(tx *store.Tx) error {
		if tries++; tries == 1 { // somebody else is quicker
			state.Change(t, func(tx *store.Tx) {
				node := *tx.Node("a")
				node.Spec.Name = "other"
				tx.Put(&node)
			})
		}
		node := *tx.Node("a")
		node.Spec.Availability = api.AvailabilityDrain
		tx.Put(&node)
		return nil
	})
	if node := state.View().Node("a"); err != nil || tries != 2 || node.Spec.Name != "other" || node.Spec.Availability != api.AvailabilityDrain {
		t.Errorf("after %d tries: %+v, %v", tries, node, err)
	}
}

func TestUpdateEndsWithTheDecisionsOwnError(t *testing.T) {
	state := managertest.Found(t, time.Now)
	tries, refused := 0, api.Errorf(api.Conflict, "", "taken")
	_, err := term.Update(t.Context(), state.Writer, store.Op{}, func(*store.Tx) error { tries++; return refused })
	if !errors.Is(err, refused) || tries != 1 {
		t.Errorf("%v after %d tries", err, tries)
	}
}

func TestUpdateSpeaksTheWiresErrors(t *testing.T) {
	state := managertest.Found(t, time.Now)
	for cause, kind := range map[error]api.Kind{
		consensus.ErrNotLeader: api.NotLeader, consensus.ErrLeadershipLost: api.Unavailable,
		consensus.ErrBusy: api.Unavailable, consensus.ErrTooLarge: api.Invalid,
	} {
		state.Log.Fail(cause)
		_, err := term.Update(t.Context(), state.Writer, store.Op{}, func(tx *store.Tx) error {
			tx.Put(managertest.Node("a", "one"))
			return nil
		})
		if api.KindOf(err) != kind || !errors.Is(err, cause) {
			t.Errorf("%v is told as %v (%s)", cause, err, api.KindOf(err))
		}
	}
}
