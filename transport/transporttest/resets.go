package transporttest

import (
	"net/http"

	"github.com/jobcast/jobcast/auth"
	"github.com/jobcast/jobcast/eventlog"
)

// resets: a cursor that cannot be continued from never skips in silence.
func resets() []scenario {
	return []scenario{
		{name: "cursors that are not of this log", run: foreignCursors},
		{name: "pruned", run: pruned},
		{name: "garbage", run: garbage},
	}
}

// badCursor opens with a cursor that cannot be continued from, and checks the
// reset and where the room goes on: a job at its first event, a client at the
// tail.
func badCursor(s *stage, w *Work, o Opening, reason string) {
	s.Helper()
	r := s.open(o)
	defer r.Close()
	reset, before := s.until(r, "reset")
	if len(before) > 0 {
		s.Errorf("%s: %d events before the reset", reason, len(before))
	}
	if got := field[string](s, reset.Data, "reason"); got != reason {
		s.Errorf("%+v: reason %s, want %s", o, got, reason)
	}
	cursorOf(s, field[string](s, reset.Data, "oldest"))
	place := field[string](s, reset.Data, "cursor")
	if o.Job == "" && place != s.log.Head() {
		s.Errorf("%s: a client room goes on at %s, not at its newest event %s", reason, place, s.log.Head())
	}
	if o.Job != "" && cursorOf(s, place).Seq >= cursorOf(s, s.log.Entries(o.Job)[0].ID).Seq {
		s.Errorf("%s: a job room goes on at %s, behind its first event", reason, place)
	}
	w.Emit(s, 2, 1)
	want := s.log.After(s, o.Job, place)
	Same(s, s.events(r, len(want)), want)
}

func foreignCursors(s *stage) {
	other := s.client("globex")
	s.Key(other.Client, auth.KeyOptions{})
	other.Begin(s).Emit(s, 4, 4)
	w := s.log.Begin(s)
	w.Emit(s, 8, 4)
	here := cursorOf(s, s.log.Head())
	beyond := eventlog.Cursor{Epoch: here.Epoch, Seq: here.Seq + 1000}.String()
	for _, job := range []string{w.Job, ""} {
		badCursor(s, w, Opening{Job: job, Cursor: other.Head()}, "epoch")
		badCursor(s, w, Opening{Job: job, Query: other.Head()}, "epoch")
		badCursor(s, w, Opening{Job: job, Cursor: "neverwas-3"}, "epoch")
		badCursor(s, w, Opening{Job: job, Cursor: beyond}, "future")
	}
}

// pruned: a client's cursor from before what retention deleted.
func pruned(s *stage) {
	old := s.log.Begin(s)
	old.Emit(s, 5, 5)
	early := s.log.Entries(old.Job)[2].ID
	old.Finish(s)
	w := s.log.Begin(s)
	w.Emit(s, 3, 3)
	s.Prune()
	zero := eventlog.Cursor{}.String()
	badCursor(s, w, Opening{Cursor: early}, "pruned")
	badCursor(s, w, Opening{Query: early}, "pruned")
	badCursor(s, w, Opening{Cursor: zero}, "pruned")
	// A job is whole or gone.
	startsAfter(s, "a job that was kept", Opening{Job: w.Job, Cursor: early}, early)
	if r := s.refusal(s.caller(), Opening{Job: old.Job, Cursor: early}); r.Status != http.StatusNotFound {
		s.Errorf("a pruned job answers %d", r.Status)
	}
	// What is kept is read from its start without a reset.
	r := s.open(Opening{From: "start"})
	want := s.log.Entries(w.Job)
	Same(s, s.events(r, len(want)), want)
}

// garbage is refused in a query, where a person wrote it, and reset elsewhere: a
// browser could not correct its header, nor a program the frame that it sends.
func garbage(s *stage) {
	w := s.log.Begin(s)
	for _, job := range []string{w.Job, ""} {
		for _, text := range []string{"nonsense", "k3f9-", "k3f9-01", "-5", "K-5", "k3f9-99999999999999999999"} {
			badCursor(s, w, Opening{Job: job, Cursor: text}, "invalid")
			if s.tr.Accept == "" {
				continue
			}
			r := s.refusal(s.caller(), Opening{Job: job, Query: text})
			if p := s.problem(r.Body); r.Status != http.StatusBadRequest || p.Code != "malformed" {
				s.Errorf("query %q: %d %s", text, r.Status, p.Code)
			}
		}
	}
}
