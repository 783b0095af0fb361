package socketio

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"unicode/utf8"

	"github.com/jobcast/jobcast/jobs"
)

// Packet types.
const (
	typeConnect      = '0'
	typeDisconnect   = '1'
	typeEvent        = '2'
	typeAck          = '3'
	typeConnectError = '4'
	typeBinaryEvent  = '5'
	typeBinaryAck    = '6'
)

// Limits of a packet.
const (
	maxNamespace   = 128 // bytes
	maxAckDigits   = 15  // so that it fits in a JavaScript number
	maxAttachments = 10  // as in the official parser since 4.2.6
)

// noID is the id of a packet that wants no acknowledgement.
const noID = -1

// packet is a decoded header and payload.
type packet struct {
	kind        byte
	attachments int    // how many binary messages follow
	namespace   string // begins with a slash
	id          int64  // of the acknowledgement; noID: none
	data        []byte // JSON; nil: absent
}

var errPacket = errors.New("socketio: parse error")

// parse reads the text of one packet and refuses what the official parser
// refuses. U+FFFD stands for what is not UTF-8, as there.
func parse(text []byte) (packet, error) {
	p := packet{namespace: "/", id: noID}
	if !utf8.Valid(text) {
		text = bytes.ToValidUTF8(text, []byte("\uFFFD"))
	}
	if len(text) == 0 || text[0] < typeConnect || text[0] > typeBinaryAck {
		return p, errPacket
	}
	p.kind, text = text[0], text[1:]
	if p.kind == typeBinaryEvent || p.kind == typeBinaryAck {
		digits, rest, ok := bytes.Cut(text, []byte("-"))
		n, err := strconv.ParseUint(string(digits[:min(len(digits), 3)]), 10, 16)
		if !ok || len(digits) > 2 || err != nil || n < 1 || n > maxAttachments {
			return p, errPacket
		}
		p.attachments, text = int(n), rest
	}
	if len(text) > 0 && text[0] == '/' {
		name, rest, _ := bytes.Cut(text, []byte(","))
		if len(name) > maxNamespace {
			return p, errPacket
		}
		p.namespace, text = string(name), rest
	}
	n := 0
	for n < len(text) && text[n] >= '0' && text[n] <= '9' {
		n++
	}
	if n > 0 {
		id, err := strconv.ParseInt(string(text[:min(n, maxAckDigits+1)]), 10, 64)
		if n > maxAckDigits || err != nil {
			return p, errPacket
		}
		p.id, text = id, text[n:]
	}
	if len(text) > 0 {
		p.data = text
	}
	err := p.check()
	return p, err
}

// check refuses a payload that does not belong to the type.
func (p *packet) check() error {
	if p.data != nil && jobs.CheckMessage(p.data) != nil {
		return errPacket
	}
	first := byte(0)
	if t := bytes.TrimLeft(p.data, " \t\r\n"); len(t) > 0 {
		first = t[0]
	}
	ok := false
	switch p.kind {
	case typeConnect:
		ok = p.data == nil || first == '{'
	case typeDisconnect:
		ok = p.data == nil
	case typeEvent, typeBinaryEvent:
		ok = first == '['
	case typeAck, typeBinaryAck:
		ok = first == '[' && p.id != noID
	}
	if !ok {
		return errPacket
	}
	return nil
}

// reserved names are never events.
var reserved = map[string]bool{
	"connect": true, "connect_error": true, "disconnect": true, "disconnecting": true,
	"newListener": true, "removeListener": true,
}

// parseEvent splits the array of an event: its name, which may be a number, and
// its arguments, which are parts of data.
func parseEvent(data []byte) (name string, args []json.RawMessage, err error) {
	args, _ = jobs.SplitArray(data)
	if len(args) == 0 {
		return "", nil, errPacket
	}
	switch c := args[0][0]; {
	case c == '"':
		if err := json.Unmarshal(args[0], &name); err != nil || reserved[name] {
			return "", nil, errPacket
		}
	case c == '-' || c >= '0' && c <= '9':
		name = string(args[0])
	default:
		return "", nil, errPacket
	}
	return name, args[1:], nil
}

// container is an array or object while it is read, which may be a placeholder for
// an attachment.
type container struct {
	array       bool
	named       bool // the value of the member name comes next
	name        string
	placeholder bool
	num         json.Number // empty: there is none
}

// set notes the value of a member.
func (c *container) set(value json.Token) {
	switch {
	case c.array:
	case c.name == "_placeholder":
		c.placeholder = value == true
	case c.name == "num":
		c.num, _ = value.(json.Number)
	}
	c.named = false
}

// fits reports whether it is no placeholder, or one of an attachment that is there.
func (c *container) fits(attachments int) bool {
	if !c.placeholder {
		return true
	}
	n, err := strconv.Atoi(c.num.String())
	return err == nil && n >= 0 && n < attachments
}

// checkPlaceholders refuses a payload that names attachments it does not have. It
// does not recurse, as a payload may nest to any depth.
func checkPlaceholders(data []byte, attachments int) error {
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber()
	open := make([]container, 1, 8) // the first stands for what the value is in
	open[0].array = true
	for {
		value, err := d.Token()
		if err != nil {
			return errPacket
		}
		in := &open[len(open)-1]
		if name, ok := value.(string); ok && !in.array && !in.named {
			in.name, in.named = name, true
			continue
		}
		switch value {
		case json.Delim('['), json.Delim('{'):
			open = append(open, container{array: value == json.Delim('[')})
			continue
		case json.Delim(']'), json.Delim('}'):
			if !in.fits(attachments) {
				return errPacket
			}
			open = open[:len(open)-1]
			in = &open[len(open)-1]
		}
		if in.set(value); len(open) == 1 {
			return nil
		}
	}
}

// head appends everything of a packet that stands before its JSON.
func head(dst []byte, kind byte, attachments int, namespace string, id int64) []byte {
	dst = append(dst, kind)
	if attachments > 0 {
		dst = strconv.AppendInt(dst, int64(attachments), 10)
		dst = append(dst, '-')
	}
	if namespace != "/" {
		dst = append(dst, namespace...)
		dst = append(dst, ',')
	}
	if id != noID {
		dst = strconv.AppendInt(dst, id, 10)
	}
	return dst
}

// encode appends a packet with a JSON value.
func encode(dst []byte, kind byte, namespace string, id int64, v any) ([]byte, error) {
	data, err := json.Marshal(v)
	if err != nil {
		return nil, fmt.Errorf("encode packet: %w", err)
	}
	return append(head(dst, kind, 0, namespace, id), data...), nil
}
