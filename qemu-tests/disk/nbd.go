package disk

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
)

// The protocol is that of
// https://github.com/NetworkBlockDevice/nbd/blob/master/doc/proto.md: fixed
// newstyle negotiation, one export of any name, simple replies.
const (
	nbdMagic     = 0x4e42444d41474943 // "NBDMAGIC"
	optMagic     = 0x49484156454f5054 // "IHAVEOPT"
	optReply     = 0x3e889045565a9
	requestMagic = 0x25609513
	replyMagic   = 0x67446698

	flagFixedNewstyle = 1
	flagNoZeroes      = 2

	optExportName = 1
	optAbort      = 2
	optInfo       = 6
	optGo         = 7

	repAck      = 1
	repInfo     = 3
	repErrUnsup = 1<<31 | 1

	infoExport = 0

	transmitHasFlags  = 1
	transmitSendFlush = 4

	cmdRead  = 0
	cmdWrite = 1
	cmdDisc  = 2
	cmdFlush = 3

	errnoIO    = 5
	errnoInval = 22
	errnoNoSpc = 28

	maxOption  = 4096
	maxRequest = 32 << 20
)

// Serve hands the card to whoever connects, one after the other, until the
// context ends. It closes the listener.
func Serve(ctx context.Context, l net.Listener, c *Card, log *slog.Logger) error {
	stop := context.AfterFunc(ctx, func() { _ = l.Close() })
	defer stop()
	defer l.Close()
	for {
		conn, err := l.Accept()
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return fmt.Errorf("serve card: %w", err)
		}
		if err := serveOne(ctx, conn, c); err != nil && ctx.Err() == nil {
			log.Info("a board's connection to its card broke", "err", err)
		}
	}
}

func serveOne(ctx context.Context, conn net.Conn, c *Card) error {
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer stop()
	defer conn.Close()
	s := session{r: bufio.NewReaderSize(conn, 64<<10), w: conn, card: c}
	noZeroes, err := s.greet()
	if err != nil {
		return fmt.Errorf("greet: %w", err)
	}
	if err := s.negotiate(noZeroes); err != nil {
		if errors.Is(err, errDone) {
			return nil
		}
		return fmt.Errorf("negotiate: %w", err)
	}
	for {
		if err := s.request(); err != nil {
			if errors.Is(err, errDone) || errors.Is(err, io.EOF) {
				return nil // it said goodbye, or lost its power
			}
			return err
		}
	}
}

var errDone = errors.New("the client is done")

type session struct {
	r    *bufio.Reader
	w    io.Writer
	card *Card
}

// greet exchanges flags, and returns whether the client wants no padding.
func (s *session) greet() (noZeroes bool, err error) {
	hello := binary.BigEndian.AppendUint64(nil, nbdMagic)
	hello = binary.BigEndian.AppendUint64(hello, optMagic)
	hello = binary.BigEndian.AppendUint16(hello, flagFixedNewstyle|flagNoZeroes)
	if _, err := s.w.Write(hello); err != nil {
		return false, err
	}
	var flags uint32
	if err := binary.Read(s.r, binary.BigEndian, &flags); err != nil {
		return false, err
	}
	return flags&flagNoZeroes != 0, nil
}

// negotiate answers options until the client asks for the export.
func (s *session) negotiate(noZeroes bool) error {
	for {
		var head struct {
			Magic       uint64
			Option, Len uint32
		}
		if err := binary.Read(s.r, binary.BigEndian, &head); err != nil {
			return err
		}
		if head.Magic != optMagic || head.Len > maxOption {
			return fmt.Errorf("option %d of %d bytes, magic %x", head.Option, head.Len, head.Magic)
		}
		if _, err := s.r.Discard(int(head.Len)); err != nil {
			return err
		}
		export := binary.BigEndian.AppendUint64(nil, uint64(s.card.Size()))
		export = binary.BigEndian.AppendUint16(export, transmitHasFlags|transmitSendFlush)
		switch head.Option {
		case optExportName:
			if !noZeroes {
				export = append(export, make([]byte, 124)...)
			}
			_, err := s.w.Write(export)
			return err
		case optInfo, optGo:
			err := errors.Join(s.answer(head.Option, repInfo, append([]byte{0, infoExport}, export...)), s.answer(head.Option, repAck, nil))
			if err != nil || head.Option == optGo {
				return err
			}
		case optAbort:
			return errors.Join(s.answer(head.Option, repAck, nil), errDone)
		default:
			if err := s.answer(head.Option, repErrUnsup, nil); err != nil {
				return err
			}
		}
	}
}

func (s *session) answer(option, kind uint32, data []byte) error {
	b := binary.BigEndian.AppendUint64(nil, optReply)
	b = binary.BigEndian.AppendUint32(b, option)
	b = binary.BigEndian.AppendUint32(b, kind)
	b = binary.BigEndian.AppendUint32(b, uint32(len(data)))
	_, err := s.w.Write(append(b, data...))
	return err
}

// request serves one. An error of the card is the client's affair; one that is
// returned ends the session.
func (s *session) request() error {
	var head struct {
		Magic       uint32
		Flags, Type uint16
		Cookie      uint64
		Off         uint64
		Len         uint32
	}
	if err := binary.Read(s.r, binary.BigEndian, &head); err != nil {
		return err
	}
	if head.Magic != requestMagic || head.Len > maxRequest {
		return fmt.Errorf("request %d of %d bytes, magic %x", head.Type, head.Len, head.Magic)
	}
	reply := binary.BigEndian.AppendUint32(make([]byte, 0, 16), replyMagic)
	var data []byte
	var err error
	switch head.Type {
	case cmdRead:
		data = make([]byte, head.Len)
		_, err = s.card.ReadAt(data, int64(head.Off))
	case cmdWrite:
		in := make([]byte, head.Len)
		if _, err := io.ReadFull(s.r, in); err != nil {
			return err
		}
		_, err = s.card.WriteAt(in, int64(head.Off))
	case cmdFlush:
		err = s.card.Flush()
	case cmdDisc:
		return errDone
	default:
		err = errRange
	}
	if err != nil {
		data = nil
	}
	reply = binary.BigEndian.AppendUint32(reply, errno(err))
	reply = binary.BigEndian.AppendUint64(reply, head.Cookie)
	_, err = s.w.Write(append(reply, data...))
	return err
}

func errno(err error) uint32 {
	switch {
	case err == nil:
		return 0
	case errors.Is(err, ErrFull):
		return errnoNoSpc
	case errors.Is(err, errRange):
		return errnoInval
	default:
		return errnoIO
	}
}
