package transporttest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/jobcast/jobcast/eventlog"
	"github.com/jobcast/jobcast/jobs"
)

// bounding: whatever a job holds, no frame is larger than jobs.MaxFrameBytes. The
// clients of the suite look at the size of each that they read, in all scenarios.
func bounding() []scenario {
	return []scenario{
		{name: "large jobs", run: largeJobs},
		{name: "many artifacts", run: manyArtifacts},
		{name: "large answers to a command", on: rooms, run: largeAnswers},
	}
}

// awkward are texts that get longer on their way, by different factors.
var awkward = []string{"x", `"`, `\`, "\x01", "\x7f", "<", "\u2028", "ü", "😀", "</script>\n"}

// fill returns text of at most n bytes that is full of one piece.
func fill(piece string, n int) string { return strings.Repeat(piece, n/len(piece)) }

// object is a JSON object of n bytes that is full of one piece, but for a rest.
func object(piece string, n int) json.RawMessage {
	one := len(encoded(piece)) - len(`""`)
	text := fill("y", n-len(`{"x":""}`))
	pieces := len(text) / one
	return json.RawMessage(`{"x":"` + strings.Repeat(string(encoded(piece)[1:1+one]), pieces) + text[pieces*one:] + `"}`)
}

// encoded is JSON that was not made longer than need be.
func encoded(v any) json.RawMessage {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	_ = enc.Encode(v) // texts can always be encoded
	return bytes.TrimSpace(b.Bytes())
}

// submitLarge makes a job with as much in it as there may be.
func (l *Log) submitLarge(t TB, piece string) *Work {
	t.Helper()
	ctx, cancel := command()
	defer cancel()
	j, _, err := l.server.Jobs().Submit(ctx, l.Client, jobs.Spec{
		Queue: l.queue(), Payload: object(piece, 200_000), Metadata: object(piece, jobs.MaxMetadataBytes),
		MaxAttempts: 1, Timeout: time.Hour,
	}, jobs.Idempotency{})
	if err != nil {
		t.Fatalf("submit: %v", err)
	}
	return l.Adopt(t, j)
}

// report commits a line and progress with as much text as there may be.
func (w *Work) report(t TB, piece string) {
	t.Helper()
	ctx, cancel := command()
	defer cancel()
	progress := 50.0
	_, err := w.log.server.Jobs().Progress(ctx, w.lease, []jobs.Report{{
		Log: &jobs.LogLine{Line: fill(piece, jobs.MaxLogLineBytes)}, Progress: &progress,
		Message: fill(piece, jobs.MaxMessageBytes), Step: fill(piece, jobs.MaxStepBytes),
	}})
	if err != nil {
		t.Fatalf("report: %v", err)
	}
}

// end ends the job with a result of so many bytes, or (0) with a failure.
func (w *Work) end(t TB, piece string, result int) {
	t.Helper()
	ctx, cancel := command()
	defer cancel()
	e := jobs.End{Lease: w.lease}
	if result > 0 {
		e.Result = object(piece, result)
	} else {
		e.Failed = &jobs.WorkerFailure{Class: fill(piece, jobs.MaxErrorClassBytes), Message: fill(piece, jobs.MaxErrorMessageBytes)}
	}
	if _, _, err := w.log.server.Jobs().End(ctx, e, nil); err != nil {
		t.Fatalf("end: %v", err)
	}
}

// largeJobs: a job is read whole while it runs and when it has ended, and `subscribed`
// says what it leaves out.
func largeJobs(s *stage) {
	for _, piece := range awkward {
		for _, result := range []int{0, jobs.MaxResultBytes} {
			w := s.log.submitLarge(s, piece)
			w.Claim(s)
			w.report(s, piece)
			live := s.open(Opening{Job: w.Job})
			s.events(live, 4)
			w.end(s, piece, result)
			s.wantEnd(live, 1, result)
			again := s.open(Opening{Job: w.Job})
			want := `["payload"]`
			switch {
			case result > 0:
				want = `["payload","result"]`
			case len(encoded(fill(piece, jobs.MaxErrorMessageBytes))) > 40_000: // that stays
				want = `["payload","metadata"]`
			}
			s.wantOmitted(again, want)
			s.wantEnd(again, 5, result)
		}
	}
}

// wantEnd reads n events, the last of which ends a job with a whole result, and up to
// the clean end.
func (s *stage) wantEnd(r Reader, n, result int) {
	s.Helper()
	got, _ := s.all(r)
	if len(got) != n {
		s.Fatalf("%d events, want %d", len(got), n)
	}
	var last struct {
		Type eventlog.Type
		Data struct{ Result json.RawMessage }
	}
	if err := json.Unmarshal(got[n-1].Event, &last); err != nil {
		s.Fatal(err)
	}
	if !last.Type.Terminal() || len(last.Data.Result) != result {
		s.Errorf("it ends with %s and a result of %d bytes, want %d", last.Type, len(last.Data.Result), result)
	}
	r.Close()
}

// wantOmitted reads `subscribed`, where the transport has it, and looks at its job.
func (s *stage) wantOmitted(r Reader, want string) {
	s.Helper()
	if !s.tr.Stream {
		return
	}
	sub, _ := s.until(r, "subscribed")
	job := field[map[string]json.RawMessage](s, sub.Data, "job")
	if got := string(job["omitted"]); got != want {
		s.Errorf("subscribed to a job without %s, want %s", got, want)
	}
	for _, name := range []string{"payload", "result", "metadata", "actions", "artifacts"} {
		if _, there := job[name]; there == strings.Contains(want, name) {
			s.Errorf("of a job without %s, %s is there: %v", want, name, there)
		}
	}
}

// manyArtifacts: what a job leaves behind shares the event with its result.
func manyArtifacts(s *stage) {
	w := s.log.submitLarge(s, "x")
	w.Claim(s)
	ctx, cancel := command()
	defer cancel()
	taken := 0 // bytes of the artifacts in the event
	for i := range jobs.MaxArtifacts {
		name := fmt.Sprintf("%0*d", jobs.MaxArtifactName, i)
		saved, err := s.Jobs().SaveArtifact(ctx, w.lease, name, "text/plain; charset=utf-8", 1, strings.NewReader("x"), nil)
		if err != nil {
			s.Fatal(err)
		}
		taken += len(encoded(saved.Artifact.Artifact)) + len(",")
	}
	r := s.open(Opening{Job: w.Job})
	result := jobs.MaxResultBytes
	for step := taken - 1000; ; step = 100 { // until it fits beside them, just so
		_, _, err := s.Jobs().End(ctx, jobs.End{Lease: w.lease, Result: object("x", result)}, nil)
		var invalid *jobs.InvalidError
		if err == nil {
			break
		} else if !errors.As(err, &invalid) {
			s.Fatal(err)
		}
		result -= step
	}
	if result > jobs.MaxResultBytes-taken+1000-100 { // the first two did not fit
		s.Errorf("a result of %d bytes that does not fit beside %d bytes of artifacts was taken", result, taken)
	}
	s.wantEnd(r, 3+jobs.MaxArtifacts, result)
	again := s.open(Opening{Job: w.Job})
	if s.tr.Stream {
		sub, _ := s.until(again, "subscribed")
		omitted := field[[]string](s, field[json.RawMessage](s, sub.Data, "job"), "omitted")
		if !slices.Equal(omitted, []string{"payload", "result"}) {
			s.Errorf("subscribed to a job without %q", omitted)
		}
	}
	s.wantEnd(again, 3+jobs.MaxArtifacts, result)
}

// largeAnswers: what answers a command repeats little of it, and of the job.
func largeAnswers(s *stage) {
	const huge = 60_000
	c := s.connect()
	for _, piece := range awkward {
		w := s.log.submitLarge(s, piece)
		for range 2 { // the second time it is joined already
			s.tell(c, "subscribe", map[string]any{"jobId": w.Job})
			s.until(c, "subscribed")
		}
		if io, ok := c.(*IO); ok {
			if err := io.acknowledged("subscribe", map[string]any{"jobId": w.Job}); err != nil {
				s.Fatal(err)
			}
		}
		for _, message := range []map[string]any{
			{"jobId": fill(piece, huge/6)}, {"jobId": w.Job, "lastEventId": fill(piece, huge/6)}, {"jobId": w.Job, "from": fill(piece, huge/6)},
		} {
			s.tell(c, "subscribe", message)
			s.tell(c, "unsubscribe", message)
		}
		s.tell(c, fill(piece, huge/6), nil)
		s.tell(c, "unsubscribe", map[string]any{})
	}
	s.tell(c, "subscribe", map[string]any{})
	for {
		it, _ := s.until(c, "subscribed")
		if strings.HasPrefix(field[string](s, it.Data, "room"), "client:") {
			return
		}
	}
}

// acknowledged sends an event that asks for an acknowledgement and reads up to it.
func (s *IO) acknowledged(event string, data any) error {
	const id = "999999999999999" // as long as there is
	text, err := json.Marshal([]any{event, data})
	if err == nil {
		err = s.send("42" + namespace + "," + id + string(text))
	}
	for err == nil {
		var p packetIO
		if p, err = s.packetIO(); p.kind == '3' && strings.HasPrefix(p.data, id) {
			return nil
		}
	}
	return err
}
