package contract

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"encoding/json"
	"io"
	"regexp"
)

var offsets = regexp.MustCompile(`^[0-9a-z]+-\d+(\.\d+\.\d+)?$`)

// socket checks what went over a WebSocket. What the client said is looked at only if the
// server had nothing against any of it.
func (l *look) socket(path string, client, server *bufio.Reader) {
	heard, refused := texts(server)
	engine := path == "/socket.io/"
	for _, m := range heard {
		if engine {
			l.packet(m)
		} else {
			l.named("webSocket", m)
		}
		refused = refused || objects(m)
	}
	said, _ := texts(client)
	for _, m := range said {
		switch kind, data := inJobs(m); {
		case refused:
		case kind == '2':
			l.said(data)
		case !engine:
			l.named("webSocket", m)
		}
	}
}

// objects reports whether a message of the server is about one of the client's that it
// refuses.
func objects(m []byte) bool {
	kind, data := inJobs(m)
	return bytes.HasPrefix(m, []byte(`{"event":"error"`)) || kind == '4' || bytes.HasPrefix(data, []byte(`["error"`)) ||
		kind == '3' && bytes.Contains(data, []byte(`"code":`))
}

// said checks an event of a client of Socket.IO.
func (l *look) said(data []byte) {
	var args []json.RawMessage
	var name string
	if json.Unmarshal(data, &args) != nil || len(args) < 2 || json.Unmarshal(args[0], &name) != nil {
		return
	}
	if name == "subscribe" || name == "unsubscribe" { // there is nothing to say of the others
		l.message("socketIO", name, args[1])
	}
}

// Opcodes and bits of frames (RFC 6455 5.2).
const (
	opContinuation = 0x0
	opText         = 0x1
	opClose        = 0x8
	finBit         = 0x80
	maskBit        = 0x80
)

// texts returns the whole text messages of one direction of a WebSocket, and whether it was
// closed for a reason.
func texts(r *bufio.Reader) (all [][]byte, closed bool) {
	var message []byte
	for {
		head, payload, err := frame(r)
		if err != nil {
			return all, closed
		}
		switch head & 0x0f {
		case opText:
			message = payload
		case opContinuation:
			message = append(message, payload...)
		case opClose:
			closed = true
			continue
		default:
			continue
		}
		if head&finBit != 0 && message != nil {
			all = append(all, message)
			message = nil
		}
	}
}

// frame reads one frame and takes its mask off.
func frame(r *bufio.Reader) (head byte, payload []byte, err error) {
	var start [2]byte
	if _, err := io.ReadFull(r, start[:]); err != nil {
		return 0, nil, err
	}
	n := uint64(start[1] &^ maskBit)
	if n >= 126 {
		ext := make([]byte, map[uint64]int{126: 2, 127: 8}[n])
		if _, err := io.ReadFull(r, ext); err != nil {
			return 0, nil, err
		}
		n = binary.BigEndian.Uint64(append(make([]byte, 8-len(ext)), ext...))
	}
	var mask [4]byte
	if start[1]&maskBit != 0 {
		if _, err := io.ReadFull(r, mask[:]); err != nil {
			return 0, nil, err
		}
	}
	if n > maxKept {
		return 0, nil, io.ErrUnexpectedEOF
	}
	payload = make([]byte, n)
	if _, err := io.ReadFull(r, payload); err != nil {
		return 0, nil, err
	}
	for i := range payload {
		payload[i] ^= mask[i&3]
	}
	return start[0], payload, nil
}
