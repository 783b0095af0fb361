package client

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"mime"
	"net/http"
	"net/url"
	"path"
	"sync"
	"time"
)

const (
	maxReports     = 1000      // in one request, as the server allows
	maxReportBytes = 128 << 10 // of one request, well below the server's --max-body
)

// report is one thing that a handler says while it runs.
type report struct {
	Progress *float64 `json:"progress,omitempty"`
	Message  string   `json:"message,omitempty"`
	Log      *LogLine `json:"log,omitempty"`
}

// run is an attempt under way: it keeps the lease, and sends what the handler
// reports, as much as there is in one request.
type run struct {
	c         *Client
	id, token string
	timeoutMs int64
	ttl       time.Duration
	log       *slog.Logger
	ctx       context.Context // the handler's
	cancel    context.CancelCauseFunc

	reports chan report   // sent by the handler, received by keep; never closed
	over    chan struct{} // closed by finish
	keeping sync.WaitGroup

	confirmed time.Time // the lease is at least this young; of keep
}

func newRun(ctx context.Context, cancel context.CancelCauseFunc, s *shift, c *claimed, log *slog.Logger) *run {
	r := &run{
		c: s.Client, id: c.Job.ID, token: c.Lease.Token, timeoutMs: c.Job.TimeoutMs, ttl: s.Lease, log: log,
		ctx: ctx, cancel: cancel, confirmed: c.at,
		reports: make(chan report, maxReports), over: make(chan struct{}),
	}
	r.keeping.Go(r.keep)
	return r
}

func (r *run) lease() http.Header { return http.Header{"X-Lease-Token": {r.token}} }

// finish sends what is still to be reported and ends the keeping of the lease.
func (r *run) finish() {
	close(r.over)
	r.keeping.Wait()
}

// keep sends reports and renews the lease until finish, or until the lease is
// lost: then it ends the handler's context.
func (r *run) keep() {
	renew := time.NewTimer(time.Until(r.confirmed.Add(r.ttl / 3)))
	defer renew.Stop()
	for ending := false; ; {
		var first []report
		if !ending {
			select {
			case one := <-r.reports:
				first = append(first, one)
			case <-renew.C:
			case <-r.over:
				ending = true
			}
		}
		body := r.batch(first)
		if ending && body == nil {
			return
		}
		if err := r.renew(body); err != nil {
			r.cancel(err)
			return
		}
		renew.Reset(r.ttl / 3)
	}
}

// batch encodes first and what is waiting behind it; nil if there is nothing.
func (r *run) batch(first []report) []byte {
	var out bytes.Buffer
	add := func(one report) {
		if out.Len() == 0 {
			out.WriteByte('[')
		} else {
			out.WriteByte(',')
		}
		text, _ := json.Marshal(one) // strings and a finite number always encode
		out.Write(text)
	}
	n := 0
	for _, one := range first {
		add(one)
		n++
	}
	for n < maxReports && out.Len() < maxReportBytes {
		select {
		case one := <-r.reports:
			add(one)
			n++
			continue
		default:
		}
		break
	}
	if n == 0 {
		return nil
	}
	out.WriteByte(']')
	return out.Bytes()
}

// renew sends a batch of reports, or without one only renews the lease. The
// error says that the lease is lost: taken away, or not confirmed in its time.
func (r *run) renew(body []byte) error {
	verb := "progress"
	if body == nil {
		verb, body = "extend", []byte("{}")
	}
	began := time.Now()
	left := r.ttl - time.Since(r.confirmed)
	if left <= 0 {
		left = time.Millisecond // one last try
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.ctx), left+time.Second)
	defer cancel()
	_, err := r.c.do(ctx, call{
		method: http.MethodPost, path: jobPath(r.id) + "/" + verb, body: body,
		header: r.lease(), giveUp: left, timeout: max(r.ttl/3, time.Second),
	}, nil)
	var p *Problem
	switch {
	case err == nil:
		r.confirmed = began
		return nil
	case !errors.As(err, &p) || passing(err):
		return fmt.Errorf("%w: not confirmed for %s: %w", ErrLeaseLost, r.ttl, err)
	case p.Code == string(ErrLeaseLost) && p.JobStatus == Cancelled:
		return ErrJobCancelled
	case verb == "progress" && p.Status != http.StatusNotFound && p.Code != string(ErrLeaseLost):
		r.log.Warn("a report was refused", "error", err)
		return r.renew(nil)
	case p.Code == string(ErrLeaseLost):
		return err
	}
	return fmt.Errorf("%w: %w", ErrLeaseLost, err)
}

