package engineio

import (
	"bytes"
	"encoding/base64"
	"errors"

	"github.com/jobcast/jobcast/transport/wire/rfc6455"
)

// Packet types, the first character of a packet in text.
const (
	typeOpen    = '0'
	typeClose   = '1'
	typePing    = '2'
	typePong    = '3'
	typeMessage = '4'
	typeUpgrade = '5'
	typeNoop    = '6'
	typeBinary  = 'b' // in text only: a binary message in base64
)

// separator stands between the packets of a payload. JSON never holds it raw.
const separator = 0x1e

// maxPackets bounds the packets of one payload.
const maxPackets = 1000

// Message is one message of the peer or for it.
type Message struct {
	Binary bool
	Data   []byte
}

// packet is one packet of the peer.
type packet struct {
	kind byte // one of the types; a binary message is a typeMessage
	Message
}

var errPacket = errors.New("engineio: not a packet")

// parsePacket reads a packet in text form. Its data is a part of text, except
// that of a binary message.
func parsePacket(text []byte) (packet, error) {
	if len(text) == 0 {
		return packet{}, errPacket
	}
	switch kind := text[0]; kind {
	case typeOpen, typeClose, typePing, typePong, typeMessage, typeUpgrade, typeNoop:
		return packet{kind, Message{Data: text[1:]}}, nil
	case typeBinary:
		return packet{typeMessage, Message{Binary: true, Data: decodeBase64(text[1:])}}, nil
	}
	return packet{}, errPacket
}

// decodeBase64 is as forgiving as the official server: it takes both alphabets,
// and leaves out what belongs to none.
func decodeBase64(text []byte) []byte {
	clean := make([]byte, 0, len(text))
	for _, c := range text {
		switch {
		case c >= 'A' && c <= 'Z', c >= 'a' && c <= 'z', c >= '0' && c <= '9', c == '+', c == '/':
			clean = append(clean, c)
		case c == '-':
			clean = append(clean, '+')
		case c == '_':
			clean = append(clean, '/')
		}
	}
	if len(clean)%4 == 1 { // six bits are no byte
		clean = clean[:len(clean)-1]
	}
	out := make([]byte, base64.RawStdEncoding.DecodedLen(len(clean)))
	n, _ := base64.RawStdEncoding.Decode(out, clean) // only the alphabet is left
	return out[:n]
}

// splitPayload calls each for the packets of a payload, in order, until it
// returns an error. Packets before a bad one are handed over.
func splitPayload(body []byte, each func(packet) error) error {
	for n := 0; ; n++ {
		text, rest, more := bytes.Cut(body, []byte{separator})
		if n == maxPackets {
			return errPacket
		}
		p, err := parsePacket(text)
		if err != nil {
			return err
		}
		if err := each(p); err != nil {
			return err
		}
		if !more {
			return nil
		}
		body = rest
	}
}

// Frame is a text message in a form that any number of sessions can share: as a
// WebSocket frame, of which long-polling uses what follows the header.
type Frame []byte

// NewFrame makes the frame of a message whose text is parts, one after the other.
func NewFrame(parts ...[]byte) Frame {
	n := 1
	for _, p := range parts {
		n += len(p)
	}
	f := rfc6455.AppendHeader(make([]byte, 0, n+10), rfc6455.OpText, n)
	f = append(f, typeMessage)
	for _, p := range parts {
		f = append(f, p...)
	}
	return f
}

// packet returns the packet inside the frame.
func (f Frame) packet() []byte {
	switch f[1] {
	case 126:
		return f[4:]
	case 127:
		return f[10:]
	}
	return f[2:]
}

// Text returns the message inside the frame.
func (f Frame) Text() []byte { return f.packet()[1:] }

// Writer collects what a session sends next, in the form of its transport.
type Writer struct {
	buf     []byte
	from    int  // where the payload begins in buf
	limit   int  // of len(buf)
	polling bool // one payload, else WebSocket frames
	base64  bool // the peer cannot take binary
}

// Full reports whether there is as much as one turn should send.
func (w *Writer) Full() bool { return len(w.buf) >= w.limit }

// Left returns how many bytes one turn should still send.
func (w *Writer) Left() int { return w.limit - len(w.buf) }

func (w *Writer) empty() bool { return len(w.buf) == w.from }

// Frame adds a shared message.
func (w *Writer) Frame(f Frame) {
	if w.polling {
		w.separate()
		w.buf = append(w.buf, f.packet()...)
		return
	}
	w.buf = append(w.buf, f...)
}

// Text adds a message whose text is parts, one after the other.
func (w *Writer) Text(parts ...[]byte) { w.text(typeMessage, parts...) }

// Binary adds a binary message.
func (w *Writer) Binary(data []byte) {
	if !w.polling && !w.base64 {
		w.buf = rfc6455.AppendFrame(w.buf, rfc6455.OpBinary, data)
		return
	}
	w.text(typeBinary, base64.StdEncoding.AppendEncode(nil, data))
}

// text adds a packet in text form.
func (w *Writer) text(kind byte, parts ...[]byte) {
	if w.polling {
		w.separate()
	} else {
		n := 1
		for _, p := range parts {
			n += len(p)
		}
		w.buf = rfc6455.AppendHeader(w.buf, rfc6455.OpText, n)
	}
	w.buf = append(w.buf, kind)
	for _, p := range parts {
		w.buf = append(w.buf, p...)
	}
}

func (w *Writer) separate() {
	if !w.empty() {
		w.buf = append(w.buf, separator)
	}
}
