package transporttest

import (
	"context"
	"net/http"
	"strings"

	"github.com/jobcast/jobcast/eventlog"
	"github.com/jobcast/jobcast/jobs"
)

// ending: how a reader learns that nothing can follow, and the calls that make
// a job and read it at once.
func ending() []scenario {
	return []scenario{
		{name: "the end", run: theEnd},
		{name: "after the end", run: afterTheEnd},
		{name: "submit and stream", on: responses, run: submitAndStream},
		{name: "conflate", on: conflates, run: conflate},
	}
}

func theEnd(s *stage) {
	for _, terminal := range []struct {
		status string
		finish func(*Work)
	}{
		{"completed", func(w *Work) { w.Finish(s) }},
		{"cancelled", func(w *Work) { w.Cancel(s) }},
	} {
		w := s.log.Begin(s)
		r := s.open(Opening{Job: w.Job})
		head := s.events(r, 2)
		w.Emit(s, 2, 2)
		terminal.finish(w)
		rest, frames := s.all(r)
		Same(s, append(head, rest...), s.log.Entries(w.Job))
		s.checkEnd(frames, w, terminal.status)
		again, frames := s.all(s.open(Opening{Job: w.Job})) // history of an ended job
		Same(s, again, s.log.Entries(w.Job))
		s.checkEnd(frames, w, terminal.status)
	}
}

func (s *stage) checkEnd(frames []Item, w *Work, status string) {
	s.Helper()
	if !s.tr.Stream {
		return // its end was `done`
	}
	if len(frames) == 0 || frames[len(frames)-1].Name != "end" {
		s.Fatalf("the last frames are %v", frames)
	}
	end := frames[len(frames)-1].Data
	if field[string](s, end, "jobId") != w.Job || field[string](s, end, "status") != status {
		s.Errorf("end: %s", end)
	}
	if last := field[string](s, end, "lastEventId"); cursorOf(s, last).Seq < cursorOf(s, s.terminal(w)).Seq {
		s.Errorf("end is at %s, before the terminal event %s", last, s.terminal(w))
	}
}

func (s *stage) terminal(w *Work) string {
	all := s.log.Entries(w.Job)
	return all[len(all)-1].ID
}

// afterTheEnd: with a cursor at or past the terminal event an EventSource is
// stopped for good, and the others are told at once.
func afterTheEnd(s *stage) {
	w := s.log.Begin(s)
	w.Finish(s)
	s.log.Begin(s)
	for _, cursor := range []string{s.terminal(w), s.log.Head()} {
		if s.tr.Accept == mediaSSE {
			if r := s.refusal(s.caller(), Opening{Job: w.Job, Cursor: cursor}); r.Status != http.StatusNoContent || r.Header.Get("Access-Control-Allow-Origin") == "" {
				s.Errorf("%d, headers %v", r.Status, r.Header)
			}
			continue
		}
		got, frames := s.all(s.open(Opening{Job: w.Job, Cursor: cursor}))
		Same(s, got, []Entry{})
		s.checkEnd(frames, w, "completed")
	}
	// One event short of it, there is something to say.
	all := s.log.Entries(w.Job)
	got, frames := s.all(s.open(Opening{Job: w.Job, Cursor: all[len(all)-2].ID}))
	Same(s, got, all[len(all)-1:])
	s.checkEnd(frames, w, "completed")
}

// submitAndStream makes a job and reads it by the same response.
func submitAndStream(s *stage) {
	ctx, cancel := context.WithCancel(s.ctx)
	defer cancel()
	hc := s.caller().Client()
	defer hc.CloseIdleConnections()
	post := func() *http.Response {
		req, err := s.caller().Request(ctx, http.MethodPost, "/v1/jobs", strings.NewReader(`{"queue":"submitted"}`))
		if err != nil {
			s.Fatal(err)
		}
		req.Header.Set("Accept", s.tr.Accept)
		req.Header.Set("Content-Type", mediaJSON)
		req.Header.Set("Idempotency-Key", "once")
		resp, err := hc.Do(req)
		if err == nil {
			err = refused(resp)
		}
		if err != nil {
			s.Fatal(err)
		}
		return resp
	}
	first := s.answered(post(), cancel)
	subscribed, _ := s.until(first, "subscribed")
	job := field[jobs.Job](s, subscribed.Data, "job")
	w := s.log.Adopt(s, job)
	w.Claim(s)
	w.Emit(s, 3, 2)
	// Repeated after a cut, the call attaches to the same job.
	second := s.answered(post(), cancel)
	w.Finish(s)
	for _, r := range []Reader{first, second} {
		got, frames := s.all(r)
		Same(s, got, s.log.Entries(w.Job))
		s.checkEnd(frames, w, "completed")
	}
	if n := len(s.log.Entries("")); n != 6 {
		s.Errorf("%d events, want those of one job", n)
	}
}

// answered reads a response in the transport's own form.
func (s *stage) answered(resp *http.Response, leave func()) Reader {
	s.Helper()
	parse := (*stream).nextSSE
	if s.tr.Accept == mediaNDJSON {
		parse = (*stream).nextLine
	}
	if !strings.HasPrefix(resp.Header.Get("Content-Type"), s.tr.Accept) || resp.Header.Get("Location") == "" {
		s.Errorf("headers %v", resp.Header)
	}
	r := newStream(resp, leave, "", parse)
	s.Cleanup(r.Close)
	return r
}

// conflate: only progress that was overtaken within a batch is left out.
func conflate(s *stage) {
	w := s.log.Begin(s)
	w.Emit(s, 600, 100)
	w.Finish(s)
	got, _ := s.all(s.open(Opening{Job: w.Job, Conflate: true}))
	want := s.log.Entries(w.Job)
	place := make(map[string]int, len(want))
	for i, e := range want {
		place[e.ID] = i
	}
	at, skipped := -1, 0
	for _, e := range entriesOf(s, got) {
		i, known := place[e.ID]
		if !known || want[i] != e || i <= at {
			s.Fatalf("%+v is out of order or was never written", e)
		}
		for _, left := range want[at+1 : i] {
			skipped++
			if left.Type != eventlog.TypeProgress {
				s.Fatalf("%+v was left out", left)
			}
		}
		at = i
	}
	if at != len(want)-1 || skipped < 300 {
		s.Errorf("read up to event %d of %d, %d left out", at+1, len(want), skipped)
	}
	newest := ""
	for _, e := range want {
		if e.Type == eventlog.TypeProgress {
			newest = e.ID
		}
	}
	for _, it := range got {
		if it.ID == newest {
			return
		}
	}
	s.Error("the newest progress was left out")
}
