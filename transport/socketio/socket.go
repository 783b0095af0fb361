package socketio

import (
	"encoding/json"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jobcast/jobcast/transport/engineio"
)

// Socket is one peer in one namespace.
type Socket struct {
	conn  *conn
	space *space
	id    string // public
	pid   string // secret: the session to come back to; empty: none
	peer  Peer
	next  atomic.Int64 // when the peer wants its Tick, see Server.since; 0: never

	left atomic.Bool // Disconnect was called

	events sync.Mutex // held while the peer handles an event; before calls
	calls  sync.Mutex // held while the peer is asked to fill; guards closed
	closed bool

	mu    sync.Mutex // guards queue
	queue []message
}

// ID is the public id of the socket.
func (s *Socket) ID() string { return s.id }

// Handshake is what Options.Admit returned for the connection.
func (s *Socket) Handshake() any { return s.conn.handshake }

// Session sets the secret with which the peer may ask, in a later CONNECT, to go
// on where it was. It is called during Connect.
func (s *Socket) Session(pid string) { s.pid = pid }

// LetIn says that the peer has shown a good credential.
func (s *Socket) LetIn() { s.conn.session.LetIn() }

// Wake says that the peer may have something to send. It never blocks.
func (s *Socket) Wake() { s.conn.session.Wake() }

// TickAt sets when the Tick of the peer is called next.
func (s *Socket) TickAt(t time.Time) {
	s.next.Store(max(s.conn.srv.since(t), 1))
	s.conn.arm()
}

// Emit sends an event.
func (s *Socket) Emit(name string, args ...any) error {
	text, err := encode(nil, typeEvent, s.space.name, noID, append([]any{name}, args...))
	if err != nil {
		return err
	}
	return s.push(message{text: text})
}

// Ack answers an event that wants it.
func (s *Socket) Ack(e *Event, args ...any) error {
	if args == nil {
		args = []any{}
	}
	text, err := encode(nil, typeAck, s.space.name, e.ID, args)
	if err != nil {
		return err
	}
	return s.push(message{text: text})
}

// Return sends an event's arguments back, attachments and all: as the event name,
// or, if that is empty, as its acknowledgement.
func (s *Socket) Return(e *Event, name string) error {
	kind, id, args := byte(typeEvent), int64(noID), e.Args
	if name == "" {
		kind, id = typeAck, e.ID
	} else {
		quoted, err := json.Marshal(name)
		if err != nil {
			return err
		}
		args = append([]json.RawMessage{quoted}, args...)
	}
	if len(e.attachments) > 0 {
		kind += typeBinaryEvent - typeEvent
	}
	if args == nil {
		args = []json.RawMessage{}
	}
	data, err := json.Marshal(args)
	if err != nil {
		return err
	}
	text := append(head(nil, kind, len(e.attachments), s.space.name, id), data...)
	return s.push(message{text, e.attachments})
}

func (s *Socket) push(m message) error {
	s.mu.Lock()
	full := len(s.queue) >= maxPending
	if !full {
		s.queue = append(s.queue, m)
	}
	s.mu.Unlock()
	if full {
		return errUnread
	}
	s.Wake()
	return nil
}

// Fail ends the whole connection without a word about the namespace, so that the
// peer comes back. It never blocks.
func (s *Socket) Fail(cause error) { s.conn.session.Fail(cause) }

// Disconnect makes the peer leave the namespace for good: it does not come back by
// itself. Nothing is sent after it. It must not be called by the Peer's methods,
// nor while locks are held that they take.
func (s *Socket) Disconnect() {
	s.left.Store(true)
	if s.conn.socket(s.space.name) == s { // otherwise connect is at it, and sees left
		s.depart()
	}
}

// depart says goodbye, once.
func (s *Socket) depart() {
	s.events.Lock()
	defer s.events.Unlock()
	s.calls.Lock()
	if s.closed {
		s.calls.Unlock()
		return
	}
	s.closed = true
	s.mu.Lock()
	queue := s.queue
	s.queue = nil
	s.mu.Unlock()
	bye := message{text: head(nil, typeDisconnect, 0, s.space.name, noID)}
	s.conn.mu.Lock()
	s.conn.control = append(append(s.conn.control, queue...), bye)
	s.conn.mu.Unlock()
	s.calls.Unlock()
	s.conn.remove(s)
	s.peer.Closed(ErrLeft)
	s.Wake()
}

// event hands an event to the peer, unless the socket is over.
func (s *Socket) event(e Event) error {
	s.events.Lock()
	defer s.events.Unlock()
	s.calls.Lock()
	closed := s.closed
	s.calls.Unlock()
	if closed {
		return nil
	}
	return s.peer.Event(e)
}

func (s *Socket) fill(w *engineio.Writer) (more bool) {
	s.calls.Lock()
	defer s.calls.Unlock()
	if s.closed {
		return false
	}
	s.flush(w)
	return s.peer.Fill(w)
}

func (s *Socket) flush(w *engineio.Writer) {
	s.mu.Lock()
	queue := s.queue
	s.queue = nil
	s.mu.Unlock()
	write(w, queue)
}

func (s *Socket) goodbye(w *engineio.Writer, retry time.Duration) {
	s.calls.Lock()
	defer s.calls.Unlock()
	if !s.closed {
		s.flush(w)
		s.peer.Goodbye(w, retry)
	}
}

func (s *Socket) tick(now time.Time) error {
	s.calls.Lock()
	defer s.calls.Unlock()
	if ms := s.next.Load(); s.closed || ms == 0 || s.conn.srv.since(now) < ms {
		return nil
	}
	s.next.Store(0)
	return s.peer.Tick(now)
}

// close tells the peer, once.
func (s *Socket) close(cause error) {
	s.calls.Lock()
	done := s.closed
	s.closed = true
	s.calls.Unlock()
	if !done {
		s.peer.Closed(cause)
	}
}
