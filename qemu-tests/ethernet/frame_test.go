package ethernet

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
)

func TestReadFrame(t *testing.T) {
	whole := strings.Repeat("x", headerSize)
	for name, c := range map[string]struct {
		in   string
		want string
		err  error
	}{
		"whole":            {in: "\x00\x00\x00\x0e" + whole, want: whole},
		"nothing":          {in: "", err: io.EOF},
		"cut in length":    {in: "\x00\x00", err: io.ErrUnexpectedEOF},
		"cut in frame":     {in: "\x00\x00\x00\x0e" + whole[1:], err: io.ErrUnexpectedEOF},
		"cut after length": {in: "\x00\x00\x00\x0e", err: io.ErrUnexpectedEOF},
		"runt":             {in: "\x00\x00\x00\x0d" + whole[1:], err: errRunt},
		"empty":            {in: "\x00\x00\x00\x00", err: errRunt},
	} {
		f, err := readFrame(strings.NewReader(c.in))
		if string(f) != c.want || !errors.Is(err, c.err) {
			t.Errorf("%s: %q, %v", name, f, err)
		}
	}
	if _, err := readFrame(strings.NewReader("\x7f\xff\xff\xff")); err == nil || !strings.Contains(err.Error(), "2147483647 bytes") {
		t.Errorf("a frame of 2 GiB: %v", err)
	}
}

// FuzzReadFrame: no input panics or takes much memory, and what is read is
// written as it was.
func FuzzReadFrame(f *testing.F) {
	f.Add([]byte("\x00\x00\x00\x0e01234567890123"))
	f.Add([]byte("\x00\x00\x00\x00\x00\x00\x00\x0e01234567890123"))
	f.Add([]byte("\xff\xff\xff\xff"))
	f.Fuzz(func(t *testing.T, in []byte) {
		r := bytes.NewReader(in)
		for {
			before := len(in) - r.Len()
			fr, err := readFrame(r)
			if errors.Is(err, errRunt) {
				continue
			}
			if err != nil {
				return
			}
			var out bytes.Buffer
			if err := writeFrame(&out, fr); err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(out.Bytes(), in[before:len(in)-r.Len()]) {
				t.Fatalf("read %q, wrote %q", in[before:len(in)-r.Len()], out.Bytes())
			}
			_ = MAC(fr.to()).String()
			_, _ = addressOf(fr)
		}
	})
}
