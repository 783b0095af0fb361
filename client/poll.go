package client

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"strconv"
	"time"
)

// pollWait is how long one long-poll waits. Proxies commonly cut a request that
// gets no byte for 60 s.
const pollWait = 30 * time.Second

// pollAnswer is the answer to a long-poll.
type pollAnswer struct {
	Events      []json.RawMessage `json:"events"`
	LastEventID string            `json:"lastEventId"`
	Done        bool              `json:"done"`
}

// poll reads by long-polls. The first ones do not wait: they bring the history,
// and a cursor before anything can be missed.
func (w *watch) poll(ctx context.Context) error {
	wait := time.Duration(0)
	for {
		var a pollAnswer
		header, err := w.pollOnce(ctx, wait, &a)
		var p *Problem
		if errors.As(err, &p) && p.Code == string(ErrCursorGone) {
			w.heard()
			room := "job:" + w.job
			if w.job == "" {
				room = "client"
			}
			if err := w.reset(Reset{Room: room, Reason: p.Reason, Oldest: p.Oldest, Cursor: p.LastEventID}); err != nil {
				return err
			}
			continue
		}
		if err != nil {
			return err
		}
		w.heard()
		for _, text := range a.Events {
			if err := w.event(text); err != nil {
				return err
			}
		}
		w.cursor = a.LastEventID
		if a.Done && w.job != "" {
			return errOver
		}
		if n, err := strconv.ParseUint(header.Get("Retry-After"), 10, 31); err == nil { // the server drains
			w.retry = min(time.Duration(n)*time.Second, maxAskedWait)
			return errReconnect
		}
		if len(a.Events) == 0 && wait == 0 {
			wait = pollWait
			w.notify(Notice{State: Live})
		}
	}
}

func (w *watch) pollOnce(ctx context.Context, wait time.Duration, a *pollAnswer) (http.Header, error) {
	ctx, cancel := context.WithTimeout(ctx, wait+w.c.opt.Timeout)
	defer cancel()
	q := url.Values{}
	if wait > 0 {
		q.Set("wait", strconv.Itoa(int(wait/time.Second)))
	}
	req, err := w.eventsRequest(ctx, "application/json", q)
	if err != nil {
		return nil, err
	}
	return w.c.answer(req, a)
}
