package client

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"runtime/debug"
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

// Limits of the server on what an attempt says of itself; longer texts are cut.
const (
	maxMessageBytes      = 1 << 10
	maxLineBytes         = 8 << 10
	maxErrorClassBytes   = 128
	maxErrorMessageBytes = 8 << 10
)

// endGiveUp is how long the end of an attempt is repeated at least, should the
// lease be shorter.
const endGiveUp = 30 * time.Second

// Classes of failures that the worker itself finds, or that say no other.
const (
	classOther       = "WorkerError"
	classTimeout     = "TimeoutError"
	classInterrupted = "Interrupted"
	classPanic       = "Panic"
	classResult      = "InvalidResult"
	classArtifacts   = "ArtifactLimit"
	classStorage     = "StorageFull"
)

// run runs one claimed job to its end and reports it. It returns the job that was claimed
// with the end, nil if none was.
func (s *workerRun) run(c *claimed) (next *claimed) {
	j := c.Job
	log := s.Log.With("jobId", j.ID, "attempt", j.Attempt)
	log.Info("job begins")
	ctx, done := context.WithTimeoutCause(s.handlers, j.Timeout, ErrTimeout)
	defer done()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	a := newAttempt(ctx, cancel, s, c, log)
	result, err := s.handle(ctx, a)
	a.finish()
	if cause := context.Cause(ctx); errors.Is(cause, ErrLeaseLost) || errors.Is(cause, ErrJobCancelled) {
		log.Warn("job is no longer ours", "cause", cause)
		return nil
	}
	if err = a.report(ctx, result, err); err != nil {
		log.Warn("the end of the job could not be reported", "error", err)
		return nil
	}
	log.Info("job ends")
	return a.next
}

// handle calls the handler; a panic of it fails this one attempt.
func (s *workerRun) handle(ctx context.Context, a *Attempt) (result any, err error) {
	defer func() {
		if p := recover(); p != nil {
			s.Log.Error("the handler panicked", "jobId", a.id, "panic", p, "stack", string(debug.Stack()))
			err = &JobError{Class: classPanic, Err: fmt.Errorf("the handler panicked: %v", p)}
		}
	}()
	return s.Handle(ctx, a)
}

// report tells the server how the attempt ended.
func (a *Attempt) report(ctx context.Context, result any, err error) error {
	if err == nil {
		body, bad := encodeResult(result)
		if bad == nil {
			if bad = a.end("complete", body); !unacceptable(bad) {
				return bad
			}
			bad = fmt.Errorf("the server refuses the result: %s", said(bad))
		}
		err = &JobError{Class: classResult, Final: true, Err: bad}
	} else if cause := context.Cause(ctx); errors.Is(cause, ErrTimeout) {
		err = &JobError{Class: classTimeout, Err: fmt.Errorf("the attempt took longer than %d ms", a.timeout.Milliseconds())}
	} else if errors.Is(cause, ErrStopped) {
		err = &JobError{Class: classInterrupted, Err: fmt.Errorf("the worker stopped: %w", err)}
	}
	bad := a.end("fail", encodeFailure(err))
	if !unacceptable(bad) {
		return bad
	}
	err = fmt.Errorf("the attempt failed, and the server refuses to hear why: %s", said(bad))
	return a.end("fail", encodeFailure(&JobError{Class: classResult, Err: err}))
}

// unacceptable reports whether the server, or what is in front of it, refuses what
// an attempt says of its end for what it is: saying it again would not help, and
// saying nothing would leave the job to the end of its lease.
func unacceptable(err error) bool {
	var p *Problem
	if !errors.As(err, &p) || passing(err) || p.Status < 400 || p.Status > 499 {
		return false
	}
	switch p.Status {
	case http.StatusUnauthorized, http.StatusForbidden, http.StatusNotFound, http.StatusConflict:
		return false // it is not about what was said
	}
	return true
}

