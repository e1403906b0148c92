package logs

import "bytes"

// splitter cuts a stream of bytes into lines and long lines into pieces.
type splitter struct {
	held []byte // the line that has no end yet
}

// feed takes what came and emits what is whole. A piece is emitted only when
// more of its line is there, so that the last piece is never partial. What is
// emitted is valid until emit returns.
func (s *splitter) feed(b []byte, emit func(line []byte, partial bool)) {
	for len(b) > 0 {
		line, rest, ended := bytes.Cut(b, []byte{'\n'})
		for len(s.held)+len(line) > MaxLine {
			take := MaxLine - len(s.held)
			emit(s.join(line[:take]), true)
			line = line[take:]
		}
		if !ended {
			s.held = append(s.held, line...)
			return
		}
		emit(s.join(line), false)
		b = rest
	}
}

// join answers what is held and more, and holds nothing any longer.
func (s *splitter) join(more []byte) []byte {
	if len(s.held) == 0 {
		return more
	}
	whole := append(s.held, more...)
	s.held = s.held[:0]
	if cap(whole) <= 1024 { // one long line must not cost its memory for ever
		s.held = whole[:0]
	} else {
		s.held = nil
	}
	return whole
}

// end emits the line that was never ended.
func (s *splitter) end(partial bool, emit func(line []byte, partial bool)) {
	if len(s.held) > 0 {
		emit(s.held, partial)
	}
	s.held = nil
}
