package ws

import (
	"encoding/binary"
	"errors"
	"io"
	"unicode/utf8"
)

// Opcodes of RFC 6455 11.8.
const (
	opContinuation = 0x0
	opText         = 0x1
	opBinary       = 0x2
	opClose        = 0x8
	opPing         = 0x9
	opPong         = 0xA
)

// Close codes. Those of RFC 6455 7.4 mean what they mean there; after 40xx the
// peer may come back, after 45xx it need not try.
const (
	closeProtocol    = 1002
	closeUnsupported = 1003
	closeNotUTF8     = 1007
	closeTooBig      = 1009
	closeDrain       = 1012
	closeLater       = 1013
	closeSilent      = 4009 // no sign of life
	closeLimit       = 4029
	closeMalformed   = 4500
	closeCredential  = 4501 // the credential has ended
)

// Limits on what a peer may send. They keep one connection from filling memory
// or a processor.
const (
	maxMessage   = 64 << 10 // bytes of one message, over all its fragments
	maxFragments = 64       // frames of one message; empty ones would go on for ever
	maxControl   = 125      // RFC 6455 5.5
)

// closeError ends a connection with a close code.
type closeError struct {
	code   int
	reason string // at most 123 bytes, no secret
}

func (e *closeError) Error() string { return e.reason }

// message is one whole message or control frame from the peer.
type message struct {
	op   byte
	data []byte // valid until the next read
}

// decoder reads client frames. It has no buffer beyond its header and the
// message at hand, so an idle connection costs next to nothing.
type decoder struct {
	r    io.Reader
	head [14]byte // of the frame at hand: 2 bytes, 8 of length, 4 of mask
	data []byte   // of a fragmented message so far

	op        byte // of the message at hand; 0: none is begun
	fragments int
}

// frameHead is a decoded frame header.
type frameHead struct {
	op     byte
	fin    bool
	length uint64
	mask   [4]byte
}

// next returns the next message or control frame. Its error is io's, or a
// *closeError for what breaks the protocol.
func (d *decoder) next() (message, error) {
	for {
		h, err := d.header()
		if err != nil {
			return message{}, err
		}
		if h.op >= opClose {
			payload, err := d.payload(nil, h)
			return message{op: h.op, data: payload}, err
		}
		if err := d.begin(h); err != nil {
			return message{}, err
		}
		if d.data, err = d.payload(d.data, h); err != nil {
			return message{}, err
		}
		if !h.fin {
			continue
		}
		m := message{op: d.op, data: d.data}
		d.op, d.fragments, d.data = 0, 0, nil
		if m.op == opText && !utf8.Valid(m.data) {
			return message{}, &closeError{closeNotUTF8, "text is not UTF-8"}
		}
		return m, nil
	}
}

// begin checks a data frame against the message at hand.
func (d *decoder) begin(h frameHead) error {
	if h.op == opContinuation {
		if d.op == 0 {
			return &closeError{closeProtocol, "continuation of nothing"}
		}
	} else {
		if d.op != 0 {
			return &closeError{closeProtocol, "a message begins inside another"}
		}
		d.op = h.op
	}
	if d.fragments++; d.fragments > maxFragments {
		return &closeError{closeTooBig, "too many fragments"}
	}
	if h.length > maxMessage || uint64(len(d.data))+h.length > maxMessage {
		return &closeError{closeTooBig, "message too big"}
	}
	return nil
}

// header reads and checks one frame header.
func (d *decoder) header() (h frameHead, err error) {
	if _, err := io.ReadFull(d.r, d.head[:2]); err != nil {
		return h, err
	}
	h.fin, h.op = d.head[0]&0x80 != 0, d.head[0]&0x0F
	short := d.head[1] & 0x7F
	switch {
	case d.head[0]&0x70 != 0:
		return h, &closeError{closeProtocol, "reserved bits are set"}
	case h.op > opBinary && h.op < opClose || h.op > opPong:
		return h, &closeError{closeProtocol, "unknown opcode"}
	case d.head[1]&0x80 == 0:
		return h, &closeError{closeProtocol, "frame is not masked"}
	case h.op >= opClose && (!h.fin || short > maxControl):
		return h, &closeError{closeProtocol, "bad control frame"}
	}
	extra := 4
	switch short {
	case 126:
		extra += 2
	case 127:
		extra += 8
	}
	b := d.head[2 : 2+extra]
	if _, err := io.ReadFull(d.r, b); err != nil {
		return h, unexpected(err)
	}
	switch short {
	case 126:
		h.length = uint64(binary.BigEndian.Uint16(b))
	case 127:
		h.length = binary.BigEndian.Uint64(b)
	default:
		h.length = uint64(short)
	}
	copy(h.mask[:], b[extra-4:])
	return h, nil
}

// payload appends a frame's unmasked payload to dst. Its length was checked.
func (d *decoder) payload(dst []byte, h frameHead) ([]byte, error) {
	from := len(dst)
	dst = append(dst, make([]byte, h.length)...)
	part := dst[from:]
	if _, err := io.ReadFull(d.r, part); err != nil {
		return dst, unexpected(err)
	}
	for i := range part {
		part[i] ^= h.mask[i&3]
	}
	return dst, nil
}

// unexpected: an end inside a frame is no clean end.
func unexpected(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// appendFrame appends an unmasked frame, as servers send them.
func appendFrame(dst []byte, op byte, payload []byte) []byte {
	n := len(payload)
	dst = append(dst, 0x80|op)
	switch {
	case n < 126:
		dst = append(dst, byte(n))
	case n < 1<<16:
		dst = append(dst, 126, byte(n>>8), byte(n))
	default:
		dst = append(dst, 127)
		dst = binary.BigEndian.AppendUint64(dst, uint64(n))
	}
	return append(dst, payload...)
}

// appendClose appends a close frame.
func appendClose(dst []byte, code int, reason string) []byte {
	if code == 0 {
		return appendFrame(dst, opClose, nil)
	}
	payload := append([]byte{byte(code >> 8), byte(code)}, reason[:min(len(reason), maxControl-2)]...)
	return appendFrame(dst, opClose, payload)
}

// closeCode reads the code of a peer's close frame (RFC 6455 7.4); the reply
// repeats it. 0: there was none.
func closeCode(payload []byte) int {
	if len(payload) == 0 {
		return 0
	}
	if len(payload) == 1 || !utf8.Valid(payload[2:]) {
		return closeProtocol
	}
	code := int(binary.BigEndian.Uint16(payload))
	switch {
	case code >= 1000 && code <= 1003, code >= 1007 && code <= 1014, code >= 3000 && code <= 4999:
		return code
	}
	return closeProtocol
}
