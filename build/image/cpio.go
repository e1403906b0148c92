package main

import (
	"bytes"
	"fmt"
	"io"
	"time"
)

// writeCpio renders a tree as the kernel takes an initramfs: the "newc" format
// of cpio(5).
func writeCpio(w io.Writer, t *tree, at time.Time) error {
	modes := map[kind]uint32{file: 0o100000, folder: 0o040000, link: 0o120000}
	inode := 0
	member := func(name string, mode uint32, data []byte) error {
		inode++
		links := 1
		header := fmt.Sprintf("070701%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X", inode, mode, 0, 0, links, uint32(at.Unix()), len(data), 0, 0, 0, 0, len(name)+1, 0)
		if _, err := io.WriteString(w, header+name+"\x00"+pad(len(header)+len(name)+1)); err != nil {
			return err
		}
		if _, err := w.Write(data); err != nil {
			return err
		}
		_, err := io.WriteString(w, pad(len(data)))
		return err
	}
	for _, name := range t.paths() {
		e := t.entries[name]
		data := e.data
		if e.kind == link {
			data = []byte(e.target)
		}
		if err := member(name, modes[e.kind]|e.mode, data); err != nil {
			return err
		}
	}
	return member("TRAILER!!!", 0, nil)
}

// pad brings a length to a multiple of four.
func pad(n int) string { return string(bytes.Repeat([]byte{0}, (4-n%4)%4)) }