// say queues a report. It waits while a thousand others do.
func (r *run) say(one report) error {
	if r == nil {
		return errors.New("this job is not run by a worker")
	}
	if r.ctx.Err() != nil {
		return context.Cause(r.ctx)
	}
	select {
	case <-r.over:
		return errors.New("the handler has returned")
	default:
	}
	select {
	case r.reports <- one:
		return nil
	case <-r.over:
		return errors.New("the handler has returned")
	case <-r.ctx.Done():
		return context.Cause(r.ctx)
	}
}

// Progress reports how far the attempt is: percent from 0 to 100, and what it
// does, cut at 1 KiB. It does not wait for the server. The error says why there
// is nothing to report to.
func (j *Job) Progress(percent float64, message string) error {
	if !(percent >= 0) { // also NaN
		percent = 0
	}
	percent = min(percent, 100)
	return j.run.say(report{Progress: &percent, Message: clip(message, maxMessageBytes)})
}

// Log reports a line, cut at 8 KiB, as [Job.Progress] does.
func (j *Job) Log(line string) error {
	return j.run.say(report{Log: &LogLine{Level: "info", Line: clip(line, maxLineBytes)}})
}

// Artifact uploads a file that the job leaves behind and waits for the server
// to have it. name is 1 to 128 of A-Z, a-z, 0-9, dot, underscore and hyphen; its
// ending says the content type. A reader that can seek is sent again after a
// network fault.
func (j *Job) Artifact(name string, content io.Reader) (Artifact, error) {
	a, err := j.run.upload(name, content)
	if err != nil {
		return a, wrap("upload artifact "+name, err)
	}
	return a, nil
}

func (r *run) upload(name string, content io.Reader) (a Artifact, err error) {
	if r == nil {
		return a, errors.New("this job is not run by a worker")
	}
	seeker, repeatable := content.(io.Seeker)
	var start, size int64 = 0, -1
	if repeatable {
		if start, size, err = measure(seeker); err != nil {
			return a, fmt.Errorf("measure content: %w", err)
		}
	}
	patience := newPatience(r.ttl)
	for {
		err := r.put(name, content, size, &a)
		if err == nil || !repeatable || !passing(err) {
			return a, err
		}
		wait, lost := patience.next(err, askedWait(err))
		if lost != nil {
			return a, lost
		}
		if err := pause(r.ctx, wait); err != nil {
			return a, err
		}
		if _, err := seeker.Seek(start, io.SeekStart); err != nil {
			return a, fmt.Errorf("begin anew: %w", err)
		}
	}
}

// put uploads once; size -1 is not known.
func (r *run) put(name string, content io.Reader, size int64, a *Artifact) error {
	req, err := r.c.request(r.ctx, http.MethodPut, jobPath(r.id)+"/artifacts/"+url.PathEscape(name))
	if err != nil {
		return err
	}
	kind := mime.TypeByExtension(path.Ext(name))
	if kind == "" {
		kind = "application/octet-stream"
	}
	req.Header.Set("Content-Type", kind)
	req.Header.Set("X-Lease-Token", r.token)
	req.Body = io.NopCloser(content) // it is the caller's to close
	req.ContentLength = size
	if size == 0 {
		req.Body = http.NoBody
	}
	_, err = r.c.answer(req, a)
	return err
}

// measure returns the place of s and how many bytes follow it.
func measure(s io.Seeker) (start, size int64, err error) {
	if start, err = s.Seek(0, io.SeekCurrent); err != nil {
		return 0, 0, err
	}
	end, err := s.Seek(0, io.SeekEnd)
	if err == nil {
		_, err = s.Seek(start, io.SeekStart)
	}
	return start, max(end-start, 0), err
}
