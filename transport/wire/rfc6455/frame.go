package rfc6455

import (
	"encoding/binary"
	"errors"
	"io"
	"slices"
	"sync"
	"unicode/utf8"
)

// Opcodes of RFC 6455 11.8.
const (
	OpContinuation = 0x0
	OpText         = 0x1
	OpBinary       = 0x2
	OpClose        = 0x8
	OpPing         = 0x9
	OpPong         = 0xA
)

// Close codes of RFC 6455 7.4 and its registry.
const (
	CloseProtocol    = 1002
	CloseUnsupported = 1003
	CloseNotUTF8     = 1007
	ClosePolicy      = 1008
	CloseTooBig      = 1009
	CloseDrain       = 1012
	CloseLater       = 1013
)

// Limits on what a peer may send. They keep one connection from filling memory
// or a processor.
const (
	maxFragments = 64  // frames of one message; empty ones would go on for ever
	maxControl   = 125 // RFC 6455 5.5
)

// CloseError ends a connection with a close code.
type CloseError struct {
	Code   int
	Reason string // at most 123 bytes, no secret
}

func (e *CloseError) Error() string { return e.Reason }

// Message is one whole message or control frame from the peer.
type Message struct {
	Op   byte
	Data []byte // valid until the next read
}

// Decoder reads client frames. While it waits for the first byte of a message it has
// only scratchBytes, and between two messages nothing, so an idle connection costs
// next to nothing.
type Decoder struct {
	R          io.Reader
	Early      []byte // is read before R; nil once it was. Next may leave some of what it has read here
	MaxMessage int    // bytes of one message, over all its fragments

	scratch *[scratchBytes]byte // what Early is a part of; nil between messages

	open *fragments // the message at hand, if it comes in several frames
}

// fragments are those frames of a message that are there.
type fragments struct {
	op   byte
	n    int
	data []byte
}

// scratchBytes is how much is read at once, so that most messages, which are small,
// take one read and not one for each part of a frame.
const scratchBytes = 1 << 10

var scratches = sync.Pool{New: func() any { return new([scratchBytes]byte) }}

// frameHead is a decoded frame header.
type frameHead struct {
	op     byte
	fin    bool
	length uint64
	mask   [4]byte
}

// Next returns the next message or control frame. Its error is io's, or a
// *CloseError for what breaks the protocol.
func (d *Decoder) Next() (Message, error) {
	defer d.rest()
	for {
		h, err := d.header()
		if err != nil {
			return Message{}, err
		}
		if h.op >= OpClose {
			payload, err := d.payload(nil, h)
			return Message{Op: h.op, Data: payload}, err
		}
		var f fragments
		if d.open != nil {
			f = *d.open
		}
		if err := f.add(h, d.MaxMessage); err != nil {
			return Message{}, err
		}
		if f.data, err = d.payload(f.data, h); err != nil {
			return Message{}, err
		}
		if !h.fin {
			if d.open == nil {
				d.open = new(fragments)
			}
			*d.open = f
			continue
		}
		d.open = nil
		if f.op == OpText && !utf8.Valid(f.data) {
			return Message{}, &CloseError{CloseNotUTF8, "text is not UTF-8"}
		}
		return Message{Op: f.op, Data: f.data}, nil
	}
}

// read fills p.
func (d *Decoder) read(p []byte) error {
	had := false
	for len(p) >= scratchBytes {
		n := d.early(p)
		if n == 0 {
			var err error
			if n, err = d.R.Read(p); n == 0 && err != nil {
				return ended(err, had)
			}
		}
		p, had = p[n:], had || n > 0
	}
	return d.readShort(p, had)
}

// readShort is read by way of the buffer, so that p may be on the stack; had says that
// something was read before it.
func (d *Decoder) readShort(p []byte, had bool) error {
	for {
		n := d.early(p)
		if p, had = p[n:], had || n > 0; len(p) == 0 {
			return nil
		}
		if d.scratch == nil {
			d.scratch = scratches.Get().(*[scratchBytes]byte)
		}
		n, err := d.R.Read(d.scratch[:])
		d.Early = d.scratch[:n]
		if n == 0 && err != nil {
			return ended(err, had)
		}
	}
}

// early fills p as far as there is something already.
func (d *Decoder) early(p []byte) int {
	n := copy(p, d.Early)
	d.Early = d.Early[n:]
	return n
}

