package server_test

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"reflect"
	"strconv"
	"strings"
	"testing"

	"github.com/google/uuid"

	"github.com/jobcast/jobcast/auth"
	"github.com/jobcast/jobcast/eventlog"
	"github.com/jobcast/jobcast/transport/transporttest"
)

// who is a caller of the matrix.
type who struct {
	name   string
	caller transporttest.Caller
	tenant *tenant // whose events it may be shown; nil: nobody's
	want   []want  // in the order of the columns
}

// want is what a cell expects: a status, or that events come.
type want int

const (
	own   want = -1 // exactly the events of the room, from the place asked for
	reset want = -2 // the cursor is refused as of an unknown epoch, and then own
)

// column is one thing to ask for.
type column struct {
	name    string
	opening transporttest.Opening
	second  string // a credential that is sent besides
	submit  bool   // repeat a call of acme, and watch
}

// columns are what everybody asks for.
func (c *isolationFixture) columns(jobToken string) []column {
	a, u := c.acme, c.umbra
	job, place := a.job.Job, a.log.Entries("")[3].ID
	return []column{
		{name: "acme's job", opening: transporttest.Opening{Job: job}},
		{name: "another job of acme", opening: transporttest.Opening{Job: a.spare.Job}},
		{name: "the client's room", opening: transporttest.Opening{From: "start"}},
		{name: "the client's room from a cursor of acme's log", opening: transporttest.Opening{Query: place}},
		{name: "acme's job from a cursor of acme's log", opening: transporttest.Opening{Job: job, Cursor: place}},
		{name: "umbra's job from a cursor of acme's log", opening: transporttest.Opening{Job: u.job.Job, Cursor: place}},
		{name: "acme's job with the token of it besides", opening: transporttest.Opening{Job: job}, second: jobToken},
		{name: "acme's job with umbra's token besides", opening: transporttest.Opening{Job: job}, second: u.token},
		{name: "submit and watch with acme's Idempotency-Key", submit: true},
	}
}

// callers are the rows: what each of them gets in each column.
func (c *isolationFixture) callers(jobToken string) []who {
	a, u := c.acme, c.umbra
	_, watcher := c.server.Key(a.log.Client, auth.KeyOptions{}, auth.Watch)
	id, revoked := c.server.Key(a.log.Client, auth.KeyOptions{})
	dead := c.mint(revoked, "{}")
	c.server.Revoke(id)
	c.untilRefused(revoked)
	gone := []want{401, 401, 401, 401, 401, 401, 400, 400, 401}
	all := []who{
		{"acme's key", transporttest.Caller{Secret: a.key}, a, []want{own, own, own, own, own, 404, 400, 400, own}},
		{"acme's key that may only watch", transporttest.Caller{Secret: watcher}, a, []want{own, own, own, own, own, 404, 400, 400, 403}},
		{"umbra's key", transporttest.Caller{Secret: u.key}, u, []want{404, 404, own, reset, 404, reset, 400, 400, own}},
		{"a revoked key of acme", transporttest.Caller{Secret: revoked}, nil, gone},
		{"nobody", transporttest.Caller{}, nil, []want{401, 401, 401, 401, 401, 401, own, 404, 401}},
		{"acme's token", transporttest.Caller{Secret: a.token}, a, []want{own, own, own, own, own, 404, 400, 400, 403}},
		{"the token of acme's job", transporttest.Caller{Secret: jobToken}, a, []want{own, 404, 403, 403, own, 404, own, 400, 403}},
		{
			"the token of another job of acme", transporttest.Caller{Secret: c.mint(a.key, `{"jobId":"`+a.spare.Job+`"}`)}, a,
			[]want{404, own, 403, 403, 404, 404, 400, 400, 403},
		},
		{"umbra's token", transporttest.Caller{Secret: u.token}, u, []want{404, 404, own, reset, 404, reset, 400, 404, 403}},
		{
			"the token of umbra's job", transporttest.Caller{Secret: c.mint(u.key, `{"jobId":"`+u.job.Job+`"}`)}, u,
			[]want{404, 404, 403, 403, 404, reset, 400, 400, 403},
		},
		{"a token of acme's revoked key", transporttest.Caller{Secret: dead}, nil, gone},
	}
	return all
}

