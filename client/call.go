package client

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"
)

// maxAnswerBytes bounds an answer: a page of 200 jobs, each as large as the
// default of the server's --max-body allows, and some more.
const maxAnswerBytes = 256 << 20

// foreign is what is said of an answer that jobcast cannot have sent.
const foreign = "the answer is not what jobcast sends"

// call is one ordinary request.
type call struct {
	method, path string
	header       http.Header   // beside those that all have
	body         []byte        // JSON; nil: none
	once         bool          // it must not be repeated when its fate is unknown
	timeout      time.Duration // of one try; 0: Options.Timeout
	giveUp       time.Duration // 0: Options.GiveUp
	sent         *time.Time    // set to when the last try began; nil: nobody asks
}

// do makes the call and decodes the answer into out, unless that is nil. It
// repeats what is safe to repeat while the server is not available. Errors are
// *Problem, *LostError, or why ctx ended.
func (c *Client) do(ctx context.Context, k call, out any) (http.Header, error) {
	p := newPatience(orDefault(k.giveUp, c.opt.GiveUp))
	for {
		if k.sent != nil {
			*k.sent = time.Now()
		}
		header, err := c.try(ctx, k, out)
		if err == nil || k.once || !passing(err) {
			return header, err
		}
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		wait, lost := p.next(err, askedWait(err))
		if lost != nil {
			return nil, lost
		}
		if err := pause(ctx, wait); err != nil {
			return nil, err
		}
	}
}

// try makes the call once.
func (c *Client) try(ctx context.Context, k call, out any) (http.Header, error) {
	ctx, cancel := context.WithTimeout(ctx, orDefault(k.timeout, c.opt.Timeout))
	defer cancel()
	req, err := c.request(ctx, k.method, k.path)
	if err != nil {
		return nil, err
	}
	for name, values := range k.header {
		req.Header[name] = values
	}
	if k.body != nil {
		req.Header.Set("Content-Type", "application/json")
		req.Body = io.NopCloser(bytes.NewReader(k.body))
		req.ContentLength = int64(len(k.body))
		req.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(k.body)), nil }
	}
	return c.answer(req, out)
}

// answer sends req and decodes the answer into out.
func (c *Client) answer(req *http.Request, out any) (http.Header, error) {
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode < 200 || resp.StatusCode > 299 {
		return nil, readProblem(resp)
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswerBytes))
	if err != nil {
		return nil, fmt.Errorf("read answer: %w", err)
	}
	if out == nil {
		return resp.Header, nil
	}
	if err := json.Unmarshal(body, out); err != nil {
		return nil, &Problem{Status: resp.StatusCode, Title: foreign, Detail: foreign + ": " + err.Error()}
	}
	return resp.Header, nil
}

// wrap names what was being done, but leaves the end of ctx as it is.
func wrap(what string, err error) error {
	if err == nil || errors.Is(err, context.Canceled) {
		return err
	}
	return fmt.Errorf("%s: %w", what, err)
}
