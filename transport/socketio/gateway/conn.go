package gateway

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/jobcast/jobcast/auth"
	"github.com/jobcast/jobcast/hub"
	"github.com/jobcast/jobcast/transport"
	"github.com/jobcast/jobcast/transport/engineio"
	"github.com/jobcast/jobcast/transport/socketio"
)

// Why a connection is ended from this side so that its client comes back and goes
// on where it was.
var (
	errTakenOver = errors.New("gateway: a newer connection has the session")
	errHistory   = errors.New("gateway: history cannot be read")
	errHole      = errors.New("gateway: events were deleted before they were read")
	errUnread    = errors.New("gateway: answers are not read")
)

// conn is one connection of a resumable session. Fill, Goodbye and Tick are called by
// one goroutine at a time, Event by another.
type conn struct {
	g       *Gateway
	socket  *socketio.Socket
	who     auth.Identity
	request string // id of the handshake's request
	opened  time.Time
	id      string // of the session in the store
	sub     *hub.Subscription

	// What is sent; of Fill, and of connect before it.
	place   place // the client has this, once all that was sent arrives
	reading *reading
	begun   int64 // the newest join whose history was begun or done
	sent    int64
	untold  bool // events were sent since the offset was said
	broken  bool // the connection is ending

	superseded bool
	joining    sync.Mutex // held while rooms change; guards superseded and joins
	joins      int64      // number of the newest join

	// Guards everything below. It is held while rooms and answers change together,
	// and while both are taken, so that an answer about a room stands among the
	// events where the room stood.
	mu        sync.Mutex
	admission *transport.Admission
	control   []frame
	rooms     rooms
	over      []over   // rooms that have ended and are still in the store, oldest first
	recovered bool     // it goes on with an older connection's session
	told      []string // of a recovered one: jobs whose end the client was told, oldest first; at most session.MaxEnds
	revoked   bool     // by End, which does not end the session
}

// place is an offset as it is sent.
type place struct {
	position string
	n        int64
	backlog  uint64
}

func (p place) String() string {
	if p.n == 0 {
		return p.position
	}
	return p.position + "." + strconv.FormatInt(p.n, 10) + "." + strconv.FormatUint(p.backlog, 10)
}

// room is a joined room.
type room struct {
	job   string
	n     int64
	start uint64 // the seq it was joined behind
	waits int64  // for `subscribed`: an acknowledgement, its id plus one; 0: none
	end   uint64 // the seq of its job's last event, once the room's end is being sent
}

// rooms are those of one session, each job once: few, and mostly one, for which a
// map would be large.
type rooms []room

// of returns a job's room, until rooms change; nil: there is none.
func (r rooms) of(job string) *room {
	for i := range r {
		if r[i].job == job {
			return &r[i]
		}
	}
	return nil
}

func (r *rooms) put(x room) {
	if old := r.of(x.job); old != nil {
		*old = x
		return
	}
	*r = append(*r, x)
}

func (r *rooms) remove(job string) {
	*r = slices.DeleteFunc(*r, func(x room) bool { return x.job == job })
}

// reading is a room whose history is being sent.
type reading struct {
	n        int64
	position string // where the connection stands meanwhile
	at       uint64 // the same as a seq
}

// frame is one answer that waits to be sent. It holds nothing of the message that
// it answers, which may be large.
type frame struct {
	event  string // empty: an acknowledgement
	ack    int64  // its id
	data   []byte
	offset bool // the offset goes with it
}

// queueConnected queues the first event, in front of what a resumption has to say.
func (n *conn) queueConnected() {
	f := transport.ConnectedFrame(n.socket.ID(), n.who.ClientID, n.opened, n.g.opt.PingInterval)
	n.control = append(answers(nil, f, true), n.control...)
	n.socket.TickAt(n.opened.Add(n.g.opt.PingInterval))
}

// answers makes a frame an event and, if e wants that, an acknowledgement.
func answers(e *socketio.Event, f transport.Frame, withOffset bool) []frame {
	data := f.MarshalData()
	frames := []frame{{event: f.Event, data: data, offset: withOffset}}
	if e != nil && e.WantsAck() {
		frames = append(frames, frame{ack: e.ID, data: data})
	}
	return frames
}