// said is a refusal with everything that it says is wrong.
func said(err error) string {
	text := err.Error()
	var p *Problem
	if errors.As(err, &p) {
		for _, f := range p.Errors {
			text += "; " + f.Pointer + ": " + f.Detail
		}
	}
	return text
}

func encodeResult(result any) ([]byte, error) {
	if result == nil {
		return []byte("{}"), nil
	}
	text, err := json.Marshal(result)
	if err != nil {
		return nil, fmt.Errorf("encode result: %w", err)
	}
	if string(text) == "null" {
		return []byte("{}"), nil
	}
	if text[0] != '{' {
		return nil, errors.New("the result is no JSON object")
	}
	return bytes.Join([][]byte{[]byte(`{"result":`), text, []byte("}")}, nil), nil
}

func encodeFailure(err error) []byte {
	var je *JobError
	class, final := "", false
	switch {
	case errors.As(err, &je):
		class, final = je.Class, je.Final
	case errors.Is(err, ErrArtifactLimit): // trying again would leave as much behind
		class, final = classArtifacts, true
	case errors.Is(err, ErrStorageFull):
		class = classStorage
	}
	if class == "" {
		class = classOther
	}
	body, _ := json.Marshal(struct { // strings and a bool always encode
		Error        string `json:"error"`
		ErrorMessage string `json:"errorMessage"`
		Retry        bool   `json:"retry"`
	}{clip(class, maxErrorClassBytes), clip(err.Error(), maxErrorMessageBytes), !final})
	return body
}

// end posts the end of the attempt, and claims the next job with it while jobs are taken. The
// same call with the same token may be repeated.
func (a *Attempt) end(verb string, body []byte) error {
	w := a.worker
	whole := context.WithoutCancel(a.ctx)
	if w.taking.Err() != nil || w.single.Load() {
		_, err := a.post(whole, verb, body)
		return err
	}
	next, err := a.post(w.taking, verb, withMember(w.claimNext(), body))
	if w.taking.Err() != nil && (next != nil || err != nil && passing(err)) {
		// Whether a job was claimed is not known, or it came too late: it goes back, uncounted.
		next = nil
		_, err = a.post(whole, verb, withMember(w.handBack(), body))
	}
	if refusesClaim(err) {
		w.single.Store(true)
		return a.end(verb, body)
	}
	a.next = next
	return err
}

// post makes one call that ends the attempt. It returns the job that was claimed with it, nil
// if none was.
func (a *Attempt) post(ctx context.Context, verb string, body []byte) (*claimed, error) {
	var answer struct {
		Jobs []*claimed `json:"jobs"` // of an end that claims
	}
	var sent time.Time
	_, err := a.c.do(ctx, call{
		method: http.MethodPost, path: jobPath(a.id) + "/" + verb, body: body,
		header: a.lease(), giveUp: max(a.ttl, endGiveUp), sent: &sent,
	}, &answer)
	if err != nil || len(answer.Jobs) == 0 {
		return nil, err
	}
	answer.Jobs[0].at = sent
	return answer.Jobs[0], nil
}

// withMember is an object's text with one member more.
func withMember(member, object []byte) []byte {
	comma := []byte(",")
	if string(object) == "{}" {
		comma = nil
	}
	return bytes.Join([][]byte{[]byte("{"), member, comma, object[1:]}, nil)
}

// refusesClaim reports whether a server is so old that it does not know the member claim.
func refusesClaim(err error) bool { return refuses(err, "/claim") }

// refuses reports whether a server has refused what stands at a pointer.
func refuses(err error, pointer string) bool {
	var p *Problem
	if !errors.As(err, &p) {
		return false
	}
	return slices.ContainsFunc(p.Errors, func(f FieldError) bool { return f.Pointer == pointer })
}

// clip makes text valid UTF-8 of at most limit bytes.
func clip(text string, limit int) string {
	text = strings.ToValidUTF8(text, "\uFFFD")
	if len(text) <= limit {
		return text
	}
	for limit > 0 && !utf8.RuneStart(text[limit]) {
		limit--
	}
	return text[:limit]
}
