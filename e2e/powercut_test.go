package e2e

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
)

// TestPowerCut: every board loses its power at once, right after writes were
// acknowledged. All of them are there again, and the tasks run.
func TestPowerCut(t *testing.T) {
	t.Parallel()
	f := formed(t, 3)
	f.load(2, "1", "2")
	f.must(1, "service", "create", "--quiet", "--name", "web", "--replicas", "5", "web:1")
	for i := range 20 {
		f.must(1+i%3, "service", "update", "--detach", "--label-add", fmt.Sprintf("n=%d", i), "web")
	}
	f.must(2, "node", "update", "--label-add", "zone=attic", "board3")
	f.must(3, "service", "create", "--detach", "--name", "last", "--replicas", "2", "web:2")
	nodes, err := f.nodes(1)
	f.do(err)

	f.all(func(i int) error { return f.board(i).Kill(t.Context()) })
	f.all(func(i int) error { return f.board(i).Start(t.Context()) })
	f.whole(3)
	again, err := f.nodes(2)
	f.do(err)
	for name, n := range nodes {
		if again[name].ID != n.ID {
			t.Errorf("%s was node %s and is %s", name, n.ID, again[name].ID)
		}
	}
	for what, want := range map[string]struct {
		args []string
		want string
	}{
		"a service's label": {[]string{"service", "inspect", "--format", "{{.Spec.Labels.n}}", "web"}, "19"},
		"a node's label":    {[]string{"node", "inspect", "--format", "{{.Spec.Labels.zone}}", "board3"}, "attic"},
		"the images":        {[]string{"image", "ls", "--format", "{{.Repository}}:{{.Tag}}"}, "web:1\nweb:2"},
		"the last service":  {[]string{"service", "ls", "--filter", "name=last", "--format", "{{.Mode}}"}, "replicated"},
	} {
		if got := strings.TrimSpace(f.must(1, want.args...)); got != want.want {
			t.Errorf("%s is %q after the power cut, was %q", what, got, want.want)
		}
	}
	f.runs(1, "web", 5)
	f.runs(1, "last", 2)
	f.exactly("web", 5)
	f.exactly("last", 2)
}

// all does something to every board at once.
func (f *fleet) all(do func(i int) error) {
	f.t.Helper()
	errs := make([]error, f.n)
	var wg sync.WaitGroup
	for i := range f.n {
		wg.Go(func() { errs[i] = do(i + 1) })
	}
	wg.Wait()
	f.do(errors.Join(errs...))
}
