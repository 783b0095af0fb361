package main

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"
)

// frame is one message of a stream. Its slices are valid only while it is handled.
type frame struct {
	name []byte // of a control frame; empty: an event
	id   []byte // of an event
	seq  uint64 // number of an event in its log, from its id; 0: it has none
	data []byte
}

// decoder turns the bytes of one connection into frames. Another kind of server
// is read by another decoder.
type decoder interface {
	// feed takes what was just read, may overwrite it, and hands each frame
	// that is now complete to see. An error ends the connection.
	feed(p []byte, see func(frame)) error
}

// talker is a decoder whose connection has something to say too.
type talker interface {
	// talk returns what is to be sent now, and forgets it.
	talk() []byte
}

// maxPending bounds what one connection may hold of an unfinished head or frame:
// an event has at most 64 KiB.
const maxPending = 128 << 10

var errTooLong = errors.New("a frame or head is longer than 128 KiB")

// sseDecoder reads an HTTP/1.1 response of Server-Sent Events: the head, the
// chunks (RFC 9112 7.1), the frames. The zero value is ready.
type sseDecoder struct {
	began   bool   // the head is over
	pending []byte // an unfinished head, then an unfinished frame
	chunks  dechunker
}

func (d *sseDecoder) feed(p []byte, see func(frame)) error {
	if !d.began {
		var err error
		if p, err = d.head(p); err != nil || !d.began {
			return err
		}
	}
	body, err := d.chunks.body(p)
	if err != nil {
		return err
	}
	if body = d.finish(body, see); len(d.pending) > maxPending {
		return errTooLong
	}
	for {
		end := bytes.Index(body, blankLine)
		if end < 0 {
			break
		}
		see(parseFrame(body[:end]))
		body = body[end+len(blankLine):]
	}
	d.pending = append(d.pending, body...)
	if len(d.pending) > maxPending {
		return errTooLong
	}
	return nil
}

var (
	blankLine = []byte("\n\n")
	headEnd   = []byte("\r\n\r\n")
)

// head consumes the response's head and returns what follows it.
func (d *sseDecoder) head(p []byte) ([]byte, error) {
	d.pending = append(d.pending, p...)
	end := bytes.Index(d.pending, headEnd)
	if end < 0 {
		if len(d.pending) > maxPending {
			return nil, errTooLong
		}
		return nil, nil
	}
	head, rest := d.pending[:end], d.pending[end+len(headEnd):]
	status, _, _ := bytes.Cut(head, []byte("\r\n"))
	if !bytes.HasPrefix(status, []byte("HTTP/1.1 200 ")) {
		return nil, fmt.Errorf("refused: %.300q", d.pending)
	}
	if !bytes.Contains(bytes.ToLower(head), []byte("\r\ntransfer-encoding: chunked")) {
		return nil, errors.New("the response is not chunked")
	}
	d.began, d.pending = true, nil
	return rest, nil
}

// finish completes a frame that began in an earlier read, and returns what is
// left of body. Only that one frame is copied.
func (d *sseDecoder) finish(body []byte, see func(frame)) []byte {
	if len(d.pending) == 0 || len(body) == 0 {
		return body
	}
	n := len(body)
	if d.pending[len(d.pending)-1] == '\n' && body[0] == '\n' {
		n = 1
	} else if end := bytes.Index(body, blankLine); end >= 0 {
		n = end + len(blankLine)
	}
	d.pending = append(d.pending, body[:n]...)
	if bytes.HasSuffix(d.pending, blankLine) {
		see(parseFrame(d.pending[:len(d.pending)-len(blankLine)]))
		d.pending = d.pending[:0]
	}
	return body[n:]
}

// parseFrame reads the lines of one frame. A comment is a frame named ":", and
// a frame without data, such as `retry:`, is named so too: neither is an event.
func parseFrame(block []byte) frame {
	var f frame
	for len(block) > 0 {
		line := block
		if end := bytes.IndexByte(block, '\n'); end >= 0 {
			line, block = block[:end], block[end+1:]
		} else {
			block = nil
		}
		if v, ok := bytes.CutPrefix(line, []byte("id: ")); ok {
			f.id, f.seq = v, seqOf(v)
		} else if v, ok := bytes.CutPrefix(line, []byte("event: ")); ok {
			f.name = v
		} else if v, ok := bytes.CutPrefix(line, []byte("data: ")); ok {
			f.data = v
		}
	}
	if f.data == nil {
		f.name = []byte(":")
	}
	return f
}

// seqOf returns the number of a cursor `<epoch>-<seq>`, 0 if it has none.
func seqOf(id []byte) uint64 {
	return number(id[bytes.IndexByte(id, '-')+1:])
}

// number reads the digits that b begins with; 0 if there are none.
func number(b []byte) uint64 {
	n := uint64(0)
	for _, c := range b {
		if c < '0' || c > '9' {
			break
		}
		n = n*10 + uint64(c-'0')
	}
	return n
}

// ownNumber returns the second number of a message.
func ownNumber(message []byte) uint64 {
	_, rest, _ := bytes.Cut(message, []byte(" "))
	return number(rest)
}

// member returns what follows `"name":"` in a compact JSON object, up to the
// next quote. It is for the few plain texts that the scenarios look at.
func member(data []byte, key string) []byte {
	var s spot
	return s.member(data, key)
}

// spot is where a member was in the object before, for many objects that are alike:
// it is looked for there first. The zero value is ready.
type spot int

// member is the function of that name. A spot is for one key.
func (s *spot) member(data []byte, key string) []byte {
	at := int(*s)
	if end := at + len(key); end > len(data) || string(data[at:end]) != key {
		if at = bytes.Index(data, []byte(key)); at < 0 {
			return nil
		}
		*s = spot(at)
	}
	value := data[at+len(key):]
	end := bytes.IndexByte(value, '"')
	if end < 0 {
		return nil
	}
	return value[:end]
}

// The members that scenarios look at.
const (
	typeMember    = `"type":"`
	messageMember = `"message":"`
	idMember      = `"id":"`
)

// dechunker strips the framing of chunks. The zero value is ready.
type dechunker struct {
	left int    // bytes of the current chunk's data still to come
	line []byte // an unfinished line between two chunks
}

// maxSizeLine bounds a line between chunks: a number and perhaps extensions.
const maxSizeLine = 256

// body returns the data in p, which it overwrites.
func (d *dechunker) body(p []byte) ([]byte, error) {
	out := p[:0]
	for len(p) > 0 {
		if d.left > 0 {
			n := min(d.left, len(p))
			out = append(out, p[:n]...)
			p, d.left = p[n:], d.left-n
			continue
		}
		end := bytes.IndexByte(p, '\n')
		if end < 0 {
			if d.line = append(d.line, p...); len(d.line) > maxSizeLine {
				return nil, errTooLong
			}
			return out, nil
		}
		d.line = append(d.line, p[:end]...)
		p = p[end+1:]
		size := bytes.TrimSuffix(d.line, []byte("\r"))
		d.line = d.line[:0]
		if len(size) == 0 { // ends the data of the chunk before
			continue
		}
		size, _, _ = bytes.Cut(size, []byte(";"))
		n, err := strconv.ParseUint(string(size), 16, 31)
		if err != nil {
			return nil, fmt.Errorf("chunk size %q: %w", size, err)
		}
		d.left = int(n)
	}
	return out, nil
}
