package client_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/jobcast/jobcast/client"
)

// Whatever answer from 400 to 499 the end of an attempt gets, from the server or
// from something in front of it, the worker draws the right conclusion at once.
func TestWorkerIsRefused(t *testing.T) {
	t.Parallel()
	invalid := `fail InvalidResult "the server refuses the result: `
	for status := 400; status < 500; status++ {
		t.Run(fmt.Sprint(status), func(t *testing.T) {
			t.Parallel()
			var want []string
			switch status {
			case 401, 403, 404, 409:
				want = []string{"complete"}
			case 408, 429:
				want = []string{"complete", "complete"} // it passes
			default:
				want = []string{"complete", fmt.Sprintf(`%sHTTP status %d: %s" false`, invalid, status, http.StatusText(status))}
			}
			if d := cmp.Diff(want, refusing(t, status, 1, func() (any, error) { return map[string]int{}, nil })); d != "" {
				t.Error(d)
			}
		})
	}
	t.Run("failure", func(t *testing.T) {
		t.Parallel()
		got := refusing(t, 400, 1, func() (any, error) { return nil, fmt.Errorf("odd") })
		want := []string{`fail WorkerError "odd" true`, `fail InvalidResult "the attempt failed, and the server refuses to hear why: HTTP status 400: Bad Request" true`}
		if d := cmp.Diff(want, got); d != "" {
			t.Error(d)
		}
	})
}

// refusing runs one job against a server that refuses the first calls that end
// it, and returns all those calls.
func refusing(t *testing.T, status, times int, handle func() (any, error)) []string {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var mu sync.Mutex // guards calls and given
	var calls []string
	given := false
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		mu.Lock()
		defer mu.Unlock()
		what := r.URL.Path[strings.LastIndexByte(r.URL.Path, '/')+1:]
		switch {
		case what == "claim" && !given:
			given = true
			fmt.Fprint(w, `{"jobs":[{"id":"1","attempt":1,"timeoutMs":60000,"lease":{"token":"t"}}]}`)
		case what == "claim":
			cancel() // the job has ended: it was the only one
			fmt.Fprint(w, `{"jobs":[]}`)
		case what == "complete", what == "fail":
			if what == "fail" {
				var f struct {
					Error, ErrorMessage string
					Retry               bool
				}
				_ = json.Unmarshal(body, &f)
				what = fmt.Sprintf("fail %s %q %v", f.Error, f.ErrorMessage, f.Retry)
			}
			if calls = append(calls, what); len(calls) <= times {
				w.WriteHeader(status)
				return
			}
			fmt.Fprint(w, `{}`)
		default:
			fmt.Fprint(w, `{}`)
		}
	}))
	defer srv.Close()
	c, err := client.New(client.Options{URL: srv.URL, Key: "jc_x"})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	w := client.Worker{Client: c, Queues: []string{"q"}, Handle: func(context.Context, *client.Attempt) (any, error) { return handle() }}
	if err := w.Run(ctx); err != nil {
		t.Error(err)
	}
	mu.Lock()
	defer mu.Unlock()
	return calls
}
