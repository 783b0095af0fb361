package transport

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"
	"time"

	"github.com/jobcast/jobcast/eventlog"
	"github.com/jobcast/jobcast/hub"
	"github.com/jobcast/jobcast/jobs"
)

// Frame is a control frame: its name and its data object. Control frames are
// never in the log and have no id of their own.
type Frame struct {
	Event  string
	Cursor string // frames that carry a place; on SSE it is the frame's id
	Data   any
}

// MarshalData encodes the frame's data, compact and on one line.
func (f Frame) MarshalData() []byte {
	if d, ok := f.Data.(roomData); ok && len(d.Job) > 0 {
		return d.marshal()
	}
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)       // what a job holds must not grow
	if enc.Encode(f.Data) != nil { // only a broken Job snapshot could cause it
		return []byte("{}")
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n"))
}

type roomData struct {
	Room     string          `json:"room"`
	JobID    string          `json:"jobId,omitempty"`
	ClientID string          `json:"clientId,omitempty"`
	Cursor   string          `json:"cursor,omitempty"`
	Job      json.RawMessage `json:"job,omitempty"`
}

// marshal is json.Marshal where there is a Job. That was encoded a moment ago, and
// encoding/json would read all of it once more.
func (d roomData) marshal() []byte {
	job := d.Job
	d.Job = nil
	data, _ := json.Marshal(d) // strings always encode
	return slices.Concat(data[:len(data)-1], []byte(`,"job":`), job, []byte("}"))
}

type resetData struct {
	Room   string `json:"room"`
	Reason string `json:"reason"`
	Oldest string `json:"oldest"`
	Cursor string `json:"cursor"`
}

type liveData struct {
	Room   string `json:"room"`
	Cursor string `json:"cursor"`
}

type endData struct {
	JobID       string `json:"jobId"`
	Status      string `json:"status"`
	LastEventID string `json:"lastEventId"`
}

// RoomName is how a room is called on the wire: job:<id> or client:<id>.
func RoomName(r eventlog.Room) string {
	if r.Job != "" {
		return "job:" + r.Job
	}
	return "client:" + r.Client
}

// ConnectedFrame greets a connection. ping is the interval of the application's
// ping, where the transport has one.
func ConnectedFrame(connectionID, clientID string, at time.Time, ping time.Duration) Frame {
	return Frame{Event: "connected", Data: struct {
		Message        string    `json:"message"`
		ConnectionID   string    `json:"connectionId"`
		ClientID       string    `json:"clientId"`
		ConnectedAt    jobs.Time `json:"connectedAt"`
		PingIntervalMs int64     `json:"pingIntervalMs"`
	}{"Connected to job events", connectionID, clientID, jobs.At(at), ping.Milliseconds()}}
}

// SubscribedFrame confirms a room and says where it starts from.
func SubscribedFrame(j hub.Joined) Frame {
	d := roomData{Room: RoomName(j.Room), JobID: j.Room.Job, Cursor: j.Cursor, Job: j.Job}
	if j.Room.Job == "" {
		d.ClientID = j.Room.Client
	}
	return Frame{Event: "subscribed", Cursor: j.Cursor, Data: d}
}

// UnsubscribedFrame confirms that a room is not joined any more, and where it was
// left; an empty cursor: it was not joined. The job may be any text of the peer's.
func UnsubscribedFrame(r eventlog.Room, cursor string) Frame {
	r.Job = Echo(r.Job)
	f := SubscribedFrame(hub.Joined{Room: r, Cursor: cursor})
	f.Event = "unsubscribed"
	return f
}

// maxEcho bounds what is repeated of a peer's text, in bytes, so that answers are no
// larger than questions. Ids and the names of events are shorter.
const maxEcho = 64

// Echo returns the beginning of a peer's text that is repeated to it.
func Echo(text string) string {
	if len(text) > maxEcho {
		text = strings.ToValidUTF8(text[:maxEcho], "")
	}
	return strings.Clone(text)
}

// MarkFrame turns a mark of a subscription into its frame.
func MarkFrame(m *hub.Mark) Frame {
	switch m.Kind {
	case hub.Started:
		return SubscribedFrame(m.Joined)
	case hub.Live:
		return Frame{Event: "live", Cursor: m.Cursor, Data: liveData{RoomName(m.Room), m.Cursor}}
	case hub.Reset:
		return Frame{Event: "reset", Cursor: m.Cursor, Data: resetData{RoomName(m.Room), string(m.Reason), m.Oldest, m.Cursor}}
	case hub.End:
		return Frame{Event: "end", Cursor: m.Cursor, Data: endData{m.Room.Job, m.Status, m.Cursor}}
	case hub.Gone:
		return ProblemFrame(FromError(jobs.ErrNotFound))
	default:
		return ProblemFrame(Refuse(Unavailable, "The history cannot be read at the moment; try again later."))
	}
}

// PingFrame is a sign of life that applications can see.
func PingFrame(at time.Time) Frame {
	return Frame{Event: "ping", Data: json.RawMessage(AppendPing(nil, at))}
}

// AppendPing appends the data of a PingFrame: every idle connection sends one now
// and then.
func AppendPing(dst []byte, at time.Time) []byte {
	return at.UTC().AppendFormat(dst, `{"timestamp":"`+jobs.TimeFormat+`"}`)
}

// ReconnectFrame asks the peer to come back after retry, from the cursor last.
func ReconnectFrame(retry time.Duration, last string) Frame {
	return Frame{Event: "reconnect", Cursor: last, Data: struct {
		RetryMs     int64  `json:"retryMs"`
		LastEventID string `json:"lastEventId"`
	}{retry.Milliseconds(), last}}
}

// ProblemFrame says on a stream what a response would say with a status. It is
// named problem, because `event: error` would fire an EventSource's onerror.
func ProblemFrame(p *Problem) Frame {
	return Frame{Event: "problem", Data: struct {
		Message string `json:"message"`
		*Problem
	}{p.Detail, p}}
}
