package gateway

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"github.com/jobcast/jobcast/eventlog"
	"github.com/jobcast/jobcast/hub"
	"github.com/jobcast/jobcast/jobs"
	"github.com/jobcast/jobcast/transport"
	"github.com/jobcast/jobcast/transport/socketio"
	"github.com/jobcast/jobcast/transport/socketio/session"
)

// request is the argument of subscribe and unsubscribe. Other members are
// ignored: old clients send some.
type request struct {
	JobID       string          `json:"jobId"` // empty: the client's room
	LastEventID string          `json:"lastEventId"`
	From        string          `json:"from"`
	Tail        json.RawMessage `json:"tail"` // a number
}

// goneFrame says that a joined room's job is no more.
func goneFrame(job string) transport.Frame {
	return transport.ErrorFrame(transport.FromError(jobs.ErrNotFound), transport.Ref{Event: "subscribe", JobID: job})
}

// leftFrame says that a room was left before it had begun.
func leftFrame(job string) transport.Frame {
	return transport.ErrorFrame(transport.Refuse(transport.NotFound, "The room was left before its events began."), transport.Ref{Event: "subscribe", JobID: job})
}

// Event implements socketio.Peer. What asks for something impossible is answered
// and closes nothing.
func (n *conn) Event(e socketio.Event) error {
	var err error
	var q request
	switch e.Name {
	case "pong", "ping": // their arrival was the point
		return nil
	case "subscribe", "unsubscribe":
		if q, err = n.argument(&e); err != nil {
			break
		}
		n.joining.Lock()
		switch {
		case n.superseded:
		case e.Name == "subscribe":
			err = n.subscribe(q, &e)
		default:
			err = n.unsubscribe(q, &e)
		}
		n.joining.Unlock()
	default:
		if n.g.opt.NestJS {
			return nil
		}
		err = transport.Refuse(transport.Invalid, "Unknown event; use subscribe, unsubscribe or pong.")
	}
	if err != nil {
		name := transport.Echo(e.Name)
		n.answer(&e, transport.ErrorFrame(transport.Answer(err, n.g.opt.Log, n.request, name), transport.Ref{Event: name, JobID: transport.Echo(q.JobID)}), false)
	}
	return nil
}

// argument reads what subscribe and unsubscribe take.
func (n *conn) argument(e *socketio.Event) (q request, err error) {
	switch {
	case n.g.opt.NestJS:
		if len(e.Args) > 0 {
			q = nestRequest(e.Args[0])
		}
	case e.Binary() || len(e.Args) > 0 && jobs.DecodeKnown(e.Args[0], &q) != nil:
		return q, transport.Refuse(transport.Malformed, "The argument does not fit this event.")
	}
	if id, ok := jobs.ParseID(q.JobID); ok {
		q.JobID = id
	}
	return q, nil
}

// subscribe joins a room. Its `subscribed` comes from the subscription, in front
// of the room's events.
func (n *conn) subscribe(q request, e *socketio.Event) error {
	start, err := n.check(q)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), storeTime)
	defer cancel()
	joined, answered, err := n.join(ctx, q.JobID, start, e)
	if answered || err != nil {
		return err
	}
	n.joins++
	at, err := n.commit(ctx, joined)
	if err != nil {
		n.sub.Leave(q.JobID)
		return err
	}
	n.mu.Lock()
	if r := n.rooms.of(q.JobID); r != nil { // its end is being sent
		n.outlive(*r)
	}
	r := room{job: q.JobID, n: joined.N, start: at}
	if e.WantsAck() {
		r.waits = e.ID + 1
	}
	n.rooms.put(r)
	n.mu.Unlock()
	n.sub.Release(q.JobID)
	n.cleanUp(time.Now())
	n.g.opt.Observe.Resumed(kind, start, joined)
	return nil
}

