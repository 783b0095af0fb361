package socketio

import (
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"time"

	"github.com/gofiber/fiber/v2"

	"github.com/jobcast/jobcast/transport/engineio"
)

// Namespace accepts peers.
type Namespace interface {
	// Connect decides about a peer's CONNECT. auth is its payload, a JSON object,
	// or nil. A *Refusal is answered as a CONNECT_ERROR, after which the official
	// client never comes back by itself. Any other error ends the whole connection,
	// so that the client does.
	Connect(s *Socket, auth json.RawMessage) (Peer, error)
}

// Peer is one connected socket as its namespace knows it. Calls of Event do not
// overlap, nor do calls of Fill, Goodbye and Tick; the groups may. No method may
// block for long, and none is called after Closed.
type Peer interface {
	// Event handles an event of the peer. An error ends the whole connection.
	Event(e Event) error
	// Fill adds messages that are due, until w is full; more says that there are
	// further ones. It is called after each Socket.Wake.
	Fill(w *engineio.Writer) (more bool)
	// Goodbye adds what a draining server says last.
	Goodbye(w *engineio.Writer, retry time.Duration)
	// Tick is called at the time set by Socket.TickAt. An error ends the whole
	// connection.
	Tick(now time.Time) error
	// Closed is called once, when the socket is over. Left says that the peer or
	// the namespace has left on purpose, and the connection may go on.
	Closed(cause error)
}

// ErrLeft is the cause of Closed after a DISCONNECT of either side.
var ErrLeft = errors.New("socketio: left the namespace")

// errUnjoined ends a connection that is in no namespace for too long.
var errUnjoined = errors.New("socketio: joined no namespace in time")

// Refusal is a CONNECT_ERROR.
type Refusal struct {
	Message string `json:"message"`
	Data    any    `json:"data,omitempty"`

	// Joined, if not empty, is an event that is sent instead, with the message: the peer
	// joins, hears it and is disconnected. Data is not sent then. No Peer comes of it, and
	// the peer counts as one that is in no namespace.
	Joined string `json:"-"`
}

// Error implements error.
func (r *Refusal) Error() string { return r.Message }

// Event is one event of the peer.
type Event struct {
	Name        string // a number is written as it was sent
	Args        []json.RawMessage
	ID          int64 // for Ack; see WantsAck
	attachments [][]byte
}

// WantsAck reports whether the peer waits for an acknowledgement.
func (e *Event) WantsAck() bool { return e.ID != noID }

// Binary reports whether something is attached; the arguments hold placeholders then.
func (e *Event) Binary() bool { return len(e.attachments) > 0 }

// Options of a Server. Namespaces is required.
type Options struct {
	Namespaces map[string]Namespace // by name, which begins with a slash
	// Admit is asked at each handshake, before anything else. What it returns is
	// kept for Socket.Handshake; its error refuses the handshake. end ends the session,
	// soon; it never blocks.
	Admit func(c *fiber.Ctx, end func(error)) (handshake any, err error)
	// Released is called when a session that was admitted is over.
	Released       func(handshake any)
	ConnectTimeout time.Duration // longest time in none of the namespaces; default 45 s
	// Main lets everybody join the main namespace, where nothing is said and nothing
	// heard: some clients always join it. It is none of Namespaces then, and being in it
	// does not count as being in one.
	Main bool
}

// Server makes the applications of Engine.IO sessions.
type Server struct {
	opt    Options
	began  time.Time
	spaces map[string]*space // by name
}

// space is a namespace and its name.
type space struct {
	Namespace
	name string
}

// New returns a server; its Open belongs into engineio.Options.
func New(o Options) *Server {
	if o.ConnectTimeout == 0 {
		o.ConnectTimeout = 45 * time.Second
	}
	srv := &Server{opt: o, began: time.Now(), spaces: make(map[string]*space, len(o.Namespaces))}
	for name, n := range o.Namespaces {
		srv.spaces[name] = &space{n, name}
	}
	return srv
}

// Open makes the application of one session.
func (srv *Server) Open(c *fiber.Ctx, session *engineio.Session) (engineio.Application, error) {
	conn := &conn{srv: srv, session: session, deadline: srv.deadline()}
	if srv.opt.Admit != nil {
		handshake, err := srv.opt.Admit(c, session.Fail)
		if err != nil {
			return nil, err
		}
		conn.handshake = handshake
	}
	session.TickAt(srv.at(conn.deadline))
	return conn, nil
}

// deadline is by when a connection without a socket must have one, see since.
func (srv *Server) deadline() int64 { return srv.since(time.Now().Add(srv.opt.ConnectTimeout)) }

// since returns t in milliseconds of the server's life, which setting the system's
// clock does not move, and at the opposite.
func (srv *Server) since(t time.Time) int64 { return t.Sub(srv.began).Milliseconds() }
func (srv *Server) at(ms int64) time.Time   { return srv.began.Add(time.Duration(ms) * time.Millisecond) }

// newID returns 20 characters that nobody can guess.
func newID() string {
	var b [15]byte
	_, _ = rand.Read(b[:]) // never fails
	return base64.RawURLEncoding.EncodeToString(b[:])
}
