package transporttest

import (
	"encoding/json"
	"errors"
	"io"
	"sync"
	"time"

	"github.com/jobcast/jobcast/auth"
	"github.com/jobcast/jobcast/jobs"
)

// draining: a server that goes says so, and nothing is lost by it.
func draining() []scenario {
	return []scenario{
		{name: "drain", run: drain},
		{name: "drain while jobs run", opts: Options{Grace: 2 * time.Second}, run: drainRunning},
	}
}

// drain stops and starts the server under a writer, with readers of both rooms.
func drain(s *stage) {
	w := s.log.Begin(s)
	w.Emit(s, 5, 5)
	rooms := []Opening{{Job: w.Job}, {From: "start"}}
	got := make([][]Item, len(rooms))
	cursors := make([]string, len(rooms))
	var readers, writer sync.WaitGroup
	for i, o := range rooms {
		r := s.open(o)
		got[i] = s.events(r, 2)
		readers.Go(func() {
			var rest []Item
			rest, cursors[i] = s.farewell(r, time.Second, false)
			got[i] = append(got[i], rest...)
		})
	}
	writer.Go(func() {
		pace := time.NewTicker(time.Millisecond) // a writer that never waits would hold fake time still
		defer pace.Stop()
		for w.TryEmit(s, 2) == nil { // until the store is closed
			<-pace.C
		}
	})
	s.settle(endTime, "both readers hold a slot", func() bool { return s.Live(s.key) == len(rooms) || !s.tr.Stream })
	if err := s.Stop(); err != nil {
		s.Errorf("stop: %v", err)
	}
	readers.Wait()
	writer.Wait()
	if s.Failed() {
		return
	}
	s.Start()
	w.Emit(s, 5, 2)
	for i, o := range rooms {
		o.Cursor, o.From = cursors[i], ""
		want := s.log.Entries(o.Job)
		r := s.open(o)
		got[i] = append(got[i], s.events(r, len(want)-len(got[i]))...)
		Same(s, got[i], want)
	}
	j, err := s.Jobs().Get(s.ctx, s.log.Client, w.Job)
	if err != nil || j.Attempt != 1 || j.Status != jobs.Processing {
		s.Errorf("the job is %s in attempt %d, %v", j.Status, j.Attempt, err)
	}
}

// farewell reads until the server says goodbye, and checks how it does. It
// returns what came before and where to come back. Unless it must, a reader of
// many requests may find the server gone between two of them.
func (s *stage) farewell(r Reader, least time.Duration, must bool) (got []Item, cursor string) {
	for {
		it, err := r.Next()
		if err != nil {
			if s.tr.Requests && !must { // it was between two requests
				return got, r.Cursor()
			}
			s.Errorf("ended without a goodbye: %v", err)
			return got, ""
		}
		if it.Event != nil {
			got = append(got, it)
		}
		if it.Name != "reconnect" {
			continue
		}
		var bye struct {
			RetryMs     int64
			LastEventID string
		}
		if err := json.Unmarshal(it.Data, &bye); err != nil {
			s.Errorf("goodbye %q: %v", it.Data, err)
		}
		if retry := time.Duration(bye.RetryMs) * time.Millisecond; retry < least || retry > least+time.Minute {
			s.Errorf("come back after %v, want at least %v", retry, least)
		}
		if bye.LastEventID == "" || bye.LastEventID != r.Cursor() {
			s.Errorf("goodbye at %q, the reader is at %q", bye.LastEventID, r.Cursor())
		}
		if it, err := r.Next(); !errors.Is(err, io.EOF) {
			s.Errorf("after goodbye: %+v, %v", it, err)
		}
		return got, bye.LastEventID
	}
}

// drainRunning: a job that the server runs itself is handed back, and no
// attempt of it is used up.
func drainRunning(s *stage) {
	id, secret := s.Key("globex", auth.KeyOptions{})
	r := s.openAs(Caller{Dial: s.Dial, Secret: secret}, Opening{})
	j, _, err := s.Jobs().Submit(s.ctx, "globex", jobs.Spec{
		Actions: json.RawMessage(`[{"type":"wait","ms":600000}]`), MaxAttempts: 1, Timeout: time.Hour,
	}, jobs.Idempotency{})
	if err != nil {
		s.Fatal(err)
	}
	s.events(r, 3) // created, started, progress
	s.settle(endTime, "the processor has heard of its claim", func() bool { return s.Jobs().Stats().Running == 1 })
	if !s.tr.Stream { // the request that brought them still holds its slot for a moment
		s.settle(endTime, "the answered request is over", func() bool { return s.Live(id) == 0 })
	}
	var bye sync.WaitGroup
	var cursor string
	bye.Go(func() { _, cursor = s.farewell(r, 1500*time.Millisecond, true) })
	s.settle(endTime, "the reader holds a slot", func() bool { return s.Live(id) == 1 && s.reachable(r) })
	start := time.Now()
	if err := s.Stop(); err != nil {
		s.Errorf("stop: %v", err)
	}
	if took := time.Since(start); s.fake && took > 5*time.Second {
		s.Errorf("the drain took %v", took)
	}
	bye.Wait()
	if s.Failed() {
		return
	}
	s.Start()
	back := s.openAs(Caller{Dial: s.Dial, Secret: secret}, Opening{Cursor: cursor})
	var types []string
	for _, e := range entriesOf(s, s.events(back, 3)) {
		types = append(types, string(e.Type))
	}
	if types[0] != "job.retrying" || types[1] != "job.started" || types[2] != "job.progress" {
		s.Errorf("after the drain came %v", types)
	}
	j, err = s.Jobs().Get(s.ctx, "globex", j.ID)
	if err != nil || j.Attempt != 1 || j.Status != jobs.Processing {
		s.Errorf("the job is %s in attempt %d, %v", j.Status, j.Attempt, err)
	}
	if _, err := s.Jobs().Cancel(s.ctx, "globex", j.ID); err != nil {
		s.Error(err)
	}
}
