package clustertest_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/edgeswarm/edgeswarm/internal/clustertest"
)

func TestThreeBoardsFormAFleet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := clustertest.New(t, clustertest.Options{Boards: 3, Seed: 1})
		f.StartAll()
		t.Log(f.AwaitFormed(20 * time.Second))
	})
}
