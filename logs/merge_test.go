package logs

import (
	"context"
	"errors"
	"iter"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/edgeswarm/edgeswarm/api"
)

// said is a line, the time its board says it was written, and how long after
// the last one it comes.
type said struct {
	text  string
	at    int
	after time.Duration
	err   error
}

func stream(ctx context.Context, all ...said) iter.Seq2[api.LogLine, error] {
	return func(yield func(api.LogLine, error) bool) {
		for _, s := range all {
			select {
			case <-time.After(s.after):
			case <-ctx.Done():
				return
			}
			if !yield(api.LogLine{Data: []byte(s.text), Time: time.Unix(int64(s.at), 0)}, s.err) {
				return
			}
		}
	}
}

func merged(ctx context.Context, hold time.Duration, streams ...iter.Seq2[api.LogLine, error]) string {
	var out []string
	for line, err := range Merge(ctx, hold, streams...) {
		if err != nil {
			out = append(out, "!"+err.Error())
			continue
		}
		out = append(out, string(line.Data))
	}
	return strings.Join(out, " ")
}

func TestMergeStored(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx := t.Context()
		got := merged(ctx, 0,
			stream(ctx, said{"a", 1, 0, nil}, said{"d", 4, time.Hour, nil}, said{"g", 7, 0, nil}),
			stream(ctx),
			stream(ctx, said{"b", 2, time.Minute, nil}, said{"c", 3, 0, nil}, said{"e", 5, 0, nil}, said{"f", 6, 0, nil}),
		)
		if got != "a b c d e f g" {
			t.Fatalf("merged: %s", got)
		}
		if got := merged(ctx, 0); got != "" {
			t.Fatalf("merged nothing: %s", got)
		}
	})
}

// TestMergeFollowed: a silent stream delays the others once, not each line.
func TestMergeFollowed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx := t.Context()
		begun := time.Now()
		var at []time.Duration
		var text []string
		lively := []said{{"a", 1, 0, nil}}
		for range 10 {
			lively = append(lively, said{"b", 2, time.Millisecond, nil})
		}
		late := said{"late", 0, 5 * time.Second, nil}
		for line := range Merge(ctx, 200*time.Millisecond, stream(ctx, lively...), stream(ctx, late)) {
			at, text = append(at, time.Since(begun)), append(text, string(line.Data))
		}
		if at[0] != 200*time.Millisecond || at[10] > 250*time.Millisecond || at[11] != 5*time.Second || text[11] != "late" {
			t.Fatalf("%q at %v", text, at)
		}
	})
}

// TestMergeOrdersWithinHold: a line that comes late by less than hold is in order.
func TestMergeOrdersWithinHold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx := t.Context()
		got := merged(ctx, 200*time.Millisecond,
			stream(ctx, said{"b", 2, 0, nil}, said{"d", 4, 0, nil}),
			stream(ctx, said{"a", 1, 150 * time.Millisecond, nil}, said{"c", 3, 150 * time.Millisecond, nil}),
		)
		if got != "a b c d" {
			t.Fatalf("merged: %s", got)
		}
	})
}

func TestMergeErrorEndsItsStreamAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx := t.Context()
		got := merged(ctx, 0,
			stream(ctx, said{"a", 1, 0, nil}, said{err: errors.New("board2 is gone"), after: time.Second}),
			stream(ctx, said{"b", 2, 0, nil}, said{"c", 3, 0, nil}),
		)
		if got != "a !board2 is gone b c" {
			t.Fatalf("merged: %s", got)
		}
	})
}

func TestMergeLeavesNothingBehind(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	for range Merge(ctx, 0, stream(ctx, said{"a", 1, 0, nil}, said{"b", 2, 0, nil}), stream(ctx, said{"c", 3, 0, nil})) {
		break
	}
	cancel()
}

func TestMergeGrowing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx := t.Context()
		joining := make(chan iter.Seq2[api.LogLine, error])
		go func() {
			time.Sleep(time.Minute)
			joining <- stream(ctx, said{"c", 3, 0, nil}, said{"e", 5, time.Minute, nil})
			time.Sleep(time.Hour)
			joining <- stream(ctx, said{"f", 6, 0, nil})
			close(joining)
		}()
		var got []string
		for line, err := range MergeGrowing(ctx, 200*time.Millisecond, joining, stream(ctx, said{"a", 1, 0, nil}, said{"d", 4, 90 * time.Second, nil})) {
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, string(line.Data))
			time.Sleep(10 * time.Second) // a slow reader loses nothing
		}
		if s := strings.Join(got, " "); s != "a c d e f" {
			t.Errorf("got %s", s)
		}
	})
}

func TestMergeGrowingWaitsForTheFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		joining := make(chan iter.Seq2[api.LogLine, error])
		begun := time.Now()
		for range MergeGrowing(ctx, time.Second, joining) {
			t.Error("a line out of nothing")
		}
		if took := time.Since(begun); took != time.Hour {
			t.Errorf("ended after %v, with streams yet to come", took)
		}
	})
}
