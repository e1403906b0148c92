package machine

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"time"
)

// answering bounds how long QEMU may take to do a command.
const answering = time.Minute

// monitor speaks QMP, the monitor for programs
// (https://www.qemu.org/docs/master/interop/qmp-spec.html). Events go to a
// file as they come.
type monitor struct {
	conn    net.Conn
	events  *os.File
	answers chan answer
	done    chan struct{} // closed when the reader is

	mu sync.Mutex // one command at a time
}

type answer struct {
	Return json.RawMessage `json:"return"`
	Error  *struct {
		Class string `json:"class"`
		Desc  string `json:"desc"`
	} `json:"error"`
}

// newMonitor takes the connection over.
func newMonitor(conn net.Conn, events string) (*monitor, error) {
	file, err := os.OpenFile(events, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	m := &monitor{conn: conn, events: file, answers: make(chan answer, 1), done: make(chan struct{})}
	go m.read()
	if err := m.do("qmp_capabilities", nil, nil); err != nil {
		return nil, errors.Join(err, m.Close())
	}
	return m, nil
}

func (m *monitor) Close() error {
	err := m.conn.Close()
	<-m.done
	return errors.Join(err, m.events.Close())
}

// read passes answers on and writes events down, until the connection ends.
func (m *monitor) read() {
	defer close(m.done)
	for dec := json.NewDecoder(m.conn); ; {
		var raw json.RawMessage
		if err := dec.Decode(&raw); err != nil {
			return
		}
		var kind struct {
			Event string          `json:"event"`
			QMP   json.RawMessage `json:"QMP"` // its greeting
		}
		if err := json.Unmarshal(raw, &kind); err != nil {
			return
		}
		if kind.Event != "" || kind.QMP != nil {
			_, _ = fmt.Fprintf(m.events, "%s\n", raw)
			continue
		}
		var a answer
		if err := json.Unmarshal(raw, &a); err != nil {
			return
		}
		m.answers <- a
	}
}

func (m *monitor) do(command string, args map[string]any, out any) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	request := map[string]any{"execute": command}
	if args != nil {
		request["arguments"] = args
	}
	raw, err := json.Marshal(request)
	if err != nil {
		return err
	}
	if _, err := m.conn.Write(append(raw, '\n')); err != nil {
		return err
	}
	late := time.NewTimer(answering)
	defer late.Stop()
	select {
	case a := <-m.answers:
		if a.Error != nil {
			return errors.New(a.Error.Desc)
		}
		if out == nil {
			return nil
		}
		return json.Unmarshal(a.Return, out)
	case <-m.done:
		return errors.New("QEMU is gone")
	case <-late.C:
		_ = m.conn.Close() // an answer that comes now would be taken for the next command's
		return fmt.Errorf("no answer within %v", answering)
	}
}
