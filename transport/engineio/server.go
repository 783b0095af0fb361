package engineio

import (
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"log/slog"
	"math"
	"sync"
	"time"

	"github.com/gofiber/fiber/v2"

	"github.com/jobcast/jobcast/transport/wire"
	"github.com/jobcast/jobcast/transport/wire/rfc6455"
)

// Application is what one session carries. Calls of Receive do not overlap, nor
// do calls of Fill and Goodbye; the two groups may. No method may block for long,
// and none is called after Closed.
type Application interface {
	// Receive handles one message of the peer. An error ends the session.
	Receive(m Message) error
	// Fill adds messages that are due, until w is full; more says that there are
	// further ones. It is called after each Session.Wake. w is of no use after it.
	Fill(w *Writer) (more bool)
	// Goodbye adds what a draining server says last.
	Goodbye(w *Writer, retry time.Duration)
	// Tick is called when the time set by Session.TickAt has come. An error ends
	// the session.
	Tick(now time.Time) error
	// Closed is called once, when the session is over; cause says why.
	Closed(cause error)
}

// Why a session ended, beside the errors of an Application and of package wire.
var (
	ErrPingTimeout = errors.New("engineio: ping timeout")
	ErrPeerClosed  = errors.New("engineio: closed by the peer")
	ErrTransport   = errors.New("engineio: transport error")
	ErrPacket      = errors.New("engineio: parse error")
	ErrFlood       = errors.New("engineio: too many messages")
	ErrShutdown    = errors.New("engineio: the server is shutting down")
)

// The defaults of the heartbeat.
const (
	DefaultPingInterval = 25 * time.Second
	DefaultPingTimeout  = 20 * time.Second
)

// Options of a Server. Pool and Open are required, zero values elsewhere mean
// the defaults, which are those of the official server.
type Options struct {
	Pool *wire.Pool
	// Open makes the application of a new session. Its error refuses the
	// handshake and is returned by Serve.
	Open func(c *fiber.Ctx, s *Session) (Application, error)

	// LogRepeats is called for a poll that may come again, the same but for its time
	// stamp `t`, and be answered without the HTTP server. What it returns is called
	// each time when it has, and returns a request id. Default: there is none.
	LogRepeats func(c *fiber.Ctx) func() (requestID string)

	// Payload reads the body of a POST, of at most limit bytes. Its errors are those of
	// wire.ReadBody. Default: wire.ReadBody, without a limit on those that are on their way.
	Payload func(c *fiber.Ctx, limit int) ([]byte, error)

	PingInterval   time.Duration
	PingTimeout    time.Duration
	UpgradeTimeout time.Duration // default 10 s
	MaxPayload     int           // bytes of one request body or message; default 1,000,000
	Log            *slog.Logger  // default none
}

// Server holds the sessions.
type Server struct {
	opt     Options
	upgrade *rfc6455.Upgrader
	clock   *clock

	mu       sync.RWMutex // guards sessions
	sessions map[string]*Session
}

