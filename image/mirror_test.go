package image

import (
	"slices"
	"strings"
	"testing"
)

func TestAMirrorIsAskedBeforeItsRegistry(t *testing.T) {
	r := startRegistry(t, testArchive(t, "web:1"))
	s := newStore(t, 1, arm64, nil)
	s.cfg.Mirrors = map[string]string{"registry.invalid": r.URL}
	image, err := s.Pull(t.Context(), "registry.invalid/web:1")
	if err != nil {
		t.Fatal(err)
	}
	if string(image.ID) != r.root.Digest.String() || !slices.Equal(image.Names, []string{"registry.invalid/web:1"}) {
		t.Errorf("pulled %+v", image)
	}
	// One that does not have it is passed over, and one that is none is told.
	s.cfg.Mirrors = map[string]string{strings.TrimPrefix(r.URL, "http://"): "http://127.0.0.1:1"}
	if _, err := s.Pull(t.Context(), r.name()); err != nil {
		t.Errorf("with a mirror that is not there: %v", err)
	}
	s.cfg.Mirrors = map[string]string{"registry.invalid": "not a URL"}
	if _, err := s.Pull(t.Context(), "registry.invalid/web:1"); err == nil || !strings.Contains(err.Error(), "is no URL") {
		t.Errorf("a mirror that is none: %v", err)
	}
}
