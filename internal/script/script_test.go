package script

import (
	"strings"
	"testing"
)

func TestReplayKeepsCommentsAndRenewsOutput(t *testing.T) {
	text := "# what this shows\n> say a b\n    stale\n    lines\n\n> quiet\n> say c\n"
	got := replay(text, func(command string) string {
		words, ok := strings.CutPrefix(command, "say ")
		if !ok {
			return ""
		}
		return strings.ReplaceAll(words, " ", "\n")
	})
	want := "# what this shows\n> say a b\n    a\n    b\n\n> quiet\n> say c\n    c\n"
	if got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if again := replay(got, func(string) string { return "" }); strings.Contains(again, indent) {
		t.Errorf("output of before is kept: %q", again)
	}
}

func TestDifferenceShowsTheFirst(t *testing.T) {
	got := difference("a\nb\nc", "a\nx\nc")
	if !strings.Contains(got, "- b") || !strings.Contains(got, "+ x") {
		t.Errorf("got %q", got)
	}
}