// TestIsolation: whoever asks for whatever, over whichever transport: what comes
// is what that caller owns, or a refusal that holds nothing and is the same as
// for what does not exist. Requests of no stream are package rest's, whose
// TestIsolation goes with this one.
func TestIsolation(t *testing.T) {
	for _, tr := range transporttest.Transports() {
		t.Run(tr.Name, func(t *testing.T) {
			t.Parallel()
			c := newIsolationFixture(t, tr)
			jobToken := c.mint(c.acme.key, `{"jobId":"`+c.acme.job.Job+`"}`)
			columns := c.columns(jobToken)
			for _, w := range c.callers(jobToken) {
				if len(w.want) != len(columns) {
					t.Fatalf("%s: %d cells", w.name, len(w.want))
				}
				for i, col := range columns {
					c.cell(w, col, w.want[i])
				}
			}
			t.Logf("%d cells", c.cells)
		})
	}
}

// cell asks one thing as one caller.
func (c *isolationFixture) cell(w who, col column, expect want) {
	c.Helper()
	if col.submit && c.tr.Accept == "" {
		return // jobs are submitted over HTTP alone
	}
	c.cells++
	t := &recordingDialer{dial: c.server.Dial}
	w.caller.Dial, w.caller.Second = t.Dial, col.second
	if w.caller.Secret == "" && col.second != "" { // whoever holds a token is who it says
		w.tenant = c.acme
		if col.second == c.umbra.token {
			w.tenant = c.umbra
		}
	}
	name := w.name + ", " + col.name
	switch {
	case col.submit:
		c.submit(name, w, expect)
	case expect > 0:
		c.refused(name, w, col.opening, expect)
	default:
		c.shown(name, w, col.opening, expect == reset)
	}
	if leak := t.found(c.secrets(w, expect)); leak != "" {
		c.Errorf("%s: it learned %q: %s", name, leak, t.bytes)
	}
	if expect == own && w.tenant == c.acme && !col.submit { // the same check finds what is there
		seen := []string{c.acme.mark()}
		if c.tr.Stream && col.opening.Job == c.acme.job.Job {
			seen = c.acme.words()
		}
		for _, word := range seen {
			if t.found([]string{word}) == "" {
				c.Errorf("%s: %q would not be seen", name, word)
			}
		}
	}
}

// secrets are the words that a caller must not get: those of other tenants, and
// in a refusal also those of its own.
func (c *isolationFixture) secrets(w who, expect want) []string {
	var words []string
	for _, n := range []*tenant{c.acme, c.umbra} {
		switch {
		case n != w.tenant:
			words = append(append(words, n.words()...), n.log.Client, n.epoch())
		case expect > 0:
			words = append(words, n.words()...)
		}
	}
	return words
}

// codes of the statuses of the matrix.
var codes = map[int]string{400: "ambiguous_credentials", 401: "unauthenticated", 403: "forbidden", 404: "not_found"}

// refused checks a refusal, and that it is the one for a job that does not exist.
func (c *isolationFixture) refused(name string, w who, o transporttest.Opening, expect want) {
	c.Helper()
	got := c.refusal(name, w, o)
	if got["status"] != strconv.Itoa(int(expect)) || got["code"] != codes[int(expect)] {
		c.Errorf("%s: %v, want %d", name, got, expect)
	}
	if o.Job == "" {
		return
	}
	for _, absent := range []string{uuid.NewString(), "nonsense"} {
		o.Job = absent
		if none := c.refusal(name, w, o); !reflect.DeepEqual(got, none) {
			c.Errorf("%s: refused with\n%v\nand for a job that does not exist with\n%v", name, got, none)
		}
		if expect == http.StatusUnauthorized {
			return // many of them are limited
		}
	}
}

