package reference

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/jobcast/jobcast/eventlog"
	"github.com/jobcast/jobcast/jobs"
)

// append puts events of a job at the end of its client's log, and keeps the job.
func (s *Store) append(j job, at time.Time, bodies ...jobs.Body) job {
	c := s.tables.clients[j.ClientID]
	for _, b := range bodies {
		c.head++
		if n := len(c.epochs); n == 0 || c.epochs[n-1].name != s.epoch {
			c.epochs = append(slices.Clip(c.epochs), epoch{from: c.head, name: s.epoch})
		}
		j.Cursor = eventlog.Cursor{Epoch: s.epoch, Seq: c.head}.String()
		e := eventlog.Event{
			Client: j.ClientID, Seq: c.head, ID: j.Cursor, Type: b.Type, JobID: j.ID,
			JSON: jobs.AppendJSON(nil, j.Cursor, jobs.AppendTail(nil, b, j.ID, at)),
		}
		if b.Type == eventlog.TypeProgress {
			j.Progress, j.Message, j.Step = progress(b.Data)
		}
		c.log = append(slices.Clip(c.log), e)
		s.events = append(s.events, e)
	}
	s.tables.clients[j.ClientID] = c
	s.tables.jobs[j.ID] = j
	return j
}

// progress reads the data of a job.progress.
func progress(data json.RawMessage) (percent *float64, message, step *string) {
	var in struct {
		Progress *float64
		Message  *string
		Step     *string
	}
	_ = json.Unmarshal(data, &in) // package jobs has made them
	return in.Progress, in.Message, in.Step
}

// cursor returns the cursor at seq, which bears the epoch that covers it.
func (c client) cursor(seq uint64) string {
	at := eventlog.Cursor{Seq: seq}
	for _, e := range c.epochs {
		if seq > 0 && e.from <= seq {
			at.Epoch = e.name
		}
	}
	return at.String()
}

// judge says whether a reader can go on from a cursor, as far as epochs tell.
func (c client) judge(at eventlog.Cursor) eventlog.Reason {
	i := slices.IndexFunc(c.epochs, func(e epoch) bool { return e.name == at.Epoch })
	switch {
	case at == eventlog.Cursor{}:
		return eventlog.Valid
	case i < 0 || at.Seq < c.epochs[i].from:
		return eventlog.ReasonEpoch
	case i < len(c.epochs)-1 && at.Seq >= c.epochs[i+1].from:
		return eventlog.ReasonEpoch
	case at.Seq > c.head:
		return eventlog.ReasonFuture
	}
	return eventlog.Valid
}

// of returns the events of a room after a seq.
func (c client) of(r eventlog.Room, after uint64) (events []eventlog.Event) {
	for _, e := range c.log {
		if e.Seq > after && (r.Job == "" || e.JobID == r.Job) {
			events = append(events, e)
		}
	}
	return events
}

// Open implements eventlog.Reader.
func (s *Store) Open(_ context.Context, r eventlog.Room, at *eventlog.Cursor) (eventlog.Opened, error) {
	return read(s, func() (eventlog.Opened, error) {
		c := s.tables.clients[r.Client]
		out := eventlog.Opened{Head: c.head, HeadID: c.cursor(c.head), Oldest: c.pruned}
		if at != nil {
			out.Reason = c.judge(*at)
		}
		if r.Job != "" {
			return s.openJob(c, r, at, out)
		}
		out.OldestID = c.cursor(out.Oldest)
		if at != nil && out.Reason == eventlog.Valid && at.Seq < c.pruned {
			out.Reason = eventlog.ReasonPruned
		}
		return out, nil
	})
}

// Tail implements eventlog.Reader.
func (s *Store) Tail(_ context.Context, r eventlog.Room, n int) (eventlog.Cursor, error) {
	return read(s, func() (eventlog.Cursor, error) {
		c := s.tables.clients[r.Client]
		var before uint64
		if r.Job == "" {
			before = max(c.pruned, c.head-min(c.head, uint64(n)))
		} else {
			if _, err := s.find(r.Client, r.Job); err != nil {
				return eventlog.Cursor{}, err
			}
			if events := c.of(r, 0); len(events) >= n {
				before = events[len(events)-n].Seq - 1
			}
		}
		at, _ := eventlog.ParseCursor(c.cursor(before))
		return at, nil
	})
}

// openJob adds to out what is told of a job's room.
func (s *Store) openJob(c client, r eventlog.Room, at *eventlog.Cursor, out eventlog.Opened) (eventlog.Opened, error) {
	j, err := s.find(r.Client, r.Job)
	if err != nil {
		return eventlog.Opened{}, err
	}
	events := c.of(r, 0)
	out.Oldest = events[0].Seq - 1
	out.OldestID = c.cursor(out.Oldest)
	out.Status = string(j.Status)
	if out.Job, err = (jobs.Abridged{Job: j.brief()}).MarshalJSON(); err != nil {
		return eventlog.Opened{}, fmt.Errorf("encode job: %w", err)
	}
	if j.Status.Terminal() {
		out.End = events[len(events)-1].Seq
		out.BeforeEnd = c.cursor(out.End - 1)
	}
	if at != nil && out.Reason == eventlog.Valid {
		events = c.of(r, at.Seq)
	}
	if out.Whole = (at != nil || out.End != 0) && len(events) <= eventlog.MaxOpenEvents; out.Whole {
		out.Events = events
	}
	return out, nil
}

// Page implements eventlog.Reader.
func (s *Store) Page(_ context.Context, r eventlog.Room, after uint64, maxEvents, maxBytes int) (eventlog.Page, error) {
	return read(s, func() (eventlog.Page, error) {
		c := s.tables.clients[r.Client]
		out := eventlog.Page{HeadID: c.cursor(c.head)}
		if r.Job != "" {
			if _, err := s.find(r.Client, r.Job); errors.Is(err, jobs.ErrNotFound) {
				return eventlog.Page{Gone: true}, nil
			}
		} else if out.Pruned = c.pruned; after < c.pruned {
			out.OldestID = c.cursor(c.pruned)
		}
		size := 0
		for n, e := range c.of(r, after) {
			if size += len(e.JSON); n > 0 && (n >= maxEvents || size > maxBytes) {
				out.More = true
				break
			}
			out.Events = append(out.Events, e)
		}
		return out, nil
	})
}
