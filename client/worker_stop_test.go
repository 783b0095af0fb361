package client_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/jobcast/jobcast/client"
)

// trip is a network made of a function.
type trip func(*http.Request) (*http.Response, error)

func (f trip) RoundTrip(req *http.Request) (*http.Response, error) { return f(req) }

// answer is what a fake server says.
func answer(status int, body string) *http.Response {
	kind := "application/json"
	if status > 299 {
		kind = "application/problem+json"
	}
	return &http.Response{StatusCode: status, Header: http.Header{"Content-Type": {kind}}, Body: io.NopCloser(strings.NewReader(body))}
}

// over returns when the caller has dropped the request.
func over(req *http.Request) (*http.Response, error) {
	<-req.Context().Done()
	return nil, req.Context().Err()
}

// A worker that is stopped while the end of its job claims another one begins no job more.
// Whatever became of that call, the end counts once and the other job waits as if nobody had
// claimed it.
func TestWorkerStopsInAnEnd(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	direct := s.client("", client.Options{})
	for name, meet := range map[string]func(send trip, req *http.Request, stop func()) (*http.Response, error){
		"before the server has it": func(_ trip, req *http.Request, stop func()) (*http.Response, error) {
			stop()
			return over(req)
		},
		"before the answer is read": func(send trip, req *http.Request, stop func()) (*http.Response, error) {
			if resp, err := send(req); err == nil {
				_, _ = io.Copy(io.Discard, resp.Body)
				_ = resp.Body.Close()
			}
			stop()
			return over(req)
		},
		"as the answer is read": func(send trip, req *http.Request, stop func()) (*http.Response, error) {
			resp, err := send(req)
			if err != nil {
				return nil, err
			}
			text, err := io.ReadAll(resp.Body)
			_ = resp.Body.Close()
			resp.Body = io.NopCloser(strings.NewReader(string(text)))
			stop()
			return resp, err
		},
		"as the server is away": func(_ trip, _ *http.Request, stop func()) (*http.Response, error) {
			stop()
			return answer(503, `{"status":503,"code":"unavailable"}`), nil
		},
	} {
		for _, grace := range []time.Duration{-1, time.Minute} {
			t.Run(fmt.Sprint(name, grace), func(t *testing.T) {
				t.Parallel()
				stopInEnd(t, direct, s, grace, meet)
			})
		}
	}
}

func stopInEnd(t *testing.T, direct *client.Client, s *server, grace time.Duration, meet func(trip, *http.Request, func()) (*http.Response, error)) {
	queue := strings.ToLower(strings.NewReplacer("/", "-", "_", "-").Replace(t.Name()))[len("testworker"):]
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	network := &http.Transport{}
	defer network.CloseIdleConnections()
	var ends atomic.Int32
	c := s.client("", client.Options{HTTPClient: &http.Client{Transport: trip(func(req *http.Request) (*http.Response, error) {
		if strings.HasSuffix(req.URL.Path, "/complete") && ends.Add(1) == 1 {
			return meet(network.RoundTrip, req, cancel)
		}
		return network.RoundTrip(req)
	})}})
	first := submit(t, direct, client.Submission{Queue: queue})
	second := submit(t, direct, client.Submission{Queue: queue, MaxAttempts: 1})
	var ran []string
	w := client.Worker{Client: c, Queues: []string{queue}, Grace: grace, Handle: func(_ context.Context, a *client.Attempt) (any, error) {
		ran = append(ran, a.Job.ID)
		return nil, nil
	}}
	if err := w.Run(ctx); err != nil {
		t.Error(err)
	}
	if d := cmp.Diff([]string{first.ID}, ran); d != "" {
		t.Errorf("jobs that were begun (-want +got):\n%s", d)
	}
	if d := cmp.Diff([]string{"created", "started", "completed {}"}, story(t, direct, first.ID)); d != "" {
		t.Error(d)
	}
	got, err := direct.Get(t.Context(), second.ID)
	if err != nil || got.Status != client.Pending || got.Attempt != 0 {
		t.Errorf("the other job: %+v, %v", got, err)
	}
	w.Client = direct
	run(t, w)
	if told := story(t, direct, second.ID); told[len(told)-1] != "completed {}" {
		t.Errorf("%q", told)
	}
}

// A worker whose end is refused, because the lease is lost, claims on.
func TestWorkerLosesAnEnd(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	given := 0
	var calls []string
	c, err := client.New(client.Options{HTTPClient: &http.Client{Transport: trip(func(req *http.Request) (*http.Response, error) {
		calls = append(calls, strings.TrimPrefix(req.URL.Path, "/v1/"))
		switch {
		case req.URL.Path != "/v1/workers/claim":
			return answer(409, `{"status":409,"code":"lease_lost","jobStatus":"pending"}`), nil
		case given == 2:
			cancel()
			return over(req)
		}
		given++
		return answer(200, fmt.Sprintf(`{"jobs":[{"id":"%d","attempt":1,"timeoutMs":60000,"lease":{"token":"t"}}]}`, given)), nil
	})}})
	if err != nil {
		t.Fatal(err)
	}
	w := client.Worker{Client: c, Queues: []string{"q"}, Handle: func(context.Context, *client.Attempt) (any, error) { return nil, nil }}
	if err := w.Run(ctx); err != nil {
		t.Error(err)
	}
	want := []string{"workers/claim", "jobs/1/complete", "workers/claim", "jobs/2/complete", "workers/claim"}
	if d := cmp.Diff(want, calls); d != "" {
		t.Error(d)
	}
}

// The lease of a job that was claimed with an end is renewed a third of its time after the
// try that was answered, however many failed before.
func TestWorkerRenewsWhatAnEndClaims(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const lease, away = 30 * time.Second, 25 * time.Second
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		began := time.Now()
		var claimed time.Time
		var renewed []time.Duration
		c, err := client.New(client.Options{HTTPClient: &http.Client{Transport: trip(func(req *http.Request) (*http.Response, error) {
			const job = `{"jobs":[{"id":"%d","attempt":1,"timeoutMs":600000,"lease":{"token":"t"}}]}`
			switch req.URL.Path {
			case "/v1/workers/claim":
				return answer(200, fmt.Sprintf(job, 1)), nil
			case "/v1/jobs/1/complete":
				if time.Since(began) < away {
					return nil, errors.New("nobody there")
				}
				claimed = time.Now()
				time.Sleep(time.Second)
				return answer(200, fmt.Sprintf(job, 2)), nil
			case "/v1/jobs/2/extend":
				renewed = append(renewed, time.Since(claimed))
			}
			return answer(200, `{}`), nil
		})}})
		if err != nil {
			t.Fatal(err)
		}
		w := client.Worker{Client: c, Queues: []string{"q"}, Lease: lease, Handle: func(_ context.Context, a *client.Attempt) (any, error) {
			if a.Job.ID == "2" {
				time.Sleep(lease)
				cancel()
			}
			return nil, nil
		}}
		if err := w.Run(ctx); err != nil {
			t.Error(err)
		}
		if d := cmp.Diff([]time.Duration{lease / 3, lease * 2 / 3, lease}, renewed); d != "" {
			t.Error(d)
		}
	})
}