// answer queues answers.
func (n *conn) answer(e *socketio.Event, f transport.Frame, withOffset bool) {
	n.push(answers(e, f, withOffset))
}

// push queues frames.
func (n *conn) push(frames []frame) {
	n.mu.Lock()
	full := n.queue(frames)
	n.mu.Unlock()
	n.pushed(full)
}

// queue is push with mu held; pushed follows without it.
func (n *conn) queue(frames []frame) (full bool) {
	if full = len(n.control) >= maxPendingFrames; !full {
		n.control = append(n.control, frames...)
	}
	return full
}

// pushed has the frames sent. A peer that asks and does not read is cut.
func (n *conn) pushed(full bool) {
	if full {
		n.socket.Fail(errUnread)
		return
	}
	n.socket.Wake()
}

// Tick implements socketio.Peer: it says the application's ping.
func (n *conn) Tick(now time.Time) error {
	n.push([]frame{{event: "ping", data: transport.AppendPing(nil, now)}})
	n.socket.TickAt(now.Add(n.g.opt.PingInterval))
	n.cleanUp(now)
	return nil
}

// ID implements transport.Live.
func (n *conn) ID() string { return n.socket.ID() }

// Watching implements transport.Live.
func (n *conn) Watching() transport.Watching { return transport.Watching{Standing: n.sub.Standing()} }

// End implements transport.Live: the client leaves for good, and does not come back by
// itself. With a credential of the same client it may go on.
func (n *conn) End(reason error) {
	n.mu.Lock()
	n.revoked = true
	n.mu.Unlock()
	_ = n.socket.Emit("error", transport.ErrorFrame(transport.FromError(reason), transport.Ref{}).Data) // it fails if nothing is read: no loss
	n.g.running.Go(n.socket.Disconnect)                                                                 // it waits for a Fill, and whoever ends streams must not
}

// yield ends the connection in favour of a newer one of the same session. joining is
// held.
func (n *conn) yield() {
	n.superseded = true
	n.sub.Close()
	n.release()
	n.socket.Fail(errTakenOver)
}

// release gives the slot back, once.
func (n *conn) release() {
	n.mu.Lock()
	a := n.admission
	n.admission = nil
	n.mu.Unlock()
	if a != nil {
		a.Release()
	}
}

// Closed implements socketio.Peer.
func (n *conn) Closed(cause error) {
	n.sub.Close()
	n.release()
	n.mu.Lock()
	revoked := n.revoked
	n.mu.Unlock()
	if errors.Is(cause, socketio.ErrLeft) && !revoked {
		n.leave()
	}
	n.forget()
	n.g.opt.Log.Info("stream ended", "requestId", n.request, "transport", kind, "clientId", n.who.ClientID,
		"keyId", n.who.KeyID, "events", n.sent, "duration", time.Since(n.opened), slog.Any("cause", cause))
}

// leave makes the session one that cannot be resumed: its client left on purpose.
func (n *conn) leave() {
	defer n.g.lock(n.id).Unlock()
	if !n.forget() { // a newer connection has it
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), storeTime)
	defer cancel()
	if err := n.g.opt.Sessions.LeaveSession(ctx, n.who.ClientID, n.id); err != nil {
		n.g.opt.Log.Warn("a session could not be ended", "error", err)
	}
}

// forget takes the session out of those that are live, and reports whether it was.
func (n *conn) forget() bool {
	n.g.mu.Lock()
	defer n.g.mu.Unlock()
	if n.g.live[n.id] != n {
		return false
	}
	delete(n.g.live, n.id)
	return true
}

// Goodbye implements socketio.Peer.
func (n *conn) Goodbye(w *engineio.Writer, retry time.Duration) {
	n.mu.Lock()
	control := n.control
	n.control = nil
	n.mu.Unlock()
	n.writeAll(w, control)
	n.writeAll(w, answers(nil, transport.ReconnectFrame(retry, n.sub.Position()), false))
}
