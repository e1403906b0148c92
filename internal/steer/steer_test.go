package steer

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// fake is an edgectl that does what a script says.
func fake(t *testing.T, script string) Edgectl {
	t.Helper()
	path := filepath.Join(t.TempDir(), "edgectl")
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"+script), 0o700); err != nil {
		t.Fatal(err)
	}
	return Edgectl{Program: path, Socket: "/run/board/edged.sock"}
}

func TestTry(t *testing.T) {
	e := fake(t, `cat; echo "$@"; echo trouble >&2; exit 3`)
	want := Said{"in--host unix:///run/board/edged.sock node ls\n", "trouble\n", 3}
	if got := e.Try([]byte("in"), "node", "ls"); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
	e.Program = "/nonexistent/edgectl"
	if got := e.Try(nil, "node", "ls"); got.Code != -1 || !strings.Contains(got.Err, "no such file") {
		t.Errorf("without edgectl: %+v", got)
	}
	e = fake(t, "exec sleep 1000")
	e.Patience = 50 * time.Millisecond
	if got := e.Try(nil); got.Code != -1 {
		t.Errorf("one that hangs: %+v", got)
	}
}

func TestRows(t *testing.T) {
	e := fake(t, `
case "$*" in
*"node ls --no-trunc --format json") echo '{"ID":"1","Hostname":"a","Voter":true}'; echo '{"ID":"2","Hostname":"b"}';;
*"service ps web --no-trunc --format json") echo '{"ID":"3","Name":"web.1","CurrentState":"Running 3 seconds ago","Attempt":2}';;
*"service ps odd"*) echo 'no JSON';;
*) echo 'no such service' >&2; exit 1;;
esac`)
	nodes, err := e.Nodes()
	if err != nil || len(nodes) != 2 || !nodes["a"].Voter || nodes["b"].ID != "2" {
		t.Errorf("%+v, %v", nodes, err)
	}
	tasks, err := e.Tasks("web")
	if err != nil || len(tasks) != 1 || tasks[0].State() != "running" || tasks[0].Attempt != 2 {
		t.Errorf("%+v, %v", tasks, err)
	}
	if table := Table(tasks); !strings.Contains(table, "web.1") {
		t.Errorf("the table is %q", table)
	}
	for service, want := range map[string]string{"odd": "no JSON", "none": "no such service"} {
		if _, err := e.Tasks(service); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", service, err)
		}
	}
}