// rest gives the buffer back once all of it was read.
func (d *Decoder) rest() {
	if len(d.Early) > 0 {
		return
	}
	d.Early = nil
	if d.scratch != nil {
		scratches.Put(d.scratch)
		d.scratch = nil
	}
}

// add checks a data frame against the message at hand, whose next one it is.
func (f *fragments) add(h frameHead, maxMessage int) error {
	switch {
	case h.op == OpContinuation && f.n == 0:
		return &CloseError{CloseProtocol, "continuation of nothing"}
	case h.op != OpContinuation && f.n > 0:
		return &CloseError{CloseProtocol, "a message begins inside another"}
	case f.n == 0:
		f.op = h.op
	}
	if f.n++; f.n > maxFragments {
		return &CloseError{CloseTooBig, "too many fragments"}
	}
	if h.length > uint64(maxMessage) || uint64(len(f.data))+h.length > uint64(maxMessage) {
		return &CloseError{CloseTooBig, "message too big"}
	}
	return nil
}

// header reads and checks one frame header.
func (d *Decoder) header() (h frameHead, err error) {
	var head [14]byte // 2 bytes, 8 of length, 4 of mask
	if err := d.readShort(head[:2], false); err != nil {
		return h, err
	}
	h.fin, h.op = head[0]&0x80 != 0, head[0]&0x0F
	short := head[1] & 0x7F
	switch {
	case head[0]&0x70 != 0:
		return h, &CloseError{CloseProtocol, "reserved bits are set"}
	case h.op > OpBinary && h.op < OpClose || h.op > OpPong:
		return h, &CloseError{CloseProtocol, "unknown opcode"}
	case head[1]&0x80 == 0:
		return h, &CloseError{CloseProtocol, "frame is not masked"}
	case h.op >= OpClose && (!h.fin || short > maxControl):
		return h, &CloseError{CloseProtocol, "bad control frame"}
	}
	extra := 4
	switch short {
	case 126:
		extra += 2
	case 127:
		extra += 8
	}
	b := head[2 : 2+extra]
	if err := d.readShort(b, true); err != nil {
		return h, err
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

// payload appends a frame's unmasked payload to dst. Its length was checked, but
// memory follows what arrives, not what is announced.
func (d *Decoder) payload(dst []byte, h frameHead) ([]byte, error) {
	from := len(dst)
	for left := int(h.length); left > 0; {
		n := min(left, 4<<10)
		at := len(dst)
		dst = slices.Grow(dst, n)[:at+n]
		if err := d.read(dst[at:]); err != nil {
			return dst, unexpected(err)
		}
		left -= n
	}
	for i := range dst[from:] {
		dst[from+i] ^= h.mask[i&3]
	}
	return dst, nil
}

// ended is the error of a read that filled a part of what it should.
func ended(err error, had bool) error {
	if had {
		return unexpected(err)
	}
	return err
}

// unexpected: an end inside a frame is no clean end.
func unexpected(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// AppendFrame appends an unmasked frame, as servers send them.
func AppendFrame(dst []byte, op byte, payload []byte) []byte {
	return append(AppendHeader(dst, op, len(payload)), payload...)
}

// AppendHeader appends the header of an unmasked frame whose payload of n bytes
// the caller appends.
func AppendHeader(dst []byte, op byte, n int) []byte {
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
	return dst
}

// AppendClose appends a close frame.
func AppendClose(dst []byte, code int, reason string) []byte {
	if code == 0 {
		return AppendFrame(dst, OpClose, nil)
	}
	payload := append([]byte{byte(code >> 8), byte(code)}, reason[:min(len(reason), maxControl-2)]...)
	return AppendFrame(dst, OpClose, payload)
}

// CloseCode reads the code of a peer's close frame (RFC 6455 7.4); the reply
// repeats it. 0: there was none.
func CloseCode(payload []byte) int {
	if len(payload) == 0 {
		return 0
	}
	if len(payload) == 1 || !utf8.Valid(payload[2:]) {
		return CloseProtocol
	}
	code := int(binary.BigEndian.Uint16(payload))
	switch {
	case code >= 1000 && code <= 1003, code >= 1007 && code <= 1014, code >= 3000 && code <= 4999:
		return code
	}
	return CloseProtocol
}
