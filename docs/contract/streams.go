package contract

import (
	"bytes"
	"encoding/json"
	"fmt"
)

// eventStream checks Server-Sent Events, up to the last whole one.
func (l *look) eventStream(channel string, text []byte) {
	for {
		block, rest, whole := bytes.Cut(text, []byte("\n\n"))
		if !whole {
			return
		}
		text = rest
		name, id, data := "job.event", "", []byte(nil)
		for line := range bytes.SplitSeq(block, []byte("\n")) {
			field, value, _ := bytes.Cut(line, []byte(": "))
			switch string(field) {
			case "event":
				name = string(value)
			case "id":
				id = string(value)
			case "data":
				data = value
			}
		}
		if name == "job.event" && !bytes.HasPrefix(data, []byte(`{"id":"`+id+`"`)) {
			l.w.faulty("%s: an event with the id %s has the data %s", channel, id, quote(data))
		}
		if l.d.fresh(channel+name, data) {
			l.message(channel, name, data)
		}
	}
}

// lines checks NDJSON, up to the last whole line.
func (l *look) lines(channel string, text []byte) {
	for line := range bytes.Lines(text) {
		if bytes.HasSuffix(line, []byte("\n")) {
			l.named(channel, line)
		}
	}
}

// named checks a message {"event": name, "data": data}.
func (l *look) named(channel string, text []byte) {
	if !l.d.fresh(channel, text) {
		return
	}
	var head struct{ Event string }
	if err := json.Unmarshal(text, &head); err != nil {
		l.w.faulty("%s: no JSON: %s", channel, quote(text))
		return
	}
	l.message(channel, head.Event, text)
}

// message checks what a channel says by the schema of its name there.
func (l *look) message(channel, name string, payload []byte) {
	s := l.d.message(channel, name)
	if s == nil {
		l.w.faulty("%s has no message %q: %s", channel, name, quote(payload))
		return
	}
	if why := against(s, payload); why != "" {
		l.w.faulty("%s, message %s: %s", channel, name, why)
	}
}

// packets checks the Engine.IO packets of a poll.
func (l *look) packets(text []byte) {
	for packet := range bytes.SplitSeq(text, []byte{0x1e}) {
		l.packet(packet)
	}
}

// packet checks a packet of the server: those of Socket.IO in the namespace /jobs.
func (l *look) packet(packet []byte) {
	kind, data := inJobs(packet)
	if kind == 0 || !l.d.fresh(string(kind), data) {
		return
	}
	switch kind {
	case '2':
		l.event(data)
	case '3':
		l.acknowledgement(data)
	case '4':
		var refusal struct{ Data json.RawMessage }
		if json.Unmarshal(data, &refusal) == nil && refusal.Data != nil {
			if why := l.d.judge("openapi.json#/components/schemas/Problem", refusal.Data); why != "" {
				l.w.faulty("socketIO, CONNECT_ERROR: %s", why)
			}
		}
	}
}

// inJobs returns the type and the data of a packet of the namespace /jobs; 0: it is another
// one.
func inJobs(packet []byte) (kind byte, data []byte) {
	rest, ok := bytes.CutPrefix(packet, []byte("4"))
	if !ok || len(rest) == 0 {
		return 0, nil
	}
	data, ok = bytes.CutPrefix(rest[1:], []byte("/jobs,"))
	if !ok {
		return 0, nil
	}
	return rest[0], bytes.TrimLeft(data, "0123456789") // the id of an acknowledgement
}

// event checks an event of the server: its argument, or that it is an offset alone. With
// --socketio-offset=argument an offset follows the argument.
func (l *look) event(data []byte) {
	var args []json.RawMessage
	var name string
	if json.Unmarshal(data, &args) != nil || len(args) == 0 || json.Unmarshal(args[0], &name) != nil {
		l.w.faulty("socketIO: no event: %s", quote(data))
		return
	}
	var offset string
	switch {
	case len(args) == 1 && offsets.MatchString(name):
	case len(args) == 2, len(args) == 3 && json.Unmarshal(args[2], &offset) == nil && offsets.MatchString(offset):
		l.message("socketIO", name, args[1])
	default:
		l.w.faulty("socketIO: event %s has %d arguments", name, len(args)-1)
	}
}

// acknowledgement checks what a subscribe or unsubscribe is acknowledged with.
func (l *look) acknowledgement(data []byte) {
	var args []json.RawMessage
	if json.Unmarshal(data, &args) != nil || len(args) != 1 {
		l.w.faulty("socketIO: an acknowledgement has one argument: %s", quote(data))
		return
	}
	var whys []string
	for _, name := range []string{"subscribed", "unsubscribed", "error"} {
		why := against(l.d.message("socketIO", name), args[0])
		if why == "" {
			return
		}
		whys = append(whys, fmt.Sprintf("as %s: %s", name, why))
	}
	l.w.faulty("socketIO: acknowledgement: %s", whys)
}
