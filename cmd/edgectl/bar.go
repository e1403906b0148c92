package main

import (
	"fmt"
	"io"
	"strings"
	"time"
)

// bar shows how far long work is: redrawn in its line on a terminal, a line for
// each quarter elsewhere.
type bar struct {
	to      io.Writer
	screen  bool
	step    string
	began   time.Time
	drawn   time.Time
	quarter int64
	open    bool // the line is not ended
}

func newBar(c *cli) *bar { return &bar{to: c.err, screen: terminal(c.err) != nil} }

// barWidth in characters, and how often a terminal is drawn to.
const (
	barWidth = 30
	barEvery = 100 * time.Millisecond
)

func (b *bar) draw(step string, done, total int64) {
	if step != b.step {
		b.end()
		b.step, b.began, b.quarter = step, time.Now(), 0
	}
	if !b.screen {
		if quarter := 4 * done / total; quarter > b.quarter {
			b.quarter = quarter
			fmt.Fprintf(b.to, "%s: %d%%\n", step, 25*quarter)
		}
		return
	}
	if time.Since(b.drawn) < barEvery && done < total {
		return
	}
	b.drawn, b.open = time.Now(), true
	took := time.Since(b.began)
	left := time.Duration(float64(took) * float64(total-done) / float64(done)).Round(time.Second)
	full := int(barWidth * done / total)
	fmt.Fprintf(b.to, "\r%-9s [%s%s] %3d%% %5.1f MB/s, %v left \x1b[K", step, strings.Repeat("=", full), strings.Repeat(" ", barWidth-full),
		100*done/total, float64(done)/1e6/max(took.Seconds(), 0.001), left)
}

// end leaves the bar as it is and goes on below it.
func (b *bar) end() {
	if b.open {
		fmt.Fprintln(b.to)
		b.open = false
	}
}
