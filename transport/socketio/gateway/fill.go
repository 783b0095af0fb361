package gateway

import (
	"slices"
	"strconv"
	"time"

	"github.com/jobcast/jobcast/jobs"
	"github.com/jobcast/jobcast/transport"
	"github.com/jobcast/jobcast/transport/engineio"
	"github.com/jobcast/jobcast/transport/hub"
)

// Fill implements socketio.Peer.
func (n *session) Fill(w *engineio.Writer) (more bool) {
	scratch := n.g.items.Get().(*[]hub.Item)
	defer n.g.items.Put(scratch)
	for more = true; more && !n.broken && !w.Full(); {
		var control []frame
		var items []hub.Item
		control, items, more = n.collect((*scratch)[:0], w.Left())
		*scratch = items[:0]
		n.writeAll(w, control)
		n.send(w, items)
		clear(items)
	}
	return more && !n.broken
}

// collect takes the answers that wait, and what follows them.
func (n *session) collect(scratch []hub.Item, left int) (control []frame, items []hub.Item, more bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	control, n.control = n.control, nil
	items, more = n.sub.Next(scratch, transport.BatchEvents, left)
	return control, items, more
}

func (n *session) writeAll(w *engineio.Writer, frames []frame) {
	for _, f := range frames {
		n.write(w, f)
	}
}

// write sends one frame.
func (n *session) write(w *engineio.Writer, f frame) {
	if f.event == "" {
		w.Text([]byte("3"+Name+","+strconv.FormatInt(f.ack, 10)+"["), f.data, []byte("]"))
		return
	}
	tail := "]"
	if f.offset {
		tail = `,"` + n.place.String() + `"]`
	}
	w.Text([]byte("2"+Name+`,["`+f.event+`",`), f.data, []byte(tail))
}

var eventHead = []byte("2" + Name + `,["job.event",`)

// eventFrame is the shared wire form of an event.
func eventFrame(e *hub.Event) []byte {
	return engineio.NewFrame(eventHead, e.JSON, []byte(`,"`+e.ID+`"]`))
}

// send sends what the subscription gave.
func (n *session) send(w *engineio.Writer, items []hub.Item) {
	events := 0
	var last *hub.Event
	for _, it := range items {
		if n.broken {
			return
		}
		if it.Event == nil {
			n.mark(w, it.Mark)
			continue
		}
		n.event(w, it.Event)
		events++
		last = it.Event
	}
	if events > 0 {
		n.sent += int64(events)
		n.g.opt.Observe.Delivered(kind, events, last.At)
	}
}

// event sends an event and moves the offset.
func (n *session) event(w *engineio.Writer, e *hub.Event) {
	if n.reading != nil && e.Seq > n.reading.at { // the room was left while it was read
		n.reading = nil
	}
	if r := n.reading; r != nil {
		n.place = place{r.position, r.n, e.Seq}
		w.Text(eventHead, e.JSON, []byte(`,"`+n.place.String()+`"]`))
		return
	}
	w.Frame(engineio.Frame(e.Frame(transport.SlotSocketIO, eventFrame)))
	n.place = place{position: e.ID}
}

// mark sends what stands between events.
func (n *session) mark(w *engineio.Writer, m *hub.Mark) {
	switch m.Kind {
	case hub.Started:
		n.started(w, m)
	case hub.Live:
		n.place = place{position: m.Cursor}
		if r := n.reading; r != nil {
			n.place = place{r.position, r.n, r.at}
		}
		n.reading = nil
		n.frame(w, transport.MarkFrame(m), true)
	case hub.Reset:
		if n.reading == nil || n.reading.n != m.N {
			n.fail(errHole)
			return
		}
		n.frame(w, transport.MarkFrame(m), false)
	case hub.End:
		n.ended(m)
		n.frame(w, transport.MarkFrame(m), false)
	case hub.Gone:
		n.ended(m)
		n.reading = nil
		n.frame(w, goneFrame(m.Room.Job), false)
	default:
		n.fail(errHistory)
	}
}

// started begins the history of a room.
func (n *session) started(w *engineio.Writer, m *hub.Mark) {
	if m.N <= n.begun { // it is read once more: the log has a hole
		n.fail(errHole)
		return
	}
	start, _ := jobs.ParseCursor(m.Joined.Cursor) // it was one when the room was committed
	n.begun = m.N
	n.reading = &reading{m.N, m.Joined.Position, m.Joined.PositionAt}
	if m.Joined.Again {
		return
	}
	n.place = place{m.Joined.Position, m.N, start.Seq}
	f := transport.MarkFrame(m)
	n.frame(w, f, true)
	if id, ok := n.takeAck(m); ok {
		n.write(w, frame{ack: id, data: f.MarshalData()})
	}
}

// takeAck returns the id of the acknowledgement that waits for the room's
// `subscribed`, once.
func (n *session) takeAck(m *hub.Mark) (id int64, ok bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	r := n.rooms.of(m.Room.Job)
	if r == nil || r.n != m.N || !r.waits {
		return 0, false
	}
	r.waits = false
	return r.ack, true
}

// ended notes that a room is no more.
func (n *session) ended(m *hub.Mark) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if r := n.rooms.of(m.Room.Job); r != nil && r.n == m.N {
		n.outlive(*r)
		n.rooms.remove(m.Room.Job)
	}
}

// outlive keeps a room that has ended in the store until the client must have
// received its end: if the connection is cut before, it is read once more. mu is
// held.
func (n *session) outlive(r room) {
	n.over = append(n.over, over{r.n, r.job, time.Now().Add(provenAfter)})
}

// due takes the joins whose rooms may leave the store, because the client has
// received their ends.
func (n *session) due() []int64 {
	now := time.Now()
	return n.takeOver(func(o over) bool { return !o.due.After(now) })
}

// takeOver takes joins out of those that are over, and returns their numbers.
func (n *session) takeOver(out func(over) bool) []int64 {
	n.mu.Lock()
	defer n.mu.Unlock()
	var gone []int64
	n.over = slices.DeleteFunc(n.over, func(o over) bool {
		if out(o) {
			gone = append(gone, o.n)
		}
		return out(o)
	})
	return gone
}

func (n *session) frame(w *engineio.Writer, f transport.Frame, withOffset bool) {
	n.write(w, frame{event: f.Event, data: f.MarshalData(), offset: withOffset})
}

// fail ends the connection; nothing more is sent on it.
func (n *session) fail(cause error) {
	n.broken = true
	n.socket.Fail(cause)
}
