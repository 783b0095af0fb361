package client_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/jobcast/jobcast/client"
)

func TestOptions(t *testing.T) {
	for name, o := range map[string]client.Options{
		"no scheme":       {URL: "localhost:3000"},
		"other scheme":    {URL: "ftp://localhost"},
		"credentials":     {URL: "http://user:secret@localhost"},
		"query":           {URL: "http://localhost/?apiKey=secret"},
		"no URL":          {URL: "http://secret\x00"},
		"a socket here":   {URL: "unix:j.sock"},
		"a socket's host": {URL: "unix:/j.sock:secret"},
		"key":             {Key: "secret\nkey"},
		"transport":       {Transport: "pigeon"},
		"timeout":         {Timeout: -1},
		"first byte":      {FirstByte: -1},
	} {
		if _, err := client.New(o); err == nil {
			t.Errorf("%s: no error", name)
		} else if strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Refusals are told apart by errors.Is, and say what they know.
func TestRefusals(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	c := s.client("", client.Options{})
	_, err := c.Submit(t.Context(), client.Submission{Actions: []any{map[string]any{"type": "wait", "ms": -1}}})
	var p *client.Problem
	if !errors.Is(err, client.ErrInvalid) || !errors.As(err, &p) || p.Status != 422 || len(p.Errors) != 1 || p.Errors[0].Pointer != "/actions/0/ms" || p.Instance == "" {
		t.Errorf("invalid: %v, %+v", err, p)
	}
	for _, id := range []string{"00000000-0000-7000-8000-000000000000", "", "..", "../keys", "a?b", "ä"} {
		if _, err := c.Get(t.Context(), id); !errors.Is(err, client.ErrNotFound) {
			t.Errorf("get %q: %v", id, err)
		}
	}
	j := submit(t, c, waits(1))
	_ = types(t, c, j.ID, client.WatchOptions{})
	if _, err := c.Cancel(t.Context(), j.ID); !errors.Is(err, client.ErrConflict) || !errors.As(err, &p) || p.Job == nil || p.Job.ID != j.ID {
		t.Errorf("cancel of a completed job: %v", err)
	}
	if _, err := c.Retry(t.Context(), j.ID, ""); !errors.Is(err, client.ErrConflict) || errors.Is(err, client.ErrNotFound) {
		t.Errorf("retry of a completed job: %v", err)
	}
	if _, err := s.client("", client.Options{Key: "jc_no_one"}).Get(t.Context(), j.ID); !errors.Is(err, client.ErrUnauthenticated) {
		t.Errorf("without a key: %v", err)
	}
}

func TestJobs(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	c := s.client("", client.Options{})
	var want []string // newest first
	for i := range 7 {
		j := submit(t, c, client.Submission{Actions: []any{client.Wait(time.Hour)}, Priority: i, Metadata: map[string]any{"n": i}})
		want = append([]string{j.ID}, want...)
	}
	list := func(o client.ListOptions) (ids []string) {
		for j, err := range c.List(t.Context(), o) {
			if err != nil {
				t.Fatal(err)
			}
			ids = append(ids, j.ID)
		}
		return ids
	}
	if d := cmp.Diff(want, list(client.ListOptions{PageSize: 3})); d != "" {
		t.Error(d)
	}
	if d := cmp.Diff(want[4:], list(client.ListOptions{After: want[3]})); d != "" {
		t.Error(d)
	}
	j, err := c.Cancel(t.Context(), want[0])
	if err != nil || j.Status != client.Cancelled || string(j.Metadata) != `{"n":6}` || j.Priority != 6 {
		t.Errorf("%+v, %v", j, err)
	}
	if d := cmp.Diff(want[:1], list(client.ListOptions{Status: client.Cancelled})); d != "" {
		t.Error(d)
	}
	again, err := c.Retry(t.Context(), want[0], "")
	if err != nil || again.RetryOf != want[0] {
		t.Errorf("%+v, %v", again, err)
	}
	if got, err := c.Get(t.Context(), again.ID); err != nil || !cmp.Equal(got.Raw()[:40], again.Raw()[:40]) {
		t.Errorf("%v, %s", err, got.Raw())
	}
}

// A page may be shorter than asked for, and is not the last because of it.
func TestShortPages(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	c := s.client("", client.Options{})
	var want, got []string // newest first
	for range 6 {
		j := submit(t, c, client.Submission{Queue: "q", Payload: strings.Repeat("x", 250<<10)})
		want = append([]string{j.ID}, want...)
	}
	for j, err := range c.List(t.Context(), client.ListOptions{PageSize: 200}) {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, j.ID)
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}

func TestKeys(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	c := s.client("", client.Options{})
	k, err := c.CreateKey(t.Context(), client.NewKey{Name: "n", Scopes: []string{"watch"}, MaxConnections: 3})
	if err != nil || k.Secret == "" || k.MaxConnections != 3 || !k.ExpiresAt.IsZero() {
		t.Fatalf("%+v, %v", k, err)
	}
	if err := c.RevokeKey(t.Context(), k.ID); err != nil {
		t.Error(err)
	}
	keys, err := c.Keys(t.Context())
	if err != nil || len(keys) != 2 || keys[1].ID != k.ID || keys[1].RevokedAt.IsZero() || !keys[0].RevokedAt.IsZero() || keys[0].MaxConnections != 1000 || keys[1].Secret != "" {
		t.Errorf("%+v, %v", keys, err)
	}
	if err := c.RevokeKey(t.Context(), ""); err == nil {
		t.Error("no id, and no error")
	}
}

// A submit whose answers are lost makes one job.
func TestSubmitOnce(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	p := startProxy(t, s.address)
	var dropped atomic.Int32
	p.meddle = func(n int, down, up net.Conn) bool {
		req, err := http.ReadRequest(bufio.NewReader(down))
		if err != nil || req.Write(up) != nil {
			return true
		}
		resp, err := http.ReadResponse(bufio.NewReader(up), req) // the job is made
		if err != nil {
			return true
		}
		defer resp.Body.Close()
		if n < 3 || n == 4 {
			dropped.Add(1)
			return true
		}
		resp.Close = true
		_ = resp.Write(down)
		return true
	}
	c := s.client(p.serve(), client.Options{})
	j := submit(t, c, waits(1))
	direct := s.client("", client.Options{})
	n := 0
	for range direct.List(t.Context(), client.ListOptions{}) {
		n++
	}
	if n != 1 || dropped.Load() != 3 {
		t.Errorf("%d jobs after %d lost answers", n, dropped.Load())
	}
	// A key of the caller's own holds from one call to the next.
	own := client.Submission{Actions: []any{client.Wait(0)}, IdempotencyKey: "order-7"}
	first, second := submit(t, direct, own), submit(t, direct, own)
	if first.ID != second.ID || first.ID == j.ID {
		t.Errorf("%s, then %s", first.ID, second.ID)
	}
	own.Priority = 1
	if _, err := direct.Submit(t.Context(), own); !errors.Is(err, client.ErrIdempotencyMismatch) {
		t.Errorf("another body: %v", err)
	}
	batch := []client.Submission{{Queue: "batch", Priority: 1}, {Body: []byte(` { "queue" : "batch", "payload": "<>" }`)}}
	ids, err := c.SubmitBatch(t.Context(), batch, "")
	if err != nil || len(ids) != 2 || dropped.Load() != 4 {
		t.Fatalf("%v after %d lost answers: %v", ids, dropped.Load(), err)
	}
	if j, err := direct.Get(t.Context(), ids[1]); err != nil || j.Queue != "batch" || string(j.Payload) != `"<>"` {
		t.Errorf("%+v, %v", j, err)
	}
	n = 0
	for range direct.List(t.Context(), client.ListOptions{Status: client.Pending}) {
		n++
	}
	if n != 2 {
		t.Errorf("%d jobs of a batch of two", n)
	}
	again, err := direct.SubmitBatch(t.Context(), batch, "batch-7")
	if err == nil {
		ids, err = direct.SubmitBatch(t.Context(), batch, "batch-7")
	}
	if err != nil || !slices.Equal(ids, again) {
		t.Errorf("%v, then %v: %v", again, ids, err)
	}
	if _, err := direct.SubmitBatch(t.Context(), batch[:1], "batch-7"); !errors.Is(err, client.ErrIdempotencyMismatch) {
		t.Errorf("another batch: %v", err)
	}
}

// A batch is refused whole, and what would not be a batch is not sent.
func TestBatchRefused(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	c := s.client("", client.Options{})
	good := client.Submission{Queue: "q"}
	var p *client.Problem
	_, err := c.SubmitBatch(t.Context(), []client.Submission{good, {Queue: "q", Priority: 101}}, "")
	if !errors.Is(err, client.ErrInvalid) || !errors.As(err, &p) || len(p.Errors) != 1 || p.Errors[0].Pointer != "/jobs/1/priority" {
		t.Errorf("%v", err)
	}
	if _, err := c.SubmitBatch(t.Context(), nil, ""); !errors.Is(err, client.ErrInvalid) {
		t.Errorf("no jobs: %v", err)
	}
	for _, bad := range []client.Submission{{Queue: "q", IdempotencyKey: "k"}, {Body: []byte(`{"queue":"q"},{"queue":"q"}`)}, {Queue: "q", Payload: func() {}}} {
		if _, err := c.SubmitBatch(t.Context(), []client.Submission{good, bad}, ""); err == nil || errors.As(err, &p) && p.Status == 0 {
			t.Errorf("%+v: %v", bad, err)
		}
	}
	for j, err := range c.List(t.Context(), client.ListOptions{}) {
		t.Errorf("%v, %v", j, err)
	}
}

// answering is a proxy that gives every request the same answer.
func answering(t *testing.T, answer string) string {
	t.Helper()
	p := startProxy(t, func() string { return "" })
	p.running.Go(func() {
		for {
			nc, err := p.ln.Accept()
			if err != nil {
				return
			}
			if req, err := http.ReadRequest(bufio.NewReader(nc)); err == nil {
				_, _ = io.Copy(io.Discard, req.Body)
				_, _ = io.WriteString(nc, answer)
			}
			_ = nc.Close()
		}
	})
	return p.ln.Addr().String()
}

// Calls give up in their time, and at once where a try is of no use.
func TestCallsEnd(t *testing.T) {
	t.Parallel()
	s := &server{t: t, key: "jc_a_b"}
	unavailable := "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nConnection: close\r\n%s\r\n"
	for name, tc := range map[string]struct {
		addr string
		want func(error) bool
	}{
		"nobody there": {"127.0.0.1:1", isLost},
		"unavailable":  {answering(t, fmt.Sprintf(unavailable, "")), isLost},
		"a long wait":  {answering(t, fmt.Sprintf(unavailable, "Retry-After: 100000\r\n")), isLost},
		"not jobcast":  {answering(t, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello"), hasStatus(200)},
		"a redirect":   {answering(t, "HTTP/1.1 302 Found\r\nLocation: http://elsewhere.invalid/\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"), hasStatus(302)},
		"an HTML page": {answering(t, "HTTP/1.1 403 Forbidden\r\nContent-Type: text/html\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno"), hasStatus(403)},
	} {
		t.Run(name, func(t *testing.T) {
			c := s.client(tc.addr, client.Options{GiveUp: 300 * time.Millisecond})
			began := time.Now()
			if _, err := c.Get(t.Context(), "x"); !tc.want(err) {
				t.Errorf("got %v", err)
			}
			if took := time.Since(began); took > 30*time.Second {
				t.Errorf("took %s", took)
			}
			for _, err := range c.Watch(t.Context(), "x", client.WatchOptions{GiveUp: 300 * time.Millisecond}) {
				if !tc.want(err) {
					t.Errorf("watch: got %v", err)
				}
			}
		})
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	c := s.client("127.0.0.1:1", client.Options{})
	if _, err := c.Get(ctx, "x"); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	for _, err := range c.Watch(ctx, "x", client.WatchOptions{}) {
		if !errors.Is(err, context.Canceled) {
			t.Errorf("cancelled watch: %v", err)
		}
	}
}

func isLost(err error) bool {
	var l *client.LostError
	return errors.As(err, &l) && l.Err != nil
}

func hasStatus(want int) func(error) bool {
	return func(err error) bool {
		var p *client.Problem
		return errors.As(err, &p) && p.Status == want && p.Code == ""
	}
}
