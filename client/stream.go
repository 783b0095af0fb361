package client

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"time"
)

const (
	// maxSilence is three times as long as an idle stream may be silent: after
	// it the connection is dead, whatever TCP says.
	maxSilence = 45 * time.Second
	// maxFrameBytes bounds one frame. The largest repeats a job, whose size is
	// that of the server's --max-body, at most 64 MiB, and some more.
	maxFrameBytes = 80 << 20
)

// connect opens one connection and gives out what it brings, until it ends.
func (w *watch) connect(ctx context.Context, auto bool) error {
	if w.transport == Poll {
		w.first = nil
		return w.poll(ctx)
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	first := w.c.opt.Timeout
	if auto {
		first = w.c.opt.FirstByte
	}
	dog := &watchdog{w: w, timer: time.AfterFunc(first, func() { cancel(errSilent) })}
	defer dog.timer.Stop()
	w.first = dog.timer
	var err error
	if w.transport == WebSocket {
		err = w.websocket(ctx, dog)
	} else {
		err = w.stream(ctx, dog)
	}
	if context.Cause(ctx) == errSilent { //nolint:errorlint // it is set above, bare
		return errSilent
	}
	return err
}

// watchdog ends a connection that is silent while somebody reads from it. The
// time that the caller takes for an event is no silence. Before the first frame
// the limit is that of the whole connect.
type watchdog struct {
	w     *watch
	timer *time.Timer
}

// watch is called before a read, rest after it.
func (d *watchdog) watch() {
	if d.w.through {
		d.timer.Reset(maxSilence)
	}
}

func (d *watchdog) rest() {
	if d.w.through {
		d.timer.Stop()
	}
}

// watched is a body under a watchdog.
type watched struct {
	io.Reader
	dog *watchdog
}

func (b watched) Read(p []byte) (int, error) {
	b.dog.watch()
	defer b.dog.rest()
	return b.Reader.Read(p)
}

// eventsRequest is a GET for the watch's events. The cursor is in the header,
// where one that cannot be read is answered by a reset.
func (w *watch) eventsRequest(ctx context.Context, accept string, q url.Values) (*http.Request, error) {
	path := "/v1/events"
	if w.job != "" {
		path = jobPath(w.job) + "/events"
	}
	if w.cursor == "" && w.o.From != FromDefault {
		q.Set("from", string(w.o.From))
	}
	if w.o.Conflate {
		q.Set("conflate", "1")
	}
	if len(q) > 0 {
		path += "?" + q.Encode()
	}
	req, err := w.c.request(ctx, http.MethodGet, path)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Accept", accept)
	req.Header.Set("Cache-Control", "no-store")
	if w.cursor != "" {
		req.Header.Set("Last-Event-ID", w.cursor)
	}
	return req, nil
}

// stream reads SSE or NDJSON.
func (w *watch) stream(ctx context.Context, dog *watchdog) error {
	media := "text/event-stream"
	if w.transport == NDJSON {
		media = "application/x-ndjson"
	}
	// A request for an event stream alone would get refusals dressed as streams.
	req, err := w.eventsRequest(ctx, media+", application/problem+json", url.Values{})
	if err != nil {
		return err
	}
	resp, err := w.c.http.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	kind, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	switch {
	case resp.StatusCode == http.StatusNoContent:
		return errOver // the cursor is at or past the job's end
	case resp.StatusCode != http.StatusOK:
		return readProblem(resp)
	case kind != media:
		return &Problem{Status: resp.StatusCode, Title: "the answer is no stream of events"}
	}
	body := bufio.NewReader(watched{resp.Body, dog})
	if w.transport == NDJSON {
		return w.ndjson(body)
	}
	return w.sse(body)
}

func (w *watch) sse(r *bufio.Reader) error {
	for {
		name, data, err := readSSE(r)
		if err != nil {
			return err
		}
		if err := w.frame(name, data); err != nil {
			return err
		}
	}
}

// envelope is a frame of NDJSON and of WebSocket.
type envelope struct {
	Event string          `json:"event"`
	Data  json.RawMessage `json:"data"`
}

func (w *watch) ndjson(r *bufio.Reader) error {
	for {
		line, err := readLine(r)
		if err != nil {
			return err
		}
		if err := w.enveloped(line); err != nil {
			return err
		}
	}
}

func (w *watch) enveloped(text []byte) error {
	var e envelope
	if err := json.Unmarshal(text, &e); err != nil {
		return fmt.Errorf("read frame: %w", err)
	}
	if e.Event == "" {
		return nil
	}
	return w.frame(e.Event, e.Data)
}
