package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/coder/websocket"
)

// subscribe is the data of the frame that joins a room.
type subscribe struct {
	JobID       string `json:"jobId,omitempty"`
	LastEventID string `json:"lastEventId,omitempty"`
	From        From   `json:"from,omitempty"`
	Conflate    bool   `json:"conflate,omitempty"`
}

// websocket reads one room over a connection of its own. Signs of life need no
// care of ours: the library answers pings while it reads.
func (w *watch) websocket(ctx context.Context, dog *watchdog) error {
	conn, resp, err := websocket.Dial(ctx, w.c.base+"/v1/ws", &websocket.DialOptions{ //nolint:bodyclose // Dial says that nobody needs to
		HTTPClient: w.c.http,
		HTTPHeader: w.c.headers(),
		OnPingReceived: func(context.Context, []byte) bool {
			dog.watch()
			return true
		},
	})
	if err != nil {
		if resp != nil {
			return readProblem(resp)
		}
		return err
	}
	defer conn.CloseNow() //nolint:errcheck // it only says that the connection is closed already
	conn.SetReadLimit(maxFrameBytes)
	s := subscribe{JobID: w.job, LastEventID: w.cursor, Conflate: w.o.Conflate}
	if w.cursor == "" {
		s.From = w.o.From
	}
	hello, err := json.Marshal(struct {
		Event string    `json:"event"`
		Data  subscribe `json:"data"`
	}{"subscribe", s})
	if err != nil {
		return fmt.Errorf("encode subscribe: %w", err)
	}
	if err := conn.Write(ctx, websocket.MessageText, hello); err != nil {
		return err
	}
	for {
		dog.watch()
		_, text, err := conn.Read(ctx)
		dog.rest()
		if err != nil {
			return closed(err)
		}
		if err := w.enveloped(text); err != nil {
			return err
		}
	}
}

// Close codes after which the same connection would be refused again.
const (
	closeMalformed  = 4500
	closeCredential = 4501
	closeForbidden  = 4503
)

// closed turns a close code that says "do not come back" into a refusal. After
// all others, and after a cut, the watch comes back.
func closed(err error) error {
	var c websocket.CloseError
	if !errors.As(err, &c) {
		return err
	}
	switch c.Code {
	case closeMalformed:
		return &Problem{Code: "malformed", Status: 400, Detail: c.Reason}
	case closeCredential:
		return &Problem{Code: string(ErrUnauthenticated), Status: 401, Detail: c.Reason}
	case closeForbidden:
		return &Problem{Code: string(ErrForbidden), Status: 403, Detail: c.Reason}
	}
	return err
}
