package client

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// Submit makes a job. It is repeated over network faults and restarts of the
// server, and makes one job all the same; see Submission.IdempotencyKey.
func (c *Client) Submit(ctx context.Context, s Submission) (*Job, error) {
	body, err := s.body()
	if err != nil {
		return nil, wrap("encode job", err)
	}
	j, err := c.make(ctx, "/v1/jobs", body, s.IdempotencyKey)
	return j, wrap("submit job", err)
}

// SubmitBatch makes 1 to 1,000 jobs, all of them or none, and returns their ids in the
// order of jobs. It is repeated as Submit is. key is that of the whole batch and as in
// Submission.IdempotencyKey, which no job of a batch may have; it holds as long as the last
// of the jobs is kept.
func (c *Client) SubmitBatch(ctx context.Context, jobs []Submission, key string) ([]string, error) {
	body := []byte(`{"jobs":[`)
	for i, s := range jobs {
		text, err := s.body()
		switch {
		case err != nil:
			return nil, wrap("encode job "+strconv.Itoa(i), err)
		case s.IdempotencyKey != "":
			return nil, fmt.Errorf("job %d has an idempotency key of its own", i)
		case !json.Valid(text):
			return nil, fmt.Errorf("the body of job %d is not JSON", i)
		case i > 0:
			body = append(body, ',')
		}
		body = append(body, text...)
	}
	var made struct{ Jobs []struct{ ID string } }
	if err := c.post(ctx, "/v1/jobs/batch", append(body, `]}`...), key, &made); err != nil {
		return nil, wrap("submit batch", err)
	}
	ids := make([]string, len(made.Jobs))
	for i, j := range made.Jobs {
		ids[i] = j.ID
	}
	return ids, nil
}

// SubmitAndWatch makes a job and returns it together with its events from the
// first on; o.After and o.From are not used.
func (c *Client) SubmitAndWatch(ctx context.Context, s Submission, o WatchOptions) (*Job, iter.Seq2[Event, error], error) {
	j, err := c.Submit(ctx, s)
	if err != nil {
		return nil, nil, err
	}
	o.After, o.From = "", FromDefault
	return j, c.Watch(ctx, j.ID, o), nil
}

// Retry makes a new job from one that failed or was cancelled; from any other
// it is refused with ErrConflict. The new job's RetryOf is id. key is as in
// Submission.IdempotencyKey.
func (c *Client) Retry(ctx context.Context, id, key string) (*Job, error) {
	j, err := c.make(ctx, jobPath(id)+"/retry", []byte("{}"), key)
	return j, wrap("retry job "+id, err)
}

// make posts what makes a job.
func (c *Client) make(ctx context.Context, path string, body []byte, key string) (*Job, error) {
	var j Job
	if err := c.post(ctx, path, body, key, &j); err != nil {
		return nil, err
	}
	return &j, nil
}

// post posts what makes jobs. An empty key is a new one.
func (c *Client) post(ctx context.Context, path string, body []byte, key string, out any) error {
	if key == "" {
		key = rand.Text()
	}
	_, err := c.do(ctx, call{
		method: http.MethodPost, path: path, body: body,
		header: http.Header{"Idempotency-Key": {key}},
	}, out)
	return err
}

// Get returns a job as it is now.
func (c *Client) Get(ctx context.Context, id string) (*Job, error) {
	var j Job
	if _, err := c.do(ctx, call{method: http.MethodGet, path: jobPath(id)}, &j); err != nil {
		return nil, wrap("get job "+id, err)
	}
	return &j, nil
}

// Cancel ends a job and returns it. A job that is cancelled already stays so;
// one that ended otherwise is refused with ErrConflict.
func (c *Client) Cancel(ctx context.Context, id string) (*Job, error) {
	var j Job
	_, err := c.do(ctx, call{method: http.MethodPost, path: jobPath(id) + "/cancel", body: []byte("{}")}, &j)
	if err != nil {
		return nil, wrap("cancel job "+id, err)
	}
	return &j, nil
}

