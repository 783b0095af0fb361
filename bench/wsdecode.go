package main

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
)

// dialog is how a reader talks in messages over a WebSocket.
type dialog interface {
	// opened returns what the reader says first; nil: nothing.
	opened() []byte
	// message handles one text message and returns the reader's answer, if any.
	message(text []byte, see func(frame)) (answer []byte)
}

// wsDecoder reads a WebSocket (RFC 6455): the answer to the handshake, then
// frames as servers send them.
type wsDecoder struct {
	dialog  dialog
	began   bool
	pending []byte // an unfinished head, then an unfinished frame
	out     []byte
}

// wsRequest is a handshake.
func wsRequest(path, host, key string) []byte {
	return request("GET", path, host, key, "", "Connection: Upgrade", "Upgrade: websocket",
		"Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==")
}

func (d *wsDecoder) talk() []byte {
	out := d.out
	d.out = nil
	return out
}

func (d *wsDecoder) feed(p []byte, see func(frame)) error {
	if !d.began {
		d.pending = append(d.pending, p...)
		end := bytes.Index(d.pending, headEnd)
		if end < 0 {
			return d.bound()
		}
		if !bytes.HasPrefix(d.pending, []byte("HTTP/1.1 101 ")) {
			return fmt.Errorf("refused: %.300q", d.pending)
		}
		d.began = true
		p, d.pending = d.pending[end+len(headEnd):], nil
		d.say(0x81, d.dialog.opened())
	}
	p, err := d.finish(p, see)
	for err == nil {
		op, payload, rest, ok := serverFrame(p)
		if !ok {
			break
		}
		p = rest
		err = d.handle(op, payload, see)
	}
	d.pending = append(d.pending, p...)
	return errors.Join(err, d.bound())
}

// finish completes a frame that began in an earlier read, and returns what is left
// of p. Only that one frame is copied.
func (d *wsDecoder) finish(p []byte, see func(frame)) ([]byte, error) {
	for len(d.pending) > 0 && len(p) > 0 {
		n := min(lacking(d.pending), len(p))
		d.pending = append(d.pending, p[:n]...)
		p = p[n:]
		if op, payload, _, ok := serverFrame(d.pending); ok {
			d.pending = d.pending[:0]
			return p, d.handle(op, payload, see)
		}
	}
	return p, nil
}

// handle answers one frame.
func (d *wsDecoder) handle(op byte, payload []byte, see func(frame)) error {
	switch op {
	case 0x1:
		d.say(0x81, d.dialog.message(payload, see))
	case 0x8:
		return errors.New("the server closed the WebSocket")
	case 0x9:
		d.say(0x8A, payload)
		if len(payload) == 0 {
			d.out = append(d.out, 0x8A, 0x80, 0, 0, 0, 0)
		}
	}
	return nil
}

// bound refuses to hold too much of what is not whole.
func (d *wsDecoder) bound() error {
	if len(d.pending) > maxPending {
		return errTooLong
	}
	return nil
}

// frameSize reads the head of a frame; 0: it is not whole.
func frameSize(p []byte) (head, size int) {
	if len(p) < 2 {
		return 0, 0
	}
	switch n := int(p[1] & 0x7F); {
	case n < 126:
		return 2, 2 + n
	case n == 126 && len(p) >= 4:
		return 4, 4 + int(binary.BigEndian.Uint16(p[2:]))
	case n == 127 && len(p) >= 10:
		return 10, 10 + int(min(binary.BigEndian.Uint64(p[2:]), 2*maxPending)) // too long anyway
	}
	return 0, 0
}

// lacking returns how many bytes more are to be had before there is something new
// to say of an unfinished frame.
func lacking(p []byte) int {
	if _, size := frameSize(p); size > 0 {
		return size - len(p)
	}
	return 1
}

// serverFrame splits a whole frame off p.
func serverFrame(p []byte) (op byte, payload, rest []byte, ok bool) {
	head, size := frameSize(p)
	if size == 0 || len(p) < size {
		return 0, nil, nil, false
	}
	return p[0] & 0x0F, p[head:size], p[size:], true
}

