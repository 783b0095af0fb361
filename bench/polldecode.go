package main

import (
	"bytes"
	"fmt"
	"strconv"
)

// pollDecoder is a Socket.IO client on HTTP long-polling over one connection that
// is kept open, as browsers keep theirs: handshake, CONNECT, subscribe, then one
// poll after the other, and a POST for each ping.
type pollDecoder struct {
	dialog  socketioDialog
	host    string
	sid     string
	asked   int      // requests so far
	owed    []string // packets to be posted before the next poll
	pending []byte
	out     []byte
}

func newPollDecoder(host string, d socketioDialog) ([]byte, *pollDecoder) {
	p := &pollDecoder{dialog: d, host: host}
	p.get()
	first := p.talk()
	return first, p
}

func (d *pollDecoder) talk() []byte {
	out := d.out
	d.out = nil
	return out
}

// path never repeats itself, as that of the official client.
func (d *pollDecoder) path() string {
	d.asked++
	path := "/socket.io/?EIO=4&transport=polling&t=" + strconv.FormatInt(int64(d.asked), 36)
	if d.sid == "" {
		return path
	}
	return path + "&sid=" + d.sid
}

func (d *pollDecoder) get() {
	d.out = append(d.out, "GET "+d.path()+" HTTP/1.1\r\nHost: "+d.host+"\r\n\r\n"...)
}

func (d *pollDecoder) post(packet string) {
	d.out = append(d.out, fmt.Sprintf("POST %s HTTP/1.1\r\nHost: %s\r\nContent-Type: text/plain;charset=UTF-8\r\nContent-Length: %d\r\n\r\n%s",
		d.path(), d.host, len(packet), packet)...)
}

// next sends the next request: one is under way at any time.
func (d *pollDecoder) next() {
	if len(d.owed) == 0 {
		d.get()
		return
	}
	d.post(d.owed[0])
	d.owed = d.owed[1:]
}

func (d *pollDecoder) feed(p []byte, see func(frame)) error {
	d.pending = append(d.pending, p...)
	for {
		end := bytes.Index(d.pending, headEnd)
		if end < 0 {
			return nil
		}
		head := bytes.ToLower(d.pending[:end])
		at := bytes.Index(head, []byte("content-length: "))
		if !bytes.HasPrefix(head, []byte("http/1.1 200 ")) || at < 0 {
			return fmt.Errorf("refused: %.300q", d.pending)
		}
		n := int(number(head[at+len("content-length: "):]))
		if n > 16<<20 {
			return errTooLong
		}
		body := d.pending[end+len(headEnd):]
		if len(body) < n {
			return nil
		}
		d.payload(body[:n], see)
		d.pending = append(d.pending[:0], body[n:]...)
		d.next()
	}
}

// payload handles the packets of one answer.
func (d *pollDecoder) payload(body []byte, see func(frame)) {
	if string(body) == "ok" {
		return
	}
	for text := range bytes.SplitSeq(body, []byte{0x1e}) {
		if d.sid == "" {
			d.sid = string(member(text, `"sid":"`))
		}
		if answer := d.dialog.message(text, see); answer != nil {
			d.owed = append(d.owed, string(answer))
		}
	}
}