// refusal opens a reader that must be refused, and returns what the answer says
// but for its own id and the job that was asked for.
func (c *isolationFixture) refusal(name string, w who, o transporttest.Opening) map[string]string {
	c.Helper()
	ctx, cancel := context.WithTimeout(c.Context(), readTime)
	defer cancel()
	r, err := c.tr.Open(ctx, w.caller, o)
	var refusal *transporttest.Refusal
	if !errors.As(err, &refusal) {
		if err == nil {
			leave(r)
		}
		c.Fatalf("%s: %v, want a refusal", name, err)
	}
	return c.plain(name, refusal.Status, refusal.Header, refusal.Body, o.Job)
}

func (c *isolationFixture) plain(name string, status int, header http.Header, body []byte, job string) map[string]string {
	c.Helper()
	text := string(body)
	if job != "" {
		text = strings.ReplaceAll(text, job, "JOB")
	}
	var members map[string]any
	if err := json.Unmarshal([]byte(text), &members); err != nil {
		c.Fatalf("%s: %d %q: %v", name, status, body, err)
	}
	delete(members, "instance")
	rest, err := json.Marshal(members)
	if err != nil {
		c.Fatal(err)
	}
	code, _ := members["code"].(string)
	out := map[string]string{"status": strconv.Itoa(status), "code": code, "body": string(rest)}
	for h := range header {
		if h != "Date" && h != "X-Request-Id" && h != "Content-Length" {
			out[h] = header.Get(h)
		}
	}
	return out
}

// shown opens a reader that gets the events of its room, also those that are
// committed meanwhile, and nothing else.
func (c *isolationFixture) shown(name string, w who, o transporttest.Opening, resets bool) {
	c.Helper()
	ctx, cancel := context.WithTimeout(c.Context(), readTime)
	defer cancel()
	place := o.Query
	if resets && o.Job == "" {
		place = w.tenant.log.Head()
	} else if o.Cursor != "" && !resets {
		place = o.Cursor
	} else if place == "" {
		place = eventlog.Cursor{}.String()
	}
	r, err := c.tr.Open(ctx, w.caller, o)
	if err != nil {
		c.Errorf("%s: %v", name, err)
		return
	}
	defer leave(r)
	for _, n := range []*tenant{c.acme, c.umbra, w.tenant} { // the last one ends the reading
		n.job.Emit(c, 2, 1)
		n.spare.Emit(c, 1, 1)
	}
	want := w.tenant.log.After(c, o.Job, place)
	got, frames := []transporttest.Item{}, ""
	for len(got) < len(want) {
		it, err := r.Next()
		if err != nil {
			c.Errorf("%s: after %d of %d events: %v", name, len(got), len(want), err)
			return
		}
		if it.Event != nil {
			got = append(got, it)
		} else if it.Name == "reset" || it.Name == "problem" {
			frames += it.Name + string(it.Data)
		}
	}
	transporttest.Same(c, got, want)
	if resets != strings.Contains(frames, `"reason":"epoch"`) || !resets && frames != "" {
		c.Errorf("%s: %s", name, frames)
	}
}

// submit repeats a call of acme to the letter.
func (c *isolationFixture) submit(name string, w who, expect want) {
	c.Helper()
	a := c.ask(w.caller, "/v1/jobs", sameBody, c.tr.Accept, sameKey)
	if expect > 0 {
		if got := c.plain(name, a.status, a.header, a.body, ""); a.status != int(expect) || got["code"] != codes[int(expect)] {
			c.Errorf("%s: %v, want %d", name, got, expect)
		}
		return
	}
	replayed := a.header.Get("Idempotent-Replayed") != ""
	if a.status/100 != 2 || replayed != (w.tenant == c.acme) || replayed != strings.Contains(string(a.body), c.acme.called) {
		c.Errorf("%s: %d %v %s", name, a.status, a.header, a.body)
	}
	if !replayed {
		c.adopt(w.tenant, a)
	}
}

// leave says goodbye where that can be said, so that the slot is free at once: a
// client that goes between two polls is noticed late.
func leave(r transporttest.Reader) {
	if g, ok := r.(interface{ Goodbye() error }); ok {
		_ = g.Goodbye() // the server may have closed already
	}
	r.Close()
}
