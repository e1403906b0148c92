package e2e

import (
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// secretWord is nowhere else than in a secret.
const secretWord = "Xq7-plover-9vT-secret"

// keepsSecrets: what a secret says is on disk nowhere in the clear, and in
// memory only of the board that runs a task which needs it.
func (f *fleet) keepsSecrets() {
	if s := f.feed(1, []byte(secretWord), "secret", "create", "pw"); s.Code != 0 {
		f.t.Fatalf("secret create: %s", s.Err)
	}
	f.create("s", "--constraint", "node.hostname==board2", "--secret", "source=pw,target=/etc/pw,uid=1000,mode=0400", "web:1")
	f.runs(1, "s", 1)
	if got, want := f.must(1, "task", "exec", "s.1", "sh", "-c", "cat /etc/pw; set -- $(ls -ln /etc/pw); echo \" $1 $3\""), secretWord+" -r-------- 1000\n"; got != want {
		f.t.Errorf("the task sees %q, want %q", got, want)
	}
	f.until("the secret is where it should be", soon, func() error { return f.secretLies(2) })
	if s := f.try(1, "secret", "rm", "pw"); s.Code == 0 || !strings.Contains(s.Err, "in use by s;") {
		f.t.Errorf("a secret in use was removed: exit %d, %q", s.Code, s.Err)
	}
	f.remove("s")
	f.until("nothing of the secret is left in the clear", soon, func() error { return f.secretLies() })
	f.must(1, "secret", "rm", "pw")
}

// secretLies says if the secret is in the clear on a disk, or in the memory of
// others than those boards.
func (f *fleet) secretLies(boards ...int) error {
	var want, got []string
	for _, i := range boards {
		want = append(want, f.board(i).Name())
	}
	for i := 1; i <= f.n; i++ {
		if at := holding(f.board(i).StateDir()); at != "" {
			return fmt.Errorf("it is in the clear on %s's disk: %s", f.board(i).Name(), at)
		}
		if at := holding(f.board(i).RunDir()); at != "" {
			got = append(got, f.board(i).Name())
		}
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		return fmt.Errorf("it is in the memory of %v, want %v", got, want)
	}
	return nil
}

// holding is a file below a folder that holds the secret; "" if none does.
func holding(dir string) (at string) {
	_ = filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error { // what goes meanwhile is gone
		if err != nil || !e.Type().IsRegular() {
			return nil
		}
		if raw, err := os.ReadFile(path); err == nil && bytes.Contains(raw, []byte(secretWord)) {
			at = path
			return fs.SkipAll
		}
		return nil
	})
	return at
}
