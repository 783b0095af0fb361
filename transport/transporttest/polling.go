package transporttest

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"
)

// polling: what only the long-poll promises, and what raw HTTP clients see.
func polling() []scenario {
	return []scenario{
		{name: "wait is over", mode: fakeOnly, on: polls, run: waitOver},
		{name: "wait of none", on: polls, run: waitNone},
		{name: "limits of one answer", on: polls, run: answerLimits},
		{name: "gone cursors", on: polls, run: cursorGone},
		{name: "pipelined requests", on: polls, run: pipelined},
		{name: "http 1.0", on: urls, run: http10},
	}
}

// request is one raw request for an events URL.
func (s *stage) raw(path, version string, more ...string) string {
	lines := append([]string{
		"GET " + path + " " + version, "Host: x", "Accept: " + s.tr.Accept, "Authorization: Bearer " + s.secret,
	}, more...)
	return strings.Join(lines, "\r\n") + "\r\n\r\n"
}

// answer reads one response from a raw connection.
func (s *stage) answer(r *bufio.Reader) (*http.Response, Answer) {
	s.Helper()
	resp, err := http.ReadResponse(r, nil)
	if err != nil {
		s.Fatalf("read answer: %v", err)
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		s.Fatalf("read answer: %v", err)
	}
	var a Answer
	if err := json.Unmarshal(body, &a); err != nil {
		s.Fatalf("answer %q: %v", body, err)
	}
	return resp, a
}

func items(a Answer) []Item {
	out := make([]Item, len(a.Events))
	for i, e := range a.Events {
		var place struct{ ID string }
		_ = json.Unmarshal(e, &place) // checked by who compares the events
		out[i] = Item{Event: e, ID: place.ID}
	}
	return out
}

// ask makes one request on a connection of its own.
func (s *stage) ask(query string, job string) (*http.Response, Answer) {
	s.Helper()
	nc := s.dial()
	defer func() { _ = nc.Close() }()
	s.send(nc, s.raw(Opening{Job: job}.Path()+query, "HTTP/1.1"))
	return s.answer(bufio.NewReader(nc))
}

func waitOver(s *stage) {
	w := s.log.Begin(s)
	for _, job := range []string{w.Job, ""} {
		start := time.Now()
		_, a := s.ask("?wait=7&lastEventId="+s.log.Head(), job)
		if took := time.Since(start); took < 7*time.Second || took > 8*time.Second {
			s.Errorf("it waited %v", took)
		}
		if len(a.Events) > 0 || a.LastEventID != s.log.Head() || a.Done {
			s.Errorf("answer %+v", a)
		}
	}
	// An event ends the wait.
	start := time.Now()
	head := s.log.Head()
	var later sync.WaitGroup
	later.Go(func() {
		<-time.After(20 * time.Second)
		if err := w.TryEmit(s, 1); err != nil {
			s.Errorf("emit: %v", err)
		}
	})
	_, a := s.ask("?wait=60&lastEventId="+head, w.Job)
	later.Wait()
	Same(s, items(a), s.log.After(s, "", head))
	if took := time.Since(start); took > 21*time.Second {
		s.Errorf("the event came after %v", took)
	}
	s.settle(goneTime, "no slot is held", func() bool { return s.Live(s.key) == 0 })
}

func waitNone(s *stage) {
	w := s.log.Begin(s)
	for _, query := range []string{"?wait=0", ""} {
		_, a := s.ask(query, w.Job)
		Same(s, items(a), s.log.Entries(w.Job))
		if a.LastEventID != s.log.Head() || a.Done {
			s.Errorf("answer %+v", a)
		}
		_, a = s.ask(query, "")
		if len(a.Events) > 0 || a.LastEventID != s.log.Head() {
			s.Errorf("answer %+v", a)
		}
	}
	w.Finish(s)
	_, a := s.ask("", w.Job)
	Same(s, items(a), s.log.Entries(w.Job))
	if !a.Done {
		s.Error("the terminal event is included, and done is false")
	}
	_, a = s.ask("?wait=60&lastEventId="+a.LastEventID, w.Job) // at once: nothing can come
	if len(a.Events) > 0 || !a.Done || a.LastEventID == "" {
		s.Errorf("answer %+v", a)
	}
}