// New returns a server. Close it to end its sessions.
func New(o Options) *Server {
	def := func(d *time.Duration, to time.Duration) {
		if *d == 0 {
			*d = to
		}
	}
	def(&o.PingInterval, DefaultPingInterval)
	def(&o.PingTimeout, DefaultPingTimeout)
	def(&o.UpgradeTimeout, 10*time.Second)
	if o.MaxPayload == 0 {
		o.MaxPayload = 1_000_000
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Payload == nil {
		all := wire.NewShares[int](math.MaxInt64)
		o.Payload = func(c *fiber.Ctx, limit int) ([]byte, error) { return wire.ReadBody(c.Context(), limit, all, 0) }
	}
	return &Server{opt: o, upgrade: rfc6455.NewUpgrader(), clock: newClock(), sessions: make(map[string]*Session)}
}

// Len returns how many sessions there are.
func (srv *Server) Len() int {
	srv.mu.RLock()
	defer srv.mu.RUnlock()
	return len(srv.sessions)
}

// Close ends the sessions. Those that have a connection at the moment are told by
// the pool's Drain, which comes before.
func (srv *Server) Close() {
	srv.mu.RLock()
	all := make([]*Session, 0, len(srv.sessions))
	for _, s := range srv.sessions {
		all = append(all, s)
	}
	srv.mu.RUnlock()
	for _, s := range all {
		s.end(ErrShutdown)
	}
}

func (srv *Server) session(id string) *Session {
	srv.mu.RLock()
	defer srv.mu.RUnlock()
	return srv.sessions[id]
}

func (srv *Server) forget(s *Session) {
	srv.clock.cancel(s)
	srv.mu.Lock()
	delete(srv.sessions, s.id)
	srv.mu.Unlock()
}

// fault is an error of the protocol as it stands on the wire.
type fault struct {
	Code    int    `json:"code"`
	Message string `json:"message"`
}

// The faults of the official server.
var (
	faultTransport = fault{0, "Transport unknown"}
	faultSession   = fault{1, "Session ID unknown"}
	faultMethod    = fault{2, "Bad handshake method"}
	faultRequest   = fault{3, "Bad request"}
	faultVersion   = fault{5, "Unsupported protocol version"}
)

func refuse(c *fiber.Ctx, f fault) error {
	body, err := json.Marshal(f)
	if err != nil {
		return err
	}
	c.Set(fiber.HeaderContentType, fiber.MIMEApplicationJSON)
	return c.Status(fiber.StatusBadRequest).Send(body)
}

// Names of the transports.
const (
	polling   = "polling"
	webSocket = "websocket"
)

// Serve answers every request on the server's path.
func (srv *Server) Serve(c *fiber.Ctx) error {
	via := c.Query("transport")
	if via != polling && via != webSocket {
		return refuse(c, faultTransport)
	}
	id := c.Query("sid")
	if id == "" {
		return srv.handshake(c, via)
	}
	s := srv.session(id)
	if s == nil || s.overdue() {
		return refuse(c, faultSession)
	}
	if v := c.Query("EIO"); v != "" && v != "4" {
		return refuse(c, faultRequest)
	}
	if s.known.Load() {
		wire.LetIn(c.Context().Conn())
	}
	if via == webSocket {
		if !rfc6455.Acceptable(c) {
			return refuse(c, faultRequest)
		}
		return s.probeWith(c)
	}
	switch c.Method() {
	case fiber.MethodGet:
		return s.servePoll(c)
	case fiber.MethodPost:
		return s.servePost(c)
	}
	return refuse(c, faultRequest)
}

// handshake opens a session.
func (srv *Server) handshake(c *fiber.Ctx, via string) error {
	switch {
	case c.Method() != fiber.MethodGet:
		return refuse(c, faultMethod)
	case via == webSocket && !rfc6455.Acceptable(c):
		return refuse(c, faultRequest)
	case c.Query("EIO") != "4":
		return refuse(c, faultVersion)
	}
	s, err := srv.open(c)
	if err != nil {
		return err
	}
	if via == webSocket {
		return s.begin(c)
	}
	noStore(c)
	return c.Send(append([]byte{typeOpen}, s.hello(webSocket)...))
}

func (srv *Server) open(c *fiber.Ctx) (*Session, error) {
	s := &Session{srv: srv, id: newID(), base64: c.Query("b64") == "1"}
	s.pulse = srv.clock.now() + srv.opt.PingInterval
	app, err := srv.opt.Open(c, s)
	if err != nil {
		return nil, err
	}
	s.app = app
	srv.mu.Lock()
	srv.sessions[s.id] = s
	srv.mu.Unlock()
	s.mu.Lock()
	s.ready = true
	s.arm()
	s.mu.Unlock()
	return s, nil
}

// newID returns 20 characters: whoever knows them can read and write the session.
func newID() string {
	var b [15]byte
	_, _ = rand.Read(b[:]) // never fails
	return base64.RawURLEncoding.EncodeToString(b[:])
}

// hello is the data of the open packet. A client without an array of upgrades
// throws.
func (s *Session) hello(upgrades ...string) []byte {
	if upgrades == nil {
		upgrades = []string{}
	}
	o := &s.srv.opt
	data, _ := json.Marshal(struct { // always encodes
		SID          string   `json:"sid"`
		Upgrades     []string `json:"upgrades"`
		PingInterval int64    `json:"pingInterval"`
		PingTimeout  int64    `json:"pingTimeout"`
		MaxPayload   int      `json:"maxPayload"`
	}{s.id, upgrades, o.PingInterval.Milliseconds(), o.PingTimeout.Milliseconds(), o.MaxPayload})
	return data
}
