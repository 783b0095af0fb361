package transporttest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"
)

// Transport is one protocol as its clients speak it.
type Transport struct {
	Name string
	// Open subscribes to a room. When it returns, the room's starting place is
	// fixed. A refusal is a *Refusal.
	Open func(ctx context.Context, c Caller, o Opening) (Reader, error)

	// Accept is the media type by which an events URL speaks this protocol;
	// empty if it is not spoken there.
	Accept string
	// Stream: it goes on, has signs of life and says `end`. Otherwise each
	// answer is whole in itself.
	Stream bool
	// Connect opens a connection without a room; nil if that does not exist.
	Connect func(ctx context.Context, c Caller) (Connection, error)
	// Stall makes a reader of a job's room that is there and takes nothing. What
	// the room has is already read, or waits to be sent.
	Stall func(ctx context.Context, c Caller, o Opening) error

	Conflates bool          // a reader may ask for less
	Inside    bool          // what it refuses it refuses in messages of its own, without HTTP headers
	Codes     bool          // it is closed with codes that say why
	Requests  bool          // made of many requests: between two, a client has no connection
	Upgrades  bool          // it begins in one way and goes on in another
	Silence   time.Duration // the longest that an idle one may say nothing; 0: it has no signs of life
	Patience  time.Duration // how long a client may answer no sign of life; 0: it need not
}

// Caller is who opens a reader, and how it reaches the server.
type Caller struct {
	Dial   func(ctx context.Context) (net.Conn, error)
	Secret string // a key or a token; empty: none is sent
	Second string // sent besides, in a second place; empty: there is none

	Protocols []string // of WebSocket: what is offered, each in a line; the first must be selected
	Framed    string   // of WebSocket: the end of the handshake's head and a body, instead of the blank line
	Trails    bool     // Socket.IO: offsets are arguments of events, not packets of their own
}

// Opening says what a reader wants. The zero value is the client's room.
type Opening struct {
	Job        string // empty: the client's room
	Cursor     string // sent the way a reconnecting client sends it: Last-Event-ID; a line for each line
	Lines      bool   // headers that are lists come in several lines
	Query      string // ?lastEventId=
	From       string // ?from=
	Tail       string // ?tail=, a number
	Conflate   bool
	PingEvents bool // signs of life as events
}

// Reader is one open subscription.
type Reader interface {
	// Next returns what comes next. io.EOF is a clean end, an error that is
	// ErrCut any other.
	Next() (Item, error)
	// Cursor is what a client would come back with now.
	Cursor() string
	// Close leaves without a word.
	Close()
}

// Names of items that are not control frames of their own.
const (
	Heartbeat = "heartbeat" // a sign of life that applications do not see
	Retry     = "retry"     // how long to wait before coming back; Data is in ms
)

// Item is one thing that a reader got: a job event, or (Event nil) a control
// frame.
type Item struct {
	Event json.RawMessage // byte for byte
	ID    string          // the cursor it carries, if any
	Name  string          // of a control frame
	Data  json.RawMessage // of a control frame
}

// newItem makes an item of a message. The id of a job event is its first member, and
// all of it is read once, where it is compared: see entriesOf.
func newItem(name string, data json.RawMessage) (Item, error) {
	if name == "job.event" {
		rest, first := bytes.CutPrefix(data, []byte(`{"id":"`))
		id, _, whole := bytes.Cut(rest, []byte(`"`))
		if !first || !whole {
			return Item{}, fmt.Errorf("%w: an event that does not begin with its id: %q", ErrWire, data)
		}
		return Item{Event: data, ID: string(id)}, nil
	}
	var place struct{ Cursor, LastEventID string }
	if err := json.Unmarshal(data, &place); err != nil {
		return Item{}, fmt.Errorf("data %q of %s: %w", data, name, err)
	}
	return Item{Name: name, Data: data, ID: place.Cursor + place.LastEventID}, nil
}

// ErrCut is the end of a reader that was not told it was over.
var ErrCut = errors.New("cut")

// Refusal is an answer instead of a subscription.
type Refusal struct {
	Status int
	Header http.Header
	Body   []byte
}

func (r *Refusal) Error() string { return fmt.Sprintf("refused with %d: %s", r.Status, r.Body) }

// Problem is what a refusal or a `problem` frame says.
type Problem struct {
	Status      int
	Code        string
	Reason      string
	Oldest      string
	LastEventID string
}

// silence is the longest that an idle stream may say nothing: proxies cut
// connections that are silent for longer than theirs. Engine.IO fixes its own.
const (
	silence       = 15 * time.Second
	silenceEngine = 25 * time.Second
)

// Transports are the protocols that the suite knows.
func Transports() []Transport {
	return []Transport{
		{Name: "sse", Open: openSSE, Accept: mediaSSE, Stream: true, Conflates: true, Silence: silence, Stall: stallHTTP(mediaSSE)},
		{Name: "ndjson", Open: openNDJSON, Accept: mediaNDJSON, Stream: true, Conflates: true, Silence: silence, Stall: stallHTTP(mediaNDJSON)},
		{Name: "poll", Open: openPoll, Accept: mediaJSON, Conflates: true, Requests: true, Stall: stallHTTP(mediaJSON)},
		{Name: "websocket", Open: openSocket, Stream: true, Connect: connectSocket, Stall: stallSocket,
			Conflates: true, Codes: true, Silence: silence, Patience: time.Minute},
		socketIO(ViaPolling), socketIO(ViaWebSocket), socketIO(ViaUpgrade),
	}
}

// socketIO never conflates.
func socketIO(how Via) Transport {
	return Transport{
		Name: "socketio-" + string(how), Open: openIO(how), Connect: connectIO(how), Stall: stallIO(how),
		Stream: true, Inside: true, Requests: how != ViaWebSocket, Upgrades: how == ViaUpgrade,
		Silence: silenceEngine, Patience: 45 * time.Second,
	}
}
