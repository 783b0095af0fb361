package socketio

import (
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/jobcast/jobcast/transport/engineio"
)

// maxPending bounds the messages that a peer makes us owe it.
const maxPending = 256

// errUnread ends a connection whose peer asks and does not read.
var errUnread = errors.New("socketio: answers are not read")

// message is one outgoing packet: its text and what is attached to it.
type message struct {
	text        []byte
	attachments [][]byte
}

// half is a binary packet and those of its attachments that are there. Of one that is
// ignored nothing is kept: its peer may be a stranger.
type half struct {
	packet
	parts   [][]byte
	ignored bool
}

// conn is the application of one session.
type conn struct {
	srv       *Server
	session   *engineio.Session
	handshake any

	half *half // a packet whose attachments are still to come; of Receive
	main bool  // it has joined the main namespace of Options.Main; of Receive
	shut bool  // it was let into a namespace and out again, see Refusal.Joined; of Receive

	mu       sync.Mutex // guards everything below
	sockets  []*Socket  // never changed in place, so that it can be read without mu
	control  []message  // answers that belong to no socket
	deadline int64      // without a socket, the connection ends then, see Server.since; 0: it has one
}

func (c *conn) socket(namespace string) *Socket {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, s := range c.sockets {
		if s.space.name == namespace {
			return s
		}
	}
	return nil
}

// mainName is the namespace that packets without a name are for.
const mainName = "/"

// inMain reports whether a packet's namespace is that of Options.Main, and joined.
func (c *conn) inMain(namespace string) bool { return c.main && namespace == mainName }

// ignores reports whether packets for a namespace without a socket are passed over:
// those for the main one, and what a peer has said before it heard that it is out.
func (c *conn) ignores(namespace string) bool {
	return c.inMain(namespace) || c.shut && c.srv.spaces[namespace] != nil
}

// Receive implements engineio.Application.
func (c *conn) Receive(m engineio.Message) error {
	if m.Binary {
		return c.attach(m.Data)
	}
	if c.half != nil { // text where an attachment must come
		return errPacket
	}
	p, err := parse(m.Data)
	if err != nil {
		return err
	}
	if p.attachments > 0 {
		if c.socket(p.namespace) == nil && !c.ignores(p.namespace) {
			return errPacket
		}
		c.half = &half{packet: p}
		if c.socket(p.namespace) == nil {
			c.half.data, c.half.ignored = nil, true
		}
		return nil
	}
	return c.handle(p, nil)
}

// attach takes one attachment.
func (c *conn) attach(data []byte) error {
	h := c.half
	if h == nil {
		return errPacket
	}
	if h.ignored {
		data = nil
	}
	h.parts = append(h.parts, data)
	if len(h.parts) < h.attachments {
		return nil
	}
	c.half = nil
	if h.ignored {
		return nil
	}
	if err := checkPlaceholders(h.data, len(h.parts)); err != nil {
		return err
	}
	return c.handle(h.packet, h.parts)
}

// handle does what one packet says.
func (c *conn) handle(p packet, attachments [][]byte) error {
	s := c.socket(p.namespace)
	if p.kind == typeConnect {
		if s != nil || c.inMain(p.namespace) {
			return errPacket
		}
		return c.connect(p)
	}
	if s == nil && !c.ignores(p.namespace) {
		return errPacket
	}
	switch p.kind {
	case typeDisconnect:
		if s == nil {
			c.main = c.main && p.namespace != mainName
			return nil
		}
		c.remove(s)
		s.close(ErrLeft)
		return nil
	case typeEvent, typeBinaryEvent:
		if s == nil {
			return nil
		}
		name, args, err := parseEvent(p.data)
		if err != nil {
			return err
		}
		return s.event(Event{Name: name, Args: args, ID: p.id, attachments: attachments})
	}
	return nil // an acknowledgement: we ask for none
}

// connect lets the namespace decide.
func (c *conn) connect(p packet) error {
	n := c.srv.spaces[p.namespace]
	if n == nil && p.namespace == mainName && c.srv.opt.Main {
		c.main = true
		text, err := welcome(mainName, newID(), "")
		if err != nil {
			return err
		}
		return c.push(message{text: text})
	}
	if n == nil {
		return c.refuse(p.namespace, &Refusal{Message: "Invalid namespace"})
	}
	s := &Socket{conn: c, space: n, id: newID()}
	peer, err := n.Connect(s, p.data)
	if err != nil {
		var r *Refusal
		if !errors.As(err, &r) {
			return err
		}
		return c.refuse(p.namespace, r)
	}
	s.peer = peer
	text, err := welcome(s.space.name, s.id, s.pid)
	if err != nil {
		return err
	}
	s.pid = "" // said, and nobody asks again: it is long
	c.mu.Lock()
	c.sockets = append(c.sockets, s)
	c.control = append(c.control, message{text: text})
	c.deadline = 0
	c.mu.Unlock()
	if s.left.Load() {
		s.depart()
		return nil
	}
	c.arm()
	c.session.Wake()
	return nil
}