// jobPath is where a job is. A text that cannot be an id is replaced by one that
// no job has, so that it is a 404 and not another path.
func jobPath(id string) string {
	inID := func(r rune) bool {
		return r == '-' || r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z'
	}
	if id == "" || strings.TrimFunc(id, inID) != "" {
		id = "-"
	}
	return "/v1/jobs/" + id
}

// MaxPageSize is how many jobs one request may bring.
const MaxPageSize = 200

// ListOptions narrow a list; the zero value lists everything.
type ListOptions struct {
	Status   Status    // empty: any
	Queue    string    // empty: any, or none
	Search   string    // stands in the id, title, error or error message, whatever the case of ASCII letters; empty: anything
	From, To time.Time // created at From or later, and before To; zero: whenever
	After    string    // the id of a job: only older ones
	PageSize int       // jobs that one request brings, 1..MaxPageSize; 0: 50
}

// List returns the client's jobs, newest first, and fetches page after page as
// they are taken. An error is the last thing it yields.
func (c *Client) List(ctx context.Context, o ListOptions) iter.Seq2[*Job, error] {
	return func(yield func(*Job, error) bool) {
		q := url.Values{}
		for name, value := range map[string]string{"status": string(o.Status), "queue": o.Queue, "q": o.Search, "from": timeText(o.From), "to": timeText(o.To)} {
			if value != "" {
				q.Set(name, value)
			}
		}
		if o.PageSize != 0 {
			q.Set("limit", strconv.Itoa(o.PageSize))
		}
		for after := o.After; ; {
			if after != "" {
				q.Set("after", after)
			}
			var page struct {
				Jobs []*Job  `json:"jobs"`
				Next *string `json:"next"`
			}
			if _, err := c.do(ctx, call{method: http.MethodGet, path: "/v1/jobs?" + q.Encode()}, &page); err != nil {
				yield(nil, wrap("list jobs", err))
				return
			}
			for _, j := range page.Jobs {
				if !yield(j, nil) {
					return
				}
			}
			if page.Next == nil || *page.Next == "" {
				return
			}
			after = *page.Next
		}
	}
}

// timeText spells a time for a query; the zero time is no text.
func timeText(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format("2006-01-02T15:04:05.000Z")
}

// Keys returns the client's keys, oldest first; it needs the scope admin.
func (c *Client) Keys(ctx context.Context) ([]Key, error) {
	var all []Key
	for path := "/v1/keys"; ; {
		var page struct {
			Keys []Key   `json:"keys"`
			Next *string `json:"next"`
		}
		if _, err := c.do(ctx, call{method: http.MethodGet, path: path}, &page); err != nil {
			return nil, wrap("list keys", err)
		}
		all = append(all, page.Keys...)
		if page.Next == nil || *page.Next == "" {
			return all, nil
		}
		path = "/v1/keys?after=" + url.QueryEscape(*page.Next)
	}
}

// CreateKey makes a key; it needs the scope admin. Its Secret is not shown
// again. The call is not repeated: when it fails without a *Problem, a key may
// have been made that nobody knows.
func (c *Client) CreateKey(ctx context.Context, k NewKey) (*Key, error) {
	body, err := json.Marshal(k)
	if err != nil {
		return nil, wrap("encode key", err)
	}
	var made Key
	if _, err := c.do(ctx, call{method: http.MethodPost, path: "/v1/keys", body: body, once: true}, &made); err != nil {
		return nil, wrap("create key", err)
	}
	return &made, nil
}

// RevokeKey ends a key and its live streams; it needs the scope admin.
func (c *Client) RevokeKey(ctx context.Context, id string) error {
	if id == "" {
		return errors.New("revoke key: no id")
	}
	_, err := c.do(ctx, call{method: http.MethodDelete, path: "/v1/keys/" + url.PathEscape(id)}, nil)
	return wrap("revoke key "+id, err)
}
