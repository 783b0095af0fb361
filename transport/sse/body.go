package sse

import (
	"time"

	"github.com/jobcast/jobcast/transport"
	"github.com/jobcast/jobcast/transport/wire"
)

// body writes frames as the body of one response.
type body struct {
	format  transport.EventFormat
	chunked bool
	head    []byte // sent first, then nil
	intro   []byte // likewise
}

// begin sends the head and the first frames once.
func (b *body) begin(buf []byte) []byte {
	if b.head == nil {
		return buf
	}
	buf = append(buf, b.head...)
	if b.chunked {
		buf = append(buf, "Transfer-Encoding: chunked\r\n"...)
	}
	buf = append(buf, "Connection: close\r\n\r\n"...)
	buf = b.appendBody(buf, b.intro)
	b.head, b.intro = nil, nil
	return buf
}

// appendFrame appends a control frame in the stream's format.
func (b *body) appendFrame(dst []byte, f transport.Frame) []byte {
	if b.format == transport.EventStream {
		return appendSSE(dst, f)
	}
	return appendLine(dst, f.Event, f.MarshalData())
}

func (b *body) appendChunk(buf []byte, f transport.Frame) []byte {
	return b.appendBody(buf, b.appendFrame(nil, f))
}

func (b *body) appendBody(buf, text []byte) []byte {
	if b.chunked {
		return wire.AppendChunk(buf, text)
	}
	return append(buf, text...)
}

func (b *body) finish(buf []byte) []byte {
	if b.chunked {
		buf = append(buf, wire.LastChunk...)
	}
	return buf
}

// goodbye says when to come back, and ends the body.
func (b *body) goodbye(buf []byte, retry time.Duration, cursor string) []byte {
	var text []byte
	if b.format == transport.EventStream {
		text = appendRetry(nil, retry)
	}
	text = b.appendFrame(text, transport.ReconnectFrame(retry, cursor))
	return b.finish(b.appendBody(buf, text))
}
