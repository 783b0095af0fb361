package rest

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"io"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/jobcast/jobcast/eventlog"
	"github.com/jobcast/jobcast/jobs"
	"github.com/jobcast/jobcast/jobs/action"
)

var killedJobs = flag.Int("killed-jobs", 1000, "how many jobs TestKilledWorkers gives to its workers")

const killedWorkers = 24 // at the same time

// Workers are stopped and killed at any moment, leases run out, jobs are
// cancelled in between: each job has exactly one terminal event, and nothing
// after it.
func TestKilledWorkers(t *testing.T) {
	s := newSiteWithTimes(t, times{lease: 400 * time.Millisecond})
	p := jobs.NewProcessor(s.service, action.Builtin(action.Options{}), jobs.ProcessorOptions{})
	p.Start()
	t.Cleanup(func() {
		if err := p.Stop(context.Background()); err != nil {
			t.Error(err)
		}
	})
	ids := s.fill(*killedJobs)
	over, end := context.WithCancel(t.Context())
	var workers sync.WaitGroup
	var kills atomic.Int64
	began := time.Now()
	for range killedWorkers {
		workers.Go(func() {
			for over.Err() == nil {
				s.worker(over) // one dies, the next takes its place
				kills.Add(1)
			}
		})
	}
	workers.Go(func() { // somebody changes their mind now and then
		for _, id := range ids {
			if rand.IntN(30) == 0 && over.Err() == nil {
				<-time.After(time.Duration(rand.IntN(20)) * time.Millisecond)
				_, _ = s.service.Cancel(over, "acme", id) // whether it came in time is open
			}
		}
	})
	for _, id := range ids {
		select {
		case <-s.ends.of(id):
		case <-time.After(2 * time.Minute):
			t.Fatalf("job %s never ended: %q", id, s.events("acme", id))
		}
	}
	end()
	workers.Wait()
	attempts := 0
	for _, id := range ids {
		attempts += s.wantOneEnd(id)
	}
	t.Logf("%d jobs, %d kills, %d attempts, checked to have one terminal event each, after %v",
		len(ids), kills.Load(), attempts, time.Since(began).Round(time.Millisecond))
}

// fill submits n jobs of the queue q.
func (s *site) fill(n int) []string {
	s.t.Helper()
	ids := make([]string, n)
	spec := jobs.Spec{Queue: "q", Payload: json.RawMessage("null"), MaxAttempts: 25, Timeout: time.Hour}
	const producers = 32
	var wg sync.WaitGroup
	for p := range producers {
		wg.Go(func() {
			for i := p; i < n; i += producers {
				ids[i] = uuid.Must(uuid.NewV7()).String()
				if _, _, err := s.store.Submit(s.t.Context(), "acme", ids[i], spec, jobs.Idempotency{}); err != nil {
					s.t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	return ids
}

// worker claims and works until it is stopped, or is killed in the middle of
// whatever it does. Late calls of leases that it lost are refused, not fatal.
func (s *site) worker(over context.Context) {
	hc := &http.Client{Transport: &http.Transport{}}
	defer hc.CloseIdleConnections()
	life, kill := context.WithTimeout(over, time.Duration(20+rand.IntN(1500))*time.Millisecond)
	defer kill()
	post := func(path, token, body string) []byte {
		req, err := http.NewRequestWithContext(life, http.MethodPost, "http://"+s.addr+path, strings.NewReader(body))
		if err != nil {
			s.t.Error(err)
			return nil
		}
		req.Header.Set("Authorization", "Bearer "+s.plain)
		req.Header.Set("Content-Type", "application/json")
		req.Header.Set("X-Lease-Token", token)
		res, err := hc.Do(req)
		if err != nil {
			return nil
		}
		defer res.Body.Close()
		if res.StatusCode != http.StatusOK && res.StatusCode != http.StatusConflict {
			s.t.Errorf("%s: %d", path, res.StatusCode)
		}
		data, _ := io.ReadAll(res.Body)
		return data
	}
	for life.Err() == nil {
		var got struct{ Jobs []given }
		data := post("/v1/workers/claim", "", `{"queues":["q"],"max":3,"wait":1}`)
		if data == nil || json.NewDecoder(bytes.NewReader(data)).Decode(&got) != nil {
			continue
		}
		for len(got.Jobs) > 0 {
			g := got.Jobs[0]
			got.Jobs = append(got.Jobs[1:], s.attempt(g, post)...)
		}
	}
}

// attempt works on one job, and returns what was claimed with its end.
func (s *site) attempt(g given, post func(path, token, body string) []byte) []given {
	path := "/v1/jobs/" + g.ID
	call := func(verb, body string) []byte { return post(path+"/"+verb, g.Lease.Token, body) }
	call("progress", `[{"progress":1},{"progress":2}]`)
	claims := func(verb, body string) []given {
		var next struct{ Jobs []given }
		for range 2 { // says it twice, as if the first answer were lost
			if data := call(verb, body); data != nil {
				_ = json.Unmarshal(data, &next) // a refusal has no jobs
			}
		}
		return next.Jobs
	}
	switch n := rand.IntN(16); {
	case n == 0: // forgets it
	case n == 1 && g.Attempt < 3: // a later attempt would wait long for the next
		call("fail", `{"errorMessage":"again"}`)
	case n == 2:
		call("fail", `{"errorMessage":"no","retry":false}`)
	case n == 3: // says it twice
		call("complete", `{}`)
		call("complete", `{}`)
	case n == 4: // with one that nobody has
		post("/v1/workers/complete", "", `{"jobs":[{"jobId":"`+g.ID+`","leaseToken":"`+g.Lease.Token+`"},{"jobId":"`+g.ID+`","leaseToken":"x"}]}`)
	case n == 5:
		return claims("fail", `{"errorMessage":"no","retry":false,"claim":{"queues":["q"]}}`)
	case n < 11:
		return claims("complete", `{"claim":{"queues":["q"]}}`)
	default:
		call("complete", `{}`)
		call("progress", `{"progress":3}`) // too late
	}
	return nil
}

// wantOneEnd checks a job's story: attempts one after another, one end. It
// returns how many attempts there were.
func (s *site) wantOneEnd(id string) (attempts int) {
	s.t.Helper()
	story := s.events("acme", id)
	running, ends := false, 0
	for i, e := range story {
		kind, _, _ := strings.Cut(e, " ")
		ok := true
		switch eventlog.Type(kind) {
		case eventlog.TypeCreated:
			ok = i == 0
		case eventlog.TypeStarted:
			ok, running = !running, true
			attempts++
		case eventlog.TypeProgress:
			ok = running
		case eventlog.TypeRetrying:
			ok, running = running, false
		case eventlog.TypeCompleted, eventlog.TypeFailed:
			ok = running && i == len(story)-1
			ends++
		case eventlog.TypeCancelled:
			ok = i == len(story)-1
			ends++
		}
		if !ok {
			s.t.Errorf("job %s: event %d of %q", id, i, story)
			return attempts
		}
	}
	if ends != 1 {
		s.t.Errorf("job %s has %d terminal events: %q", id, ends, story)
	}
	return attempts
}
