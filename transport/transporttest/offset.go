package transporttest

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/jobcast/jobcast/eventlog"
)

// place follows the offsets that events have.
type place struct {
	offset   string // after what was read; empty: not known
	at       uint64 // the seq of its position
	room     string // whose history is read
	position string // of the connection meanwhile
	n        int64  // the number of its join; 0: none is read
	last     int64  // the newest such number
	seq      uint64 // up to where
	anything bool   // the session is an old one: any room's history may go on
}

// implied tells the offset that follows from an event. Those of a history are at or
// below the connection's place, all others above it.
func (p *place) implied(id string) string {
	n, seq := p.n, seqOf(id)
	if seq > p.at {
		return id
	}
	if n == 0 {
		n = p.last
	}
	if n == 0 { // an older connection began it
		return ""
	}
	return fmt.Sprintf("%s.%d.%d", p.position, n, seq)
}

// said holds an offset that was said against what has come before it.
func (p *place) said(offset string) error {
	if p.offset == "" && p.anything {
		p.moved(offset)
	}
	return wants(offset == p.offset, "the offset "+p.offset)
}

// moved notes where the client stands. The caller has checked the offset.
func (p *place) moved(offset string) {
	p.offset = offset
	p.position, _, _, _ = cutOffset(offset)
	p.at = seqOf(p.position)
}

func seqOf(cursor string) uint64 {
	c, _ := eventlog.ParseCursor(cursor)
	return c.Seq
}

// check holds an offset against what it must be: the event's own cursor, or,
// while a room's history is read, the place of the connection and that history's,
// unless the client is leaving that room.
func (p *place) check(it Item, offset string, leaving bool) error {
	position, n, seq, err := cutOffset(offset)
	if err != nil {
		return err
	}
	switch {
	case it.Event != nil:
		if n == 0 && leaving {
			p.n = 0
		}
		return p.event(it.ID, offset, position, n, seq)
	case it.Name == "subscribed":
		if n > p.last { // otherwise it answers for a room that was joined before
			*p = place{room: roomOf(it), position: position, n: n, last: n, seq: seq, anything: p.anything}
		}
		return wants(offset != "", "a place")
	case it.Name == "live":
		reading := p.n
		p.n = 0
		if p.anything && reading == 0 {
			p.last = max(p.last, n)
			return wants(n > 0, "the place of a room")
		}
		return wants(n == reading && position == p.position, "the place of the room that was read")
	case it.Name == "connected":
		return wants(offset != "", "a place")
	case it.Name == "unsubscribed" && roomOf(it) == p.room:
		p.n = 0
	}
	return wants(offset == "", "no place")
}

func (p *place) event(id, offset, position string, n int64, seq uint64) error {
	if n > 0 && p.n != n && p.anything { // a history that an older connection began
		p.room, p.position, p.n, p.seq, p.last = "", position, n, 0, max(p.last, n)
	}
	if p.n == 0 {
		return wants(offset == id, "the event's own cursor")
	}
	c, ok := eventlog.ParseCursor(id)
	if err := wants(ok && position == p.position && n == p.n && seq == c.Seq && seq > p.seq, "the place in the room's history"); err != nil {
		return err
	}
	p.seq = seq
	return nil
}

// roomOf is the room that a control frame speaks of.
func roomOf(it Item) string {
	var m struct{ Room string }
	_ = json.Unmarshal(it.Data, &m) // take has read it
	return m.Room
}

func wants(ok bool, what string) error {
	if !ok {
		return errors.New("it must end with " + what)
	}
	return nil
}

// cutOffset reads `<cursor>` or `<position>.<n>.<seq>`; nothing is nothing.
func cutOffset(text string) (position string, n int64, seq uint64, err error) {
	if text == "" {
		return "", 0, 0, nil
	}
	parts := strings.Split(text, ".")
	_, ok := eventlog.ParseCursor(parts[0])
	var errN, errSeq error
	if len(parts) == 3 {
		n, errN = strconv.ParseInt(parts[1], 10, 64)
		seq, errSeq = strconv.ParseUint(parts[2], 10, 64)
		ok = ok && n > 0
	}
	if !ok || errN != nil || errSeq != nil || len(parts) != 1 && len(parts) != 3 {
		return "", 0, 0, fmt.Errorf("offset %q", text)
	}
	return parts[0], n, seq, nil
}