// welcome is the answer to a CONNECT that succeeds.
func welcome(namespace, sid, pid string) ([]byte, error) {
	return encode(nil, typeConnect, namespace, noID, struct {
		SID string `json:"sid"`
		PID string `json:"pid,omitempty"`
	}{sid, pid})
}

func (c *conn) refuse(namespace string, r *Refusal) error {
	if r.Joined != "" {
		return c.refuseJoined(namespace, r)
	}
	text, err := encode(nil, typeConnectError, namespace, noID, r)
	if err != nil {
		return err
	}
	return c.push(message{text: text})
}

// refuseJoined lets a peer in, tells it why it is out again, and that it is.
func (c *conn) refuseJoined(namespace string, r *Refusal) error {
	in, err := welcome(namespace, newID(), "")
	if err != nil {
		return err
	}
	why, err := encode(nil, typeEvent, namespace, noID, []any{r.Joined, Refusal{Message: r.Message}})
	if err != nil {
		return err
	}
	c.shut = true
	return c.push(message{text: in}, message{text: why}, message{text: head(nil, typeDisconnect, 0, namespace, noID)})
}

func (c *conn) push(m ...message) error {
	c.mu.Lock()
	full := len(c.control) >= maxPending
	if !full {
		c.control = append(c.control, m...)
	}
	c.mu.Unlock()
	if full {
		return errUnread
	}
	c.session.Wake()
	return nil
}

// remove takes a socket out that has left.
func (c *conn) remove(s *Socket) {
	c.mu.Lock()
	i := slices.Index(c.sockets, s)
	if i >= 0 {
		c.sockets = slices.Concat(c.sockets[:i], c.sockets[i+1:])
		if len(c.sockets) == 0 {
			c.deadline = c.srv.deadline()
		}
	}
	c.mu.Unlock()
	if i >= 0 {
		c.arm()
	}
}

// all returns the sockets at the moment.
func (c *conn) all() []*Socket {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.sockets
}

// Fill implements engineio.Application.
func (c *conn) Fill(w *engineio.Writer) (more bool) {
	for _, s := range c.flush(w) {
		more = s.fill(w) || more
	}
	return more
}

// flush adds the answers that belong to no socket. It returns the sockets that
// may send after them: those whose CONNECT is answered.
func (c *conn) flush(w *engineio.Writer) []*Socket {
	c.mu.Lock()
	control, sockets := c.control, c.sockets
	c.control = nil
	c.mu.Unlock()
	write(w, control)
	return sockets
}

func write(w *engineio.Writer, messages []message) {
	for _, m := range messages {
		w.Text(m.text)
		for _, b := range m.attachments {
			w.Binary(b)
		}
	}
}

// Goodbye implements engineio.Application.
func (c *conn) Goodbye(w *engineio.Writer, retry time.Duration) {
	for _, s := range c.flush(w) {
		s.goodbye(w, retry)
	}
}

// Tick implements engineio.Application.
func (c *conn) Tick(now time.Time) error {
	c.mu.Lock()
	deadline := c.deadline
	c.mu.Unlock()
	if deadline != 0 {
		if c.srv.since(now) >= deadline {
			return errUnjoined
		}
		c.arm()
		return nil
	}
	for _, s := range c.all() {
		if err := s.tick(now); err != nil {
			return err
		}
	}
	c.arm()
	return nil
}

// arm asks for the Tick of the socket that wants the next one, or at the
// deadline. mu is held to the end, so that the newest answer is the last.
func (c *conn) arm() {
	c.mu.Lock()
	defer c.mu.Unlock()
	next := c.deadline
	for _, s := range c.sockets {
		if ms := s.next.Load(); ms != 0 && (next == 0 || ms < next) {
			next = ms
		}
	}
	if next != 0 {
		c.session.TickAt(c.srv.at(next))
	}
}

// Closed implements engineio.Application.
func (c *conn) Closed(cause error) {
	c.mu.Lock()
	sockets := c.sockets
	c.sockets, c.control = nil, nil
	c.mu.Unlock()
	for _, s := range sockets {
		s.close(cause)
	}
	if c.srv.opt.Released != nil {
		c.srv.opt.Released(c.handshake)
	}
}
