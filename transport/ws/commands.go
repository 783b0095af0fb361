package ws

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"time"

	"github.com/jobcast/jobcast/hub"
	"github.com/jobcast/jobcast/jobs"
	"github.com/jobcast/jobcast/transport"
	"github.com/jobcast/jobcast/transport/wire/rfc6455"
)

// envelope is every message of the peer.
type envelope struct {
	Event string          `json:"event"`
	Data  json.RawMessage `json:"data"`
}

// request is the data of subscribe and unsubscribe. Other members are ignored:
// old clients send some.
type request struct {
	JobID       string          `json:"jobId"` // empty: the client's room
	LastEventID string          `json:"lastEventId"`
	From        string          `json:"from"`
	Tail        json.RawMessage `json:"tail"` // a number
	Conflate    bool            `json:"conflate"`
}

// Receive implements wire.Receiver.
func (c *conn) Receive(r io.Reader) error {
	c.in.R = r
	for {
		m, err := c.in.Next()
		var broken *rfc6455.CloseError
		if errors.As(err, &broken) {
			c.close(broken.Code, broken.Reason)
			return discard(r)
		}
		if err != nil {
			return err
		}
		now := time.Now()
		c.seen.Store(c.since(now))
		if !c.frames.Take(now.Sub(c.opened), messagesPerSec, messagesBurst) {
			c.close(closeLimit, "too many messages")
			return discard(r)
		}
		if over := c.handle(m); over {
			return discard(r)
		}
		if len(c.in.Early) == 0 {
			return nil
		}
	}
}

// maxDiscard bounds what is read from a peer that has been told to go.
const maxDiscard = 1 << 20

// discard reads on until the peer has closed, so that it gets our close frame
// and no reset. The pool bounds how long that may take.
func discard(r io.Reader) error {
	if _, err := io.Copy(io.Discard, io.LimitReader(r, maxDiscard)); err != nil {
		return err
	}
	return io.EOF
}

// handle does what one message says; over: the connection ends.
func (c *conn) handle(m rfc6455.Message) (over bool) {
	switch m.Op {
	case rfc6455.OpPing:
		c.push(rfc6455.AppendFrame(nil, rfc6455.OpPong, m.Data))
	case rfc6455.OpPong: // its arrival was the point
	case rfc6455.OpClose:
		c.close(rfc6455.CloseCode(m.Data), "")
		return true
	case rfc6455.OpBinary:
		c.close(rfc6455.CloseUnsupported, "only text is understood")
		return true
	case rfc6455.OpText:
		return c.command(m.Data)
	}
	return false
}

// command handles a text message. What is no message at all ends the
// connection; what asks for something impossible is answered.
func (c *conn) command(text []byte) (over bool) {
	var e envelope
	if jobs.CheckMessage(text) != nil || jobs.DecodeKnown(text, &e) != nil || e.Event == "" {
		c.close(closeMalformed, `a message is {"event":"…","data":{…}}`)
		return true
	}
	var q request
	if len(e.Data) > 0 && e.Event != "pong" {
		if err := jobs.DecodeKnown(e.Data, &q); err != nil {
			c.refuse(e.Event, "", transport.Refuse(transport.Malformed, "The data does not fit this event."))
			return false
		}
		if id, ok := jobs.ParseID(q.JobID); ok {
			q.JobID = id
		}
	}
	switch e.Event {
	case "pong":
	case "subscribe":
		c.subscribe(q)
	case "unsubscribe":
		c.leave(q.JobID)
	default:
		c.refuse(e.Event, "", transport.Refuse(transport.Invalid, "Unknown event; use subscribe, unsubscribe or pong."))
	}
	return false
}

func (c *conn) refuse(event, job string, err error) {
	event = transport.Echo(event)
	c.push(encode(transport.ErrorFrame(transport.Answer(err, c.h.opt.Log, c.id, event), transport.Ref{Event: event, JobID: transport.Echo(job)})))
}

// subscribe joins a room. Its `subscribed` comes from the subscription, in
// front of the room's events.
func (c *conn) subscribe(q request) {
	if err := transport.MayWatch(c.who, q.JobID); err != nil {
		c.refuse("subscribe", q.JobID, err)
		return
	}
	start, err := transport.ParseStart(q.LastEventID, q.From, q.Tail)
	if err != nil {
		c.refuse("subscribe", q.JobID, err)
		return
	}
	if c.sub.Rooms() >= maxRooms {
		if _, joined := c.sub.Cursor(q.JobID); !joined {
			c.refuse("subscribe", q.JobID, transport.Refuse(transport.Invalid, "A connection has at most 100 rooms."))
			return
		}
	}
	joined, err := c.join(q.JobID, start)
	if errors.Is(err, hub.ErrJoined) {
		return
	}
	if err != nil {
		c.refuse("subscribe", q.JobID, err)
		return
	}
	c.setConflate(q.JobID, q.Conflate)
	c.h.opt.Observe.Resumed(kind, start, joined)
	c.wake()
}

// join joins a room. One that is joined already is answered, with hub.ErrJoined.
func (c *conn) join(job string, start hub.Start) (hub.Joined, error) {
	for {
		joined, err := c.sub.Join(context.Background(), job, start)
		if !errors.Is(err, hub.ErrJoined) {
			return joined, err
		}
		if joined, err = c.sub.Again(context.Background(), job); err != nil {
			return hub.Joined{}, err
		}
		if c.again(joined) {
			return hub.Joined{}, hub.ErrJoined
		} // else its job ended meanwhile, and it is joined anew
	}
}
