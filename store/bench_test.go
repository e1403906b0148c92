package store

import (
	"bytes"
	"fmt"
	"io"
	goruntime "runtime"
	"testing"

	"github.com/edgeswarm/edgeswarm/api"
)

// BenchmarkState applies n tasks in entries of 500, as a large fleet has them.
// heap-MB is what the state then holds.
func BenchmarkState(b *testing.B) {
	for _, n := range []int{5000, 10000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			tasks := make([]api.Object, n)
			for i := range tasks {
				tasks[i] = task(i)
			}
			for b.Loop() {
				s := newBench(b)
				for i := 0; i < n; i += 500 {
					s.put(tasks[i : i+500]...)
				}
				if s.View().Tasks.Len() != n {
					b.Fatal(s.View().Tasks.Len())
				}
			}
			b.ReportMetric(held(n), "heap-MB")
		})
	}
}

// held measures the heap of a state that was restored, without its log.
func held(n int) float64 {
	var objects []api.Object
	for i := range n {
		objects = append(objects, task(i))
	}
	var buf bytes.Buffer
	if err := NewView(objects...).write(&buf); err != nil {
		panic(err)
	}
	objects = nil
	before := heap()
	s := New(Config{})
	if err := s.Restore(&buf); err != nil {
		panic(err)
	}
	after := heap()
	if s.View().Tasks.Len() != n {
		panic("lost some")
	}
	return float64(after-before) / (1 << 20)
}

// BenchmarkPlan is a Tx of n puts, in one call and one by one.
func BenchmarkPlan(b *testing.B) {
	const n = 5000
	tasks := make([]api.Object, n)
	for i := range tasks {
		tasks[i] = task(i)
	}
	b.Run("together", func(b *testing.B) {
		for b.Loop() {
			newTx(emptyView()).Put(tasks...)
		}
	})
	b.Run("alone", func(b *testing.B) {
		for b.Loop() {
			tx := newTx(emptyView())
			for _, obj := range tasks {
				tx.Put(obj)
			}
		}
	})
}

func BenchmarkUpdateAmong5000(b *testing.B) {
	s := newBench(b)
	for i := 0; i < 5000; i += 500 {
		var objects []api.Object
		for j := range 500 {
			objects = append(objects, task(i+j))
		}
		s.put(objects...)
	}
	id := task(77).ID
	for b.Loop() {
		s.do(Op{}, func(tx *Tx) { t := *tx.Task(id); t.Slot++; tx.Put(&t) })
	}
}

func BenchmarkSnapshot5000(b *testing.B) {
	var objects []api.Object
	for i := range 5000 {
		objects = append(objects, task(i))
	}
	v := NewView(objects...)
	for b.Loop() {
		if err := v.write(io.Discard); err != nil {
			b.Fatal(err)
		}
	}
}

func heap() uint64 {
	goruntime.GC()
	var m goruntime.MemStats
	goruntime.ReadMemStats(&m)
	return m.HeapAlloc
}
