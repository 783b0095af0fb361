package gateway

import (
	"strconv"

	"github.com/jobcast/jobcast/eventlog"
	"github.com/jobcast/jobcast/hub"
	"github.com/jobcast/jobcast/transport"
	"github.com/jobcast/jobcast/transport/engineio"
)

// Fill implements socketio.Peer.
func (n *conn) Fill(w *engineio.Writer) (more bool) {
	b := n.g.batches.Get().(*batch)
	defer n.g.batches.Put(b)
	for more = true; more && !n.broken && !w.Full(); {
		var control []frame
		control, more = n.collect(b, w.Left())
		n.writeAll(w, control)
		n.send(w, b)
		clear(b.items)
		clear(b.acks)
	}
	if n.untold {
		n.tell(w)
	}
	return more && !n.broken
}

// batch is what one turn of Fill takes.
type batch struct {
	items []hub.Item
	acks  []room // that begin among the items, and whose acknowledgements go out with that
}

// collect takes the answers that wait, and what follows them.
func (n *conn) collect(b *batch, left int) (control []frame, more bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	control, n.control = n.control, nil
	b.items, more = n.sub.Next(b.items[:0], transport.BatchEvents, left)
	b.acks = b.acks[:0]
	for _, it := range b.items {
		if it.Mark != nil && it.Mark.Kind == hub.End {
			n.ends(it.Mark)
		}
		if it.Mark == nil || it.Mark.Kind != hub.Started {
			continue
		}
		if r := n.rooms.of(it.Mark.Room.Job); r != nil && r.n == it.Mark.N && r.waits != 0 {
			b.acks = append(b.acks, *r)
			r.waits = 0
		}
	}
	return control, more
}

func (n *conn) writeAll(w *engineio.Writer, frames []frame) {
	for _, f := range frames {
		n.write(w, f)
	}
}

// write sends one frame.
func (n *conn) write(w *engineio.Writer, f frame) {
	if f.event == "" {
		w.Text([]byte("3"+Name+","+strconv.FormatInt(f.ack, 10)+"["), f.data, []byte("]"))
		return
	}
	tail := "]"
	if f.offset && n.trails() {
		tail = `,"` + n.place.String() + `"]`
	}
	w.Text([]byte("2"+Name+`,["`+f.event+`",`), f.data, []byte(tail))
	if f.offset {
		n.tell(w)
	}
}

// trails reports whether offsets are arguments.
func (n *conn) trails() bool { return n.g.opt.Offset == OffsetArgument }

// What stands around an event and around an offset that is a packet of its own.
var (
	eventHead  = []byte("2" + Name + `,["job.event",`)
	eventTail  = []byte("]")
	offsetHead = []byte("2" + Name + `,["`)
	offsetTail = []byte(`"]`)
)

// tell says the offset, if that is a packet of its own.
func (n *conn) tell(w *engineio.Writer) {
	n.untold = false
	if n.g.opt.Offset == OffsetEvent {
		w.Text(offsetHead, []byte(n.place.String()), offsetTail)
	}
}

// The shared wire forms of an event, without and with its offset as an argument.
var (
	plainForm   = hub.NewFraming(eventFrame)
	trailedForm = hub.NewFraming(trailedFrame)
)

func eventFrame(e *hub.Event) []byte { return engineio.NewFrame(eventHead, e.JSON, eventTail) }

func trailedFrame(e *hub.Event) []byte {
	return engineio.NewFrame(eventHead, e.JSON, []byte(`,"`+e.ID+`"]`))
}

// send sends what the subscription gave.
func (n *conn) send(w *engineio.Writer, b *batch) {
	events := 0
	var last *hub.Event
	for _, it := range b.items {
		if n.broken {
			return
		}
		if it.Event == nil {
			n.mark(w, it.Mark, b.acks)
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
func (n *conn) event(w *engineio.Writer, e *hub.Event) {
	n.untold = true
	if n.reading != nil && e.Seq > n.reading.at { // the room was left while it was read
		n.reading = nil
	}
	if r := n.reading; r != nil {
		n.place = place{r.position, r.n, e.Seq}
		if n.trails() {
			w.Text(eventHead, e.JSON, []byte(`,"`+n.place.String()+`"]`))
		} else {
			w.Text(eventHead, e.JSON, eventTail)
		}
		return
	}
	form := plainForm
	if n.trails() {
		form = trailedForm
	}
	w.Frame(engineio.Frame(form.Of(e)))
	n.place = place{position: e.ID}
}

// mark sends what stands between events.
func (n *conn) mark(w *engineio.Writer, m *hub.Mark, acks []room) {
	switch m.Kind {
	case hub.Started:
		n.started(w, m, acks)
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
func (n *conn) started(w *engineio.Writer, m *hub.Mark, acks []room) {
	if m.N <= n.begun { // it is read once more: the log has a hole
		n.fail(errHole)
		return
	}
	start, _ := eventlog.ParseCursor(m.Joined.Cursor) // it was one when the room was committed
	n.begun = m.N
	n.reading = &reading{m.N, m.Joined.Position, m.Joined.PositionAt}
	if m.Joined.Again {
		return
	}
	n.place = place{m.Joined.Position, m.N, start.Seq}
	f := transport.MarkFrame(m)
	data := f.MarshalData()
	n.write(w, frame{event: f.Event, data: data, offset: true})
	for _, r := range acks {
		if r.n == m.N {
			n.write(w, frame{ack: r.waits - 1, data: data})
		}
	}
}

func (n *conn) frame(w *engineio.Writer, f transport.Frame, withOffset bool) {
	n.write(w, frame{event: f.Event, data: f.MarshalData(), offset: withOffset})
}

// fail ends the connection; nothing more is sent on it.
func (n *conn) fail(cause error) {
	n.broken = true
	n.socket.Fail(cause)
}
