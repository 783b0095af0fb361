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

// chained has a worker run three jobs of a server, which knows that an end may claim or does
// not, and returns the worker's calls.
func chained(t *testing.T, knows bool) []string {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var mu sync.Mutex // guards calls and given
	var calls []string
	given := 0
	job := func() string {
		if given++; given > 3 {
			return ""
		}
		return fmt.Sprintf(`{"id":"%d","attempt":1,"timeoutMs":60000,"lease":{"token":"t%d"}}`, given, given)
	}
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		mu.Lock()
		defer mu.Unlock()
		var said map[string]json.RawMessage
		if err := json.Unmarshal(body, &said); err != nil {
			t.Errorf("%s: %v", body, err)
		}
		call := strings.TrimPrefix(r.URL.Path, "/v1/") + " " + r.Header.Get("X-Lease-Token") + string(said["claim"]) + string(said["worker"])
		calls = append(calls, call)
		refuse := func(pointer string) {
			w.Header().Set("Content-Type", "application/problem+json")
			w.WriteHeader(http.StatusUnprocessableEntity)
			fmt.Fprintf(w, `{"status":422,"code":"invalid","errors":[{"pointer":%q,"detail":"is not known"}]}`, pointer)
		}
		switch {
		case !knows && said["worker"] != nil:
			refuse("/worker")
		case r.URL.Path == "/v1/workers/claim":
			one := job()
			if one == "" {
				cancel()
			}
			fmt.Fprintf(w, `{"jobs":[%s]}`, one)
		case said["claim"] == nil:
			fmt.Fprint(w, `{}`)
		case knows:
			fmt.Fprintf(w, `{"job":{},"jobs":[%s]}`, job())
		default:
			refuse("/claim")
		}
	}))
	defer srv.Close()
	c, err := client.New(client.Options{URL: srv.URL, Key: "jc_x"})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	w := client.Worker{Client: c, Queues: []string{"q"}, Name: "w", Handle: func(_ context.Context, a *client.Attempt) (any, error) {
		if a.Job.ID == "2" {
			return nil, fmt.Errorf("no")
		}
		return map[string]int{"n": 1}, nil
	}}
	if err := w.Run(ctx); err != nil {
		t.Error(err)
	}
	mu.Lock()
	defer mu.Unlock()
	return calls
}

// A worker's slot takes its next job with the end of the one before. An older server, which
// knows no such thing, is asked once.
func TestWorkerChainsJobs(t *testing.T) {
	t.Parallel()
	const claim, first = `{"queues":["q"],"leaseMs":30000,"worker":"w"}`, `workers/claim "w"`
	want := []string{first, "jobs/1/complete t1" + claim, "jobs/2/fail t2" + claim, "jobs/3/complete t3" + claim, first}
	if diff := cmp.Diff(want, chained(t, true)); diff != "" {
		t.Errorf("calls (-want +got):\n%s", diff)
	}
	want = []string{
		first, "workers/claim ", `jobs/1/complete t1{"queues":["q"],"leaseMs":30000}`, "jobs/1/complete t1", "workers/claim ", "jobs/2/fail t2",
		"workers/claim ", "jobs/3/complete t3", "workers/claim ",
	}
	if diff := cmp.Diff(want, chained(t, false)); diff != "" {
		t.Errorf("calls of an older server (-want +got):\n%s", diff)
	}
}