// say adds a masked frame; the mask is all zeros, which costs the generator
// nothing and the server the same.
func (d *wsDecoder) say(first byte, text []byte) {
	if len(text) == 0 {
		return
	}
	d.out = append(d.out, first)
	if len(text) < 126 {
		d.out = append(d.out, 0x80|byte(len(text)))
	} else {
		d.out = append(d.out, 0x80|126, byte(len(text)>>8), byte(len(text)))
	}
	d.out = append(append(d.out, 0, 0, 0, 0), text...)
}

// live is the frame by which a decoder says that its reader has its room.
var live = frame{name: []byte("live")}

// seeEvent hands over an event that is somewhere in text, its id as at remembers.
func seeEvent(text []byte, at *spot, see func(frame)) {
	id := at.member(text, idMember)
	see(frame{id: id, seq: seqOf(id), data: text})
}

// jobcastDialog speaks jobcast's own WebSocket.
type jobcastDialog struct {
	room  string
	after string // cursor to go on from; empty: the beginning
	id    spot
}

func (d *jobcastDialog) opened() []byte {
	return []byte(`{"event":"subscribe","data":{"jobId":"` + d.room + `","lastEventId":"` + d.after + `"}}`)
}

func (d *jobcastDialog) message(text []byte, see func(frame)) []byte {
	switch {
	case bytes.HasPrefix(text, []byte(`{"event":"job.event"`)):
		seeEvent(text, &d.id, see)
	case bytes.HasPrefix(text, []byte(`{"event":"live"`)):
		see(live)
	case bytes.HasPrefix(text, []byte(`{"event":"ping"`)):
		return []byte(`{"event":"pong","data":{}}`)
	}
	return nil
}

// socketioDialog speaks Socket.IO on /jobs. ready is the event after which a
// room is live. With the pid and offset of an earlier connection it goes on with
// that one's session; a server that begins another has everything told again.
type socketioDialog struct {
	room, key, ready string
	pid              string
	offset           []byte // the newest
	id               spot
}

func (d *socketioDialog) opened() []byte { return nil }

func (d *socketioDialog) message(text []byte, see func(frame)) []byte {
	if event, ok := bytes.CutSuffix(text, []byte(`"]`)); ok && bytes.HasPrefix(text, []byte(`42/jobs,[`)) {
		d.offset = append(d.offset[:0], event[bytes.LastIndexByte(event, '"')+1:]...)
	}
	switch {
	case len(text) == 0:
	case text[0] == '0' && d.pid != "":
		return []byte(`40/jobs,{"apiKey":"` + d.key + `","pid":"` + d.pid + `","offset":"` + string(d.offset) + `"}`)
	case text[0] == '0':
		return []byte(`40/jobs,{"apiKey":"` + d.key + `"}`)
	case text[0] == '2':
		return []byte("3")
	case bytes.HasPrefix(text, []byte(`40/jobs,`)):
		old := d.pid
		if d.pid = string(member(text, `"pid":"`)); d.pid == old && old != "" {
			return nil // the session goes on, with its rooms
		}
		return []byte(`42/jobs,["subscribe",{"jobId":"` + d.room + `","from":"start"}]`)
	case bytes.HasPrefix(text, []byte(`42/jobs,["job.event"`)):
		seeEvent(text, &d.id, see)
	case bytes.HasPrefix(text, []byte(`42/jobs,["`+d.ready+`"`)):
		see(live)
	}
	return nil
}

// centrifugeDialog speaks centrifuge's JSON protocol.
type centrifugeDialog struct {
	room, key string
	id        spot
}

func (d *centrifugeDialog) opened() []byte {
	return []byte(`{"id":1,"connect":{"token":"` + d.key + `"}}`)
}

func (d *centrifugeDialog) message(text []byte, see func(frame)) (answer []byte) {
	for line := range bytes.SplitSeq(text, []byte("\n")) { // a frame may hold several
		switch {
		case string(line) == "{}": // a ping
			answer = []byte("{}")
		case bytes.HasPrefix(line, []byte(`{"push":`)):
			seeEvent(line, &d.id, see)
		case bytes.HasPrefix(line, []byte(`{"id":1,`)):
			answer = []byte(`{"id":2,"subscribe":{"channel":"job:` + d.room + `"}}`)
		case bytes.HasPrefix(line, []byte(`{"id":2,`)):
			see(live)
		}
	}
	return answer
}
