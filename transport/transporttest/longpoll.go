package transporttest

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
)

// pollWait is how long a reader lets the server wait, in seconds. It comes back
// when that is over, so it only has to differ from the deadlines of scenarios.
const pollWait = "45"

// Answer is the body of a long-poll.
type Answer struct {
	Events      []json.RawMessage
	LastEventID string
	Done        bool
}

// poller makes one reader of many requests: what a client's loop does.
type poller struct {
	ctx    context.Context
	cancel context.CancelFunc
	hc     *http.Client
	caller Caller
	o      Opening
	queue  []Item
	cursor string // for the next request
	seen   string // right after the newest item that Next has returned
	end    error  // after the queue
}

// openPoll asks once without waiting, which fixes the place to start from.
func openPoll(ctx context.Context, c Caller, o Opening) (Reader, error) {
	ctx, cancel := context.WithCancel(ctx)
	p := &poller{ctx: ctx, cancel: cancel, hc: c.Client(), caller: c, o: o, seen: cmp.Or(o.Cursor, o.Query)}
	err := p.ask("0")
	var r *Refusal
	if errors.As(err, &r) && r.Status == http.StatusGone {
		err = p.reset(r)
	}
	if err != nil {
		p.Close()
		return nil, err
	}
	return p, nil
}

// reset goes on where a 410 says.
func (p *poller) reset(r *Refusal) error {
	var problem Problem
	if err := json.Unmarshal(r.Body, &problem); err != nil {
		return err
	}
	data, err := json.Marshal(map[string]string{
		"reason": problem.Reason, "oldest": problem.Oldest, "cursor": problem.LastEventID,
	})
	if err != nil {
		return err
	}
	p.cursor = problem.LastEventID
	p.queue = append(p.queue, Item{Name: "reset", ID: p.cursor, Data: data})
	return p.ask("0")
}

// ask makes one request and queues what it brings.
func (p *poller) ask(wait string) error {
	o := p.o
	if p.cursor != "" {
		o = Opening{Job: o.Job, Query: p.cursor, Conflate: o.Conflate, Lines: o.Lines}
	}
	path := o.Path()
	sep := "?"
	if path != (Opening{Job: o.Job}).Path() {
		sep = "&"
	}
	req, err := p.caller.Request(p.ctx, http.MethodGet, path+sep+"wait="+wait, nil)
	if err != nil {
		return err
	}
	o.fill(req.Header, mediaJSON)
	resp, err := p.hc.Do(req)
	if err != nil {
		return err
	}
	if err := refused(resp); err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	return p.take(body, resp.Header.Get("Retry-After"))
}

func (p *poller) take(body []byte, retryAfter string) error {
	var a Answer
	if err := json.Unmarshal(body, &a); err != nil {
		return fmt.Errorf("answer %q: %w", body, err)
	}
	for _, e := range a.Events {
		it, err := newItem("job.event", e)
		if err != nil {
			return err
		}
		p.queue = append(p.queue, it)
	}
	if a.LastEventID == "" {
		return fmt.Errorf("answer %q has no lastEventId", body)
	}
	p.cursor = a.LastEventID
	if retryAfter != "" { // a server that drains says so in the header
		seconds, err := strconv.Atoi(retryAfter)
		if err != nil {
			return fmt.Errorf("Retry-After: %w", err)
		}
		data := fmt.Sprintf(`{"retryMs":%d,"lastEventId":%q}`, 1000*seconds, a.LastEventID)
		p.queue = append(p.queue, Item{Name: "reconnect", ID: a.LastEventID, Data: json.RawMessage(data)})
		p.end = io.EOF
	}
	if a.Done {
		p.end = io.EOF
	}
	return nil
}

// Next implements Reader.
func (p *poller) Next() (Item, error) {
	for len(p.queue) == 0 {
		if p.end != nil {
			return Item{}, p.end
		}
		if err := p.ask(pollWait); err != nil {
			return p.failed(err)
		}
	}
	it := p.queue[0]
	p.queue = p.queue[1:]
	p.seen = it.ID
	return it, nil
}

// failed turns the refusal of a later request into the problem frame that a
// stream would end with.
func (p *poller) failed(err error) (Item, error) {
	p.end = fmt.Errorf("%w: %w", ErrCut, err)
	var r *Refusal
	if !errors.As(err, &r) {
		return Item{}, p.end
	}
	if r.Status == http.StatusUnauthorized {
		p.end = io.EOF
	}
	return Item{Name: "problem", Data: r.Body}, nil
}

// Cursor implements Reader. A client that keeps what it was given comes back
// with its newest event, not with the end of an answer it has not read yet.
func (p *poller) Cursor() string {
	if len(p.queue) == 0 {
		return p.cursor
	}
	return p.seen
}

// Close implements Reader.
func (p *poller) Close() {
	p.cancel()
	p.hc.CloseIdleConnections()
}
