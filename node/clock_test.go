package node

import (
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"
)

var (
	built   = time.Date(1999, 12, 1, 0, 0, 0, 0, time.UTC)
	epoch   = time.Unix(0, 0)
	in2099  = time.Date(2099, 1, 1, 0, 0, 0, 0, time.UTC)
	instant = time.Second // what openClock may take
)

func openAt(t *testing.T, dir string, wall func() time.Time) *clock {
	t.Helper()
	c, err := openClock(dir, built, wall)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func fixed(t time.Time) func() time.Time { return func() time.Time { return t } }

func near(t *testing.T, what string, got, want time.Time) {
	t.Helper()
	if d := got.Sub(want); d < -instant || d > instant {
		t.Errorf("%s: it is %v, want %v", what, got, want)
	}
}

func TestAClockThatSays1970(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		c := openAt(t, dir, fixed(epoch))
		near(t, "without anything else", c.Now(), built)
		time.Sleep(time.Hour)
		near(t, "an hour later", c.Now(), built.Add(time.Hour))
		learned := built.Add(1000 * time.Hour)
		c.Learn(learned)
		near(t, "told by the leader", c.Now(), learned)
		c.Learn(built.Add(10 * time.Hour))
		near(t, "told less by another", c.Now(), learned)
		time.Sleep(time.Hour)
		if err := c.Save(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Hour) // without power
		near(t, "after a boot", openAt(t, dir, fixed(epoch)).Now(), learned.Add(time.Hour))
		if wall := c.Wall(); !wall.Equal(epoch) {
			t.Errorf("the board's own clock says %v", wall)
		}
	})
}

// A clock chip with a dead battery may as well say 2099. Nothing that says so
// is believed, or every certificate and token of the fleet would be dated by it.
func TestAClockThatSays2099(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		c := openAt(t, dir, fixed(in2099))
		near(t, "by its own clock", c.Now(), built)
		c.Learn(in2099)
		near(t, "by a leader that believes it", c.Now(), built)
		c.Learn(built.Add(time.Hour))
		near(t, "by a leader that is right", c.Now(), built.Add(time.Hour))
		if err := os.WriteFile(filepath.Join(dir, "clock"), []byte(in2099.Format(time.RFC3339)+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		near(t, "by what was saved", openAt(t, dir, fixed(epoch)).Now(), built)
		near(t, "by a right clock", openAt(t, dir, nil).Now(), time.Now())
	})
}

func TestADamagedTimeIsNoWorseThanNone(t *testing.T) {
	for _, text := range []string{"", "\x00\x00\x00", "yesterday\n", "1970-01-01T00:00:00Z\n"} {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, "clock"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		near(t, text, openAt(t, dir, fixed(epoch)).Now(), built)
	}
}

func TestAJumpIsToldOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := openAt(t, t.TempDir(), fixed(epoch))
		jumped := func() bool {
			select {
			case <-c.Jumped():
				return true
			default:
				return false
			}
		}
		c.Learn(built.Add(jump / 2))
		if jumped() {
			t.Error("a small correction is told")
		}
		c.Learn(built.Add(time.Hour))
		c.Learn(built.Add(2 * time.Hour))
		if !jumped() || jumped() {
			t.Error("two jumps that nobody asked about are not told, or twice")
		}
	})
}

// An idle board writes nothing: the time is saved only if it went on.
func TestTimeIsSavedOnlyIfItWentOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		c := openAt(t, dir, nil)
		if err := c.Save(); err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(dir, "clock")
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
		if err := c.Save(); err != nil {
			t.Fatal(err)
		}
		if _, err := os.Stat(path); err == nil {
			t.Error("the same second was written twice")
		}
	})
}