// answerLimits: at most 1,000 events or 1 MiB at a time, and the next answer
// goes on right there.
func answerLimits(s *stage) {
	w := s.log.Begin(s)
	w.Emit(s, 2500, 500)
	w.EmitLarge(s, 300, 8<<10)
	w.Finish(s)
	var got []Item
	query := ""
	for n := 1; ; n++ {
		_, a := s.ask(query, w.Job)
		size := 0
		for _, e := range a.Events {
			size += len(e)
		}
		if len(a.Events) > 1000 || size > 1<<20+64<<10 {
			s.Errorf("answer %d has %d events, %d bytes", n, len(a.Events), size)
		}
		if n == 1 && len(a.Events) != 1000 {
			s.Errorf("the first answer has %d events", len(a.Events))
		}
		got = append(got, items(a)...)
		if a.Done {
			break
		}
		if len(a.Events) == 0 || a.LastEventID != got[len(got)-1].ID {
			s.Fatalf("answer %d: %d events, lastEventId %s", n, len(a.Events), a.LastEventID)
		}
		query = "?lastEventId=" + a.LastEventID
	}
	Same(s, got, s.log.Entries(w.Job))
}

func cursorGone(s *stage) {
	w := s.log.Begin(s)
	for _, job := range []string{w.Job, ""} {
		nc := s.dial()
		s.send(nc, s.raw(Opening{Job: job}.Path()+"?wait=30", "HTTP/1.1", "Last-Event-ID: neverwas-1"))
		resp, err := http.ReadResponse(bufio.NewReader(nc), nil)
		if err != nil {
			s.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		if err != nil {
			s.Fatal(err)
		}
		_ = resp.Body.Close()
		p := s.problem(body)
		if resp.StatusCode != http.StatusGone || p.Code != "cursor_gone" || p.Reason != "epoch" || p.Oldest == "" || p.LastEventID == "" {
			s.Errorf("%d %s", resp.StatusCode, body)
		}
	}
}

// pipelined: a connection serves on after a request on it was parked, also when
// the next request was sent before the answer.
func pipelined(s *stage) {
	w := s.log.Begin(s)
	nc := s.dial()
	r := bufio.NewReader(nc)
	// A connection in memory takes bytes only when the server reads them; one
	// goroutine sends, so that requests keep their order.
	cursors := make(chan string, 2) // closed below, when nothing more is asked
	defer close(cursors)
	go func() {
		for cursor := range cursors {
			_, _ = fmt.Fprint(nc, s.raw(Opening{Job: w.Job}.Path()+"?wait=30&lastEventId="+cursor, "HTTP/1.1"))
		}
	}()
	park := func(cursor string) {
		s.settle(goneTime, "the request before is over", func() bool { return s.Live(s.key) == 0 })
		cursors <- cursor
		s.settle(goneTime, "the request is parked", func() bool { return s.Live(s.key) == 1 })
	}
	for range 3 {
		head := s.log.Head()
		park(head)
		w.Emit(s, 1, 1)
		resp, a := s.answer(r)
		Same(s, items(a), s.log.After(s, "", head))
		if resp.Close {
			s.Fatal("the connection is closed after the answer")
		}
	}
	head := s.log.Head()
	park(head)
	cursors <- s.log.Entries("")[0].ID // its turn comes after the answer
	w.Emit(s, 1, 1)
	_, a := s.answer(r)
	Same(s, items(a), s.log.After(s, "", head))
	_, a = s.answer(r)
	Same(s, items(a), s.log.Entries("")[1:])
	_ = nc.Close()
	s.settle(goneTime, "no slot is held", func() bool { return s.Live(s.key) == 0 && s.Owned() == 0 })
}

// http10: an old peer gets the same without chunks, and the end is the close.
func http10(s *stage) {
	w := s.log.Begin(s)
	w.Emit(s, 3, 3)
	w.Finish(s)
	nc := s.dial()
	s.send(nc, s.raw(Opening{Job: w.Job}.Path(), "HTTP/1.0"))
	resp, err := http.ReadResponse(bufio.NewReader(nc), nil)
	if err != nil {
		s.Fatal(err)
	}
	if len(resp.TransferEncoding) > 0 || !resp.Close && s.tr.Stream {
		s.Errorf("transfer encoding %v, close %v", resp.TransferEncoding, resp.Close)
	}
	if !s.tr.Stream {
		body, err := io.ReadAll(resp.Body)
		var a Answer
		if err == nil {
			err = json.Unmarshal(body, &a)
		}
		if err != nil {
			s.Fatal(err)
		}
		Same(s, items(a), s.log.Entries(w.Job))
		return
	}
	parse := (*stream).nextSSE
	if s.tr.Accept == mediaNDJSON {
		parse = (*stream).nextLine
	}
	got, frames := s.all(newStream(resp, func() {}, "", parse))
	Same(s, got, s.log.Entries(w.Job))
	s.checkEnd(frames, w, "completed")
}
