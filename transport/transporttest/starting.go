package transporttest

import (
	"net/http"

	"github.com/jobcast/jobcast/eventlog"
)

// starting: where a subscription starts, and what overrides what.
func starting() []scenario {
	return []scenario{
		{name: "defaults and from", run: defaultsAndFrom},
		{name: "precedence", on: urls, run: precedence},
		{name: "the beginning as a cursor", run: fromZero},
		{name: "the newest events", run: newest},
	}
}

// startsAfter opens a reader and checks that the first events it gets are those
// behind a place.
func startsAfter(s *stage, what string, o Opening, place string) {
	s.Helper()
	want := s.log.After(s, o.Job, place)
	r := s.open(o)
	defer r.Close()
	if len(want) == 0 { // then the next one that is written is the first
		w := s.log.Begin(s)
		w.Finish(s)
		want = s.log.After(s, o.Job, place)
	}
	got := s.events(r, len(want))
	if got[0].ID != want[0].ID {
		s.Errorf("%s: starts at %s, want %s", what, got[0].ID, want[0].ID)
		return
	}
	Same(s, got, want)
}

func defaultsAndFrom(s *stage) {
	s.log.Begin(s).Finish(s)
	w := s.log.Begin(s)
	w.Emit(s, 4, 2)
	zero := eventlog.Cursor{}.String()
	startsAfter(s, "a job by default", Opening{Job: w.Job}, zero)
	startsAfter(s, "a job from its start", Opening{Job: w.Job, From: "start"}, zero)
	startsAfter(s, "a client by default", Opening{}, s.log.Head())
	startsAfter(s, "a client from now", Opening{From: "now"}, s.log.Head())
	startsAfter(s, "a client from the start", Opening{From: "start"}, zero)
	head := s.log.Head()
	r := s.open(Opening{Job: w.Job, From: "now"})
	w.Emit(s, 2, 1)
	Same(s, s.events(r, 2), s.log.After(s, w.Job, head))
}

// precedence: the header, then the query, then from; empty is absent.
func precedence(s *stage) {
	w := s.log.Begin(s)
	w.Emit(s, 6, 3)
	all := s.log.Entries(w.Job)
	early, late := all[2].ID, all[5].ID
	for _, job := range []string{w.Job, ""} {
		startsAfter(s, "header before query", Opening{Job: job, Cursor: late, Query: early, From: "start"}, late)
		startsAfter(s, "header before query, the other way round", Opening{Job: job, Cursor: early, Query: late}, early)
		startsAfter(s, "query before from", Opening{Job: job, Query: late, From: "start"}, late)
		startsAfter(s, "header before from", Opening{Job: job, Cursor: early, From: "now"}, early)
	}
}

func fromZero(s *stage) {
	w := s.log.Begin(s)
	w.Emit(s, 3, 3)
	zero := eventlog.Cursor{}.String()
	for _, job := range []string{w.Job, ""} {
		r := s.open(Opening{Job: job, Cursor: zero})
		Same(s, s.events(r, len(s.log.Entries(job))), s.log.Entries(job))
		r.Close()
	}
}

// newest: a reader may begin with the newest events, and then what comes.
func newest(s *stage) {
	s.log.Begin(s).Finish(s)
	w := s.log.Begin(s)
	w.Emit(s, 6, 3)
	s.log.Begin(s).Finish(s)
	for _, job := range []string{w.Job, ""} {
		all := s.log.Entries(job)
		before := all[len(all)-4].ID
		startsAfter(s, "the newest three", Opening{Job: job, Tail: "3"}, before)
		startsAfter(s, "more than there are", Opening{Job: job, Tail: "10000", From: "now"}, eventlog.Cursor{}.String())
		startsAfter(s, "a cursor before the newest", Opening{Job: job, Tail: "1", Cursor: before}, before)
	}
	for _, tail := range []string{"0", "10001", "-1", "1.5"} {
		if r := s.refusal(s.caller(), Opening{Job: w.Job, Tail: tail}); r.Status != http.StatusUnprocessableEntity {
			s.Errorf("the newest %s: %+v", tail, r)
		}
	}
}