// join joins a room, and holds it; answered says that it was joined before, and that is
// the answer. Its job may end at any moment, which leaves the room and may be what
// decides where to start.
func (n *conn) join(ctx context.Context, job string, st hub.Start, e *socketio.Event) (j hub.Joined, answered bool, err error) {
	st.N, st.Hold = n.joins+1, true
	plain := st.From == hub.Default && st.Cursor == nil && !st.Invalid && st.Tail == 0
	for {
		told := n.knowsEnd(job)
		switch {
		case plain && told:
			st.From = hub.FromNow
		case plain:
			st.From = hub.FromNowOrEnd // as the old gateway did, but nobody waits for a job that is over
		}
		j, err = n.sub.Join(ctx, job, st)
		if errors.Is(err, hub.ErrJoined) {
			if answered, err = n.again(ctx, job, e); answered || err != nil {
				return j, answered, err
			}
			continue
		}
		if err == nil && plain && !told && n.knowsEnd(job) {
			n.sub.Leave(job)
			continue
		}
		return j, false, err
	}
}

// check refuses what this connection may not join.
func (n *conn) check(q request) (hub.Start, error) {
	if err := transport.MayWatch(n.who, q.JobID); err != nil {
		return hub.Start{}, err
	}
	_, joined := n.sub.Cursor(q.JobID)
	if !joined && (n.sub.Rooms() >= maxRooms || (n.joins+1)>>joinBits != n.joins>>joinBits) {
		return hub.Start{}, transport.Refuse(transport.Invalid, "A connection has at most 100 rooms.")
	}
	return transport.ParseStart(q.LastEventID, q.From, q.Tail)
}

// commit puts a joined room into the store. An earlier join of the job stays there
// until the client must have received its end. It returns the seq where the room starts.
func (n *conn) commit(ctx context.Context, j hub.Joined) (uint64, error) {
	start, ok := eventlog.ParseCursor(j.Cursor)
	if !ok {
		return 0, errors.New("gateway: a room starts nowhere")
	}
	gone := n.crowded(j.Room.Job)
	err := n.g.opt.Sessions.JoinRoom(ctx, n.who.ClientID, n.id, session.Room{
		N: j.N, Job: j.Room.Job, Start: start, JoinedAt: j.PositionAt,
	}, numbers(gone))
	if err != nil {
		n.keep(gone)
	}
	return start.Seq, err
}

// again answers a subscribe to a room that is joined; told is false if it was left
// meanwhile.
func (n *conn) again(ctx context.Context, job string, e *socketio.Event) (told bool, err error) {
	j, err := n.sub.Again(ctx, job)
	if err != nil {
		return false, err
	}
	n.mu.Lock()
	var full bool
	if j.Cursor, told = n.sub.Cursor(job); told { // as long as mu is held, nothing is taken
		full = n.queue(answers(e, transport.SubscribedFrame(j), true))
	}
	n.mu.Unlock()
	n.pushed(full)
	return told, nil
}

// unsubscribe leaves a room. One that is not joined, or not any more, is left as well,
// without a cursor: pages leave when they see a job's end, which has ended its room.
func (n *conn) unsubscribe(q request, e *socketio.Event) error {
	cursor, _ := n.sub.Leave(q.JobID)
	n.mu.Lock()
	gone := n.takeOver(func(o over) bool { return o.job == q.JobID })
	if r := n.rooms.of(q.JobID); r != nil {
		gone = append(gone, over{n: r.n, job: r.job, start: r.start, end: r.end})
		if r.waits != 0 {
			n.control = append(n.control, frame{ack: r.waits - 1, data: leftFrame(q.JobID).MarshalData()})
		}
		n.rooms.remove(q.JobID)
	}
	n.mu.Unlock()
	if len(gone) > 0 {
		ctx, cancel := context.WithTimeout(context.Background(), storeTime)
		defer cancel()
		if err := n.drop(ctx, gone); err != nil {
			n.keep(gone)
			return err
		}
	}
	room := eventlog.Room{Client: n.who.ClientID, Job: q.JobID}
	n.answer(e, transport.UnsubscribedFrame(room, cursor), false)
	n.socket.Wake() // the next room's history may go on
	return nil
}
