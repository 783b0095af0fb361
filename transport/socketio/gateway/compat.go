package gateway

import (
	"encoding/json"
	"strconv"
	"strings"

	"github.com/gofiber/fiber/v2"

	"github.com/jobcast/jobcast/jobs"
	"github.com/jobcast/jobcast/transport"
	"github.com/jobcast/jobcast/transport/socketio"
)

// The manners of a NestJS gateway (Options.NestJS), whose clients were written against
// JavaScript: values that are no strings count as what JavaScript makes of them.

// loose is a string, or empty for anything else.
type loose string

// UnmarshalJSON implements json.Unmarshaler; it never fails.
func (l *loose) UnmarshalJSON(data []byte) error {
	var s string
	if json.Unmarshal(data, &s) == nil {
		*l = loose(s)
	}
	return nil
}

// nestCredentials reads the payload of CONNECT. What is no string is as good as absent.
func nestCredentials(payload json.RawMessage) (c credentials) {
	var l struct {
		Token  loose `json:"token"`
		APIKey loose `json:"apiKey"`
		PID    loose `json:"pid"`
		Offset loose `json:"offset"`
	}
	if payload != nil && jobs.DecodeKnown(payload, &l) == nil {
		c = credentials{string(l.Token), string(l.APIKey), string(l.PID), string(l.Offset)}
	}
	return c
}

// nestSecret notes the first credential of a request in the gateway's order: `apiKey` in
// the query, Bearer, `x-api-key`. The others are not looked at. `token` in the query,
// which that gateway did not know, comes after those of CONNECT.
func (h *handshake) nestSecret(c *fiber.Ctx) {
	if h.secret = transport.FirstCredential(c); h.secret == "" {
		h.secret, h.last = transport.Secret(strings.Clone(c.Query("token"))), true
	}
}

// nestCredential returns the first key or token in the gateway's order.
func (h *handshake) nestCredential(c credentials) string {
	auth := transport.Secret(c.Token)
	if auth == "" {
		auth = transport.Secret(c.APIKey)
	}
	if h.secret == "" || h.last && auth != "" {
		return auth
	}
	return h.secret
}

// nestRefusal lets the peer in, says what is wrong and sends it out again, after which
// its application tries again if it wants.
func nestRefusal(message string) *socketio.Refusal {
	return &socketio.Refusal{Message: message, Joined: "error"}
}

// nestRequest reads the argument of subscribe and unsubscribe. What is no object has no
// members; a jobId that JavaScript takes for false is absent.
func nestRequest(arg json.RawMessage) (q request) {
	var r struct {
		JobID       json.RawMessage `json:"jobId"`
		LastEventID loose           `json:"lastEventId"`
		From        loose           `json:"from"`
	}
	if jobs.DecodeKnown(arg, &r) == nil {
		q = request{JobID: nestText(r.JobID), LastEventID: string(r.LastEventID), From: string(r.From)}
	}
	return q
}

// noJob is an id that no job has.
const noJob = "[]"

// nestText is `value ? String(value) : ""` for the values that may be an id. A true value
// without a text is noJob, because an empty id means the client's room.
func nestText(value json.RawMessage) string {
	if items, ok := jobs.SplitArray(value); ok {
		if len(items) == 1 && items[0][0] != '[' { // deeper ones are as good as any text
			if text := nestItem(items[0]); text != "" {
				return text
			}
		}
		return noJob
	}
	text := nestItem(value)
	if f, err := strconv.ParseFloat(text, 64); !quoted(value) && (text == "false" || err == nil && f == 0) {
		return ""
	}
	return text
}

// nestItem is the text of a value that is no array.
func nestItem(value json.RawMessage) string {
	var s string
	switch {
	case len(value) == 0 || string(value) == "null":
		return ""
	case quoted(value) && json.Unmarshal(value, &s) == nil:
		return s
	case value[0] == '{':
		return "[object Object]"
	}
	return string(value)
}

func quoted(value json.RawMessage) bool { return len(value) > 0 && value[0] == '"' }
