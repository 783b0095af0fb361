package transporttest

import (
	"errors"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/jobcast/jobcast/auth"
)

// guarding: who may read what, and for how long.
func guarding() []scenario {
	return []scenario{
		{name: "not authenticated", run: unauthenticated},
		{name: "another client's job", run: invisible},
		{name: "another client's events", run: separate},
		{name: "revoked key", run: revoked},
		{name: "expired key", mode: fakeOnly, run: expired},
		{name: "head", on: urls, run: head},
	}
}

// unauthenticated: refused before the first byte, whatever the job is.
func unauthenticated(s *stage) {
	w := s.log.Begin(s)
	id, revoked := s.Key("acme", auth.KeyOptions{})
	s.Revoke(id)
	_, submitter := s.Key("acme", auth.KeyOptions{}, auth.Submit)
	for _, job := range []string{w.Job, "", uuid.NewString()} {
		for _, secret := range []string{"", "nonsense", "jc_aaaaaaaaaa_" + strings.Repeat("a", 32), revoked} {
			r := s.refusal(Caller{Dial: s.Dial, Secret: secret}, Opening{Job: job})
			if p := s.problem(r.Body); r.Status != http.StatusUnauthorized || p.Code != "unauthenticated" || !s.tr.Inside && r.Header.Get("WWW-Authenticate") != "Bearer" {
				s.Errorf("key %q: %d %s %v", secret, r.Status, r.Body, r.Header)
			}
		}
		r := s.refusal(Caller{Dial: s.Dial, Secret: submitter}, Opening{Job: job})
		if p := s.problem(r.Body); r.Status != http.StatusForbidden || p.Code != "forbidden" {
			s.Errorf("a key that may not watch: %d %s", r.Status, r.Body)
		}
	}
}

// invisible: a job of another client is like one that does not exist.
func invisible(s *stage) {
	_, secret := s.Key("globex", auth.KeyOptions{})
	w := s.log.Begin(s)
	ask := func(o Opening) string {
		r := s.refusal(Caller{Dial: s.Dial, Secret: secret}, o)
		if r.Status != http.StatusNotFound {
			s.Errorf("%+v: %d", o, r.Status)
		}
		// Everything but the request's own id, and what was asked for, has to be the same.
		body := strings.ReplaceAll(string(r.Body), o.Job, "")
		if id := r.Header.Get("X-Request-Id"); id != "" {
			body = strings.ReplaceAll(body, id, "")
		}
		return body
	}
	for _, o := range []Opening{{}, {Cursor: s.log.Head()}, {Query: "neverwas-1"}, {From: "now"}} {
		theirs, missing := o, o
		theirs.Job, missing.Job = w.Job, uuid.NewString()
		if a, b := ask(theirs), ask(missing); a != b {
			s.Errorf("a job of another client answers\n%s\nand none answers\n%s", a, b)
		}
	}
}

// separate: nothing of another client's log is ever read, however busy it is.
func separate(s *stage) {
	other := s.client("globex")
	r := s.open(Opening{From: "start"})
	a, b := s.log.Begin(s), other.Begin(s)
	for range 10 {
		b.Emit(s, 5, 5)
		a.Emit(s, 1, 1)
	}
	Same(s, s.events(r, len(s.log.Entries(""))), s.log.Entries(""))
}

// endTime is within what a stream has to be gone after its key has ended.
const endTime = time.Second

// over checks that a reader whose key has ended is told so and is over.
func (s *stage) over(r Reader, since time.Time) {
	s.Helper()
	problem, _ := s.until(r, "problem")
	if p := s.problem(problem.Data); p.Status != http.StatusUnauthorized || p.Code != "unauthenticated" {
		s.Errorf("the last word is %s", problem.Data)
	}
	if it, err := r.Next(); !errors.Is(err, io.EOF) {
		s.Errorf("after the last word: %+v, %v", it, err)
	}
	if took := time.Since(since); s.fake && took > endTime {
		s.Errorf("it took %v", took)
	}
}

// waiting opens a reader and, for a transport of many requests, waits until one
// of them waits in the server.
func (s *stage) waiting(c Caller, key string, o Opening) (Reader, <-chan next) {
	s.Helper()
	r := s.openAs(c, o)
	if s.tr.Stream {
		s.until(r, "live")
	}
	n := make(chan next, 1)
	go func() {
		it, err := r.Next()
		n <- next{it, err}
	}()
	s.settle(endTime, "the reader holds a slot", func() bool { return s.Live(key) == 1 && s.reachable(r) })
	return r, n
}

// reachable: the only reader there is has a connection that waits in the server,
// which therefore can talk to it, and sees when it goes.
func (s *stage) reachable(r Reader) bool {
	e, ok := r.(interface{ reachable() bool })
	return s.Owned() == 1 && (!ok || e.reachable())
}

// next is one result of Reader.Next.
type next struct {
	Item
	err error
}

// resumedReader puts an item that was read ahead back in front of its reader.
type resumedReader struct {
	Reader
	first <-chan next
	used  bool
}

func (r *resumedReader) Next() (Item, error) {
	if !r.used {
		r.used = true
		n := <-r.first
		return n.Item, n.err
	}
	return r.Reader.Next()
}

func revoked(s *stage) {
	for _, job := range []string{"", s.log.Submit(s).Job} {
		id, secret := s.Key("acme", auth.KeyOptions{})
		r, first := s.waiting(Caller{Dial: s.Dial, Secret: secret}, id, Opening{Job: job, From: "now"})
		s.Revoke(id)
		s.over(&resumedReader{Reader: r, first: first}, time.Now())
		s.settle(endTime, "the slot is free", func() bool { return s.Live(id) == 0 })
	}
}

func expired(s *stage) {
	const ttl = 20 * time.Second
	end := time.Now().Add(ttl)
	id, secret := s.Key("acme", auth.KeyOptions{TTL: ttl})
	r, first := s.waiting(Caller{Dial: s.Dial, Secret: secret}, id, Opening{})
	n := <-first
	for n.err == nil && (n.Name == Heartbeat || n.Name == "ping") {
		n.Item, n.err = r.Next()
	}
	ahead := make(chan next, 1)
	ahead <- n
	s.over(&resumedReader{Reader: r, first: ahead}, end)
	if early := time.Until(end); early > time.Millisecond { // times are kept in milliseconds
		s.Errorf("the stream ended %v too early", early)
	}
}

// head answers as GET would, without a body, and holds nothing.
func head(s *stage) {
	w := s.log.Begin(s)
	hc := s.caller().Client()
	defer hc.CloseIdleConnections()
	for _, job := range []string{w.Job, ""} {
		req, err := s.caller().Request(s.ctx, http.MethodHead, Opening{Job: job}.Path(), nil)
		if err != nil {
			s.Fatal(err)
		}
		req.Header.Set("Accept", s.tr.Accept)
		resp, err := hc.Do(req)
		if err != nil {
			s.Fatal(err)
		}
		_ = resp.Body.Close()
		if resp.StatusCode != http.StatusOK || !strings.HasPrefix(resp.Header.Get("Content-Type"), s.tr.Accept) {
			s.Errorf("%d %v", resp.StatusCode, resp.Header)
		}
	}
	if n, m := s.Live(s.key), s.Owned(); n != 0 || m != 0 {
		s.Errorf("%d slots and %d connections are held", n, m)
	}
}
