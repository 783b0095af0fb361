package server_test

import (
	"errors"
	"testing"
	"time"

	"github.com/jobcast/jobcast/auth"
	"github.com/jobcast/jobcast/eventlog"
	"github.com/jobcast/jobcast/transport/transporttest"
)

// TestRefusedResumption: whoever asks for a session and does not get it, for whatever
// reason, does no harm to the connection that has it.
func TestRefusedResumption(t *testing.T) {
	for name, ask := range map[string]func(r *refusedResumption){
		"a token of one job of several": func(r *refusedResumption) { r.by.Secret = r.token(r.jobs[0].Job) },
		"a token of another job":        func(r *refusedResumption) { r.by.Secret = r.token(r.log.Submit(r).Job) },
		"another client's key":          func(r *refusedResumption) { _, r.by.Secret = r.server.Key("globex", auth.KeyOptions{}) },
		"an unknown key":                func(r *refusedResumption) { r.by.Secret = "jc_unknown" },
		"two keys":                      func(r *refusedResumption) { _, r.by.Second = r.server.Key("acme", auth.KeyOptions{}) },
		"no offset":                     func(r *refusedResumption) { r.back.Offset = "" },
		"no offset that can be read":    func(r *refusedResumption) { r.back.Offset = "tick" },
		"an offset of another log":      func(r *refusedResumption) { r.back.Offset = "elsewhere-9" },
		"an offset that is still to come": func(r *refusedResumption) {
			c, _ := eventlog.ParseCursor(r.log.Head())
			c.Seq += 1000
			r.back.Offset = c.String()
		},
		"a changed secret": func(r *refusedResumption) { r.back.PID += "x" },
		"a key that holds all it may": func(r *refusedResumption) {
			_, r.by.Secret = r.server.Key("acme", auth.KeyOptions{MaxConnections: new(1)})
			busy, err := transporttest.DialIO(r.Context(), r.by, transporttest.ViaWebSocket, transporttest.Recovery{})
			if err != nil {
				r.Fatal(err)
			}
			r.Cleanup(busy.Close)
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSessionTest(t)
			r := &refusedResumption{sessionTest: s, by: s.caller, jobs: []*transporttest.Work{s.log.Begin(t), s.log.Begin(t)}}
			io := s.come(transporttest.Recovery{})
			for _, w := range r.jobs {
				s.say(io, "subscribe", w.Job)
				s.until(io, "subscribed")
				s.until(io, "live")
			}
			r.back = io.Recovery()
			ask(r)
			other, err := transporttest.DialIO(t.Context(), r.by, transporttest.ViaWebSocket, r.back)
			var refusal *transporttest.Refusal
			switch {
			case err == nil:
				defer other.Close()
				if other.Recovered() {
					t.Fatal("the session was given away")
				}
			case !errors.As(err, &refusal):
				t.Fatal(err)
			}
			r.goesOn(io, s.server.Live(s.key))
		})
	}
}

// refusedResumption is a session with two jobs, and who asks for it in vain.
type refusedResumption struct {
	*sessionTest
	jobs []*transporttest.Work
	by   transporttest.Caller
	back transporttest.Recovery
}

func (r *refusedResumption) token(job string) string {
	r.Helper()
	token, err := r.server.Parts().Signer.Mint(auth.Principal{Identity: auth.Identity{ClientID: "acme", KeyID: r.key}}, job, time.Minute)
	if err != nil {
		r.Fatal(err)
	}
	return token.Text
}

// goesOn has the session used in every way: it hears, it asks, and it comes back. held
// is how many connections its key has.
func (r *refusedResumption) goesOn(io *transporttest.IO, held int) {
	r.Helper()
	r.jobs[0].Emit(r, 1, 1)
	if it, err := io.Next(); err != nil || it.ID != r.log.Head() {
		r.Fatalf("the session got %s %s, %v", it.Name, it.Data, err)
	}
	r.say(io, "unsubscribe", r.jobs[0].Job)
	r.until(io, "unsubscribed")
	back := io.Recovery()
	io = r.come(back) // takes the place of the other
	r.jobs[0].Emit(r, 1, 1)
	r.jobs[1].Emit(r, 1, 1)
	if it, err := io.Next(); err != nil || it.ID != r.log.Head() {
		r.Fatalf("the session got %s %s, %v", it.Name, it.Data, err)
	}
	if live := r.server.Live(r.key); live != held {
		r.Errorf("its key holds %d connections after it came back, and %d before", live, held)
	}
}

// TestResumptionAtTheLimit: a connection that takes the place of another needs no slot
// beside it.
func TestResumptionAtTheLimit(t *testing.T) {
	s := newSessionTest(t)
	_, secret := s.server.Key("acme", auth.KeyOptions{MaxConnections: new(1)})
	s.caller.Secret = secret
	io := s.come(transporttest.Recovery{})
	for range 3 {
		io = s.come(io.Recovery())
	}
}
