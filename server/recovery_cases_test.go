package server_test

import (
	"fmt"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/jobcast/jobcast/auth"
	"github.com/jobcast/jobcast/server/servertest"
	"github.com/jobcast/jobcast/transport/engineio/engineiotest"
	"github.com/jobcast/jobcast/transport/transporttest"
)

// sessionTest is a client over long-polling, where a command has been handled when
// it is answered.
type sessionTest struct {
	*testing.T
	server *servertest.Server
	key    string // its id
	log    *transporttest.Log
	caller transporttest.Caller
}

func newSessionTest(t *testing.T) *sessionTest { return newSessionTestWith(t, "event", false) }

// eachOffset tells a story of recovery with each way of offsets.
func eachOffset(t *testing.T, story func(s *sessionTest)) {
	for _, mode := range offsets {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			story(newSessionTestWith(t, mode, false))
		})
	}
}

func newSessionTestWith(t *testing.T, offset string, memory bool, flags ...string) *sessionTest {
	server := servertest.Start(t, transporttest.Options{Offset: offset, Memory: memory}, flags...)
	id, secret := server.Key("acme", auth.KeyOptions{})
	return &sessionTest{
		T: t, server: server, key: id, log: transporttest.NewLog(server, "acme"),
		caller: transporttest.Caller{Dial: server.Dial, Secret: secret, Trails: offset == trailing},
	}
}

// come connects; with a session, that one must go on.
func (s *sessionTest) come(back transporttest.Recovery) *transporttest.IO {
	s.Helper()
	io, err := transporttest.DialIO(s.Context(), s.caller, transporttest.ViaPolling, back)
	if err != nil {
		s.Fatal(err)
	}
	s.Cleanup(io.Close)
	if back.PID != "" && !io.Recovered() {
		s.Fatalf("not recovered from %q", back.Offset)
	}
	s.until(io, "connected")
	return io
}

// ask subscribes to a job from somewhere.
func (s *sessionTest) ask(io *transporttest.IO, job, member, value string) {
	s.Helper()
	if err := io.Say("subscribe", map[string]string{"jobId": job, member: value}); err != nil {
		s.Fatal(err)
	}
}

func (s *sessionTest) say(io *transporttest.IO, event, job string) {
	s.Helper()
	if err := io.Say(event, map[string]string{"jobId": job, "from": "start"}); err != nil {
		s.Fatal(err)
	}
}

// until reads up to a frame of this name, and returns the events before it.
func (s *sessionTest) until(io *transporttest.IO, name string) (got []transporttest.Item) {
	s.Helper()
	for {
		it, err := io.Next()
		switch {
		case err != nil:
			s.Fatalf("waiting for %s: %v", name, err)
		case it.Name == name:
			return got
		case it.Event != nil:
			got = append(got, it)
		case it.Name != transporttest.Heartbeat:
			s.Fatalf("%s %s instead of %s", it.Name, it.Data, name)
		}
	}
}

// TestRecoveryAfterRejoin: a room was left and is joined anew, and the client does
// not hear of that. Its offset still speaks of the first join, which says nothing
// of the second.
func TestRecoveryAfterRejoin(t *testing.T) {
	eachOffset(t, func(s *sessionTest) {
		w := s.log.Begin(s)
		w.Emit(s, 5, 5)
		io := s.come(transporttest.Recovery{})
		s.say(io, "subscribe", w.Job)
		s.until(io, "subscribed")
		s.until(io, "live")
		s.say(io, "unsubscribe", w.Job)
		s.until(io, "unsubscribed")
		back := io.Recovery()
		io.Close()
		io = s.come(back)
		s.say(io, "subscribe", w.Job)
		io.Close()
		io = s.come(back)
		s.until(io, "subscribed")
		transporttest.Same(s, s.until(io, "live"), s.log.Entries(w.Job))
	})
}

// TestRecoveryOfAnEnd: what was sent of a room up to its end is lost, after
// another command has been heard.
func TestRecoveryOfAnEnd(t *testing.T) {
	for _, command := range []string{"subscribe", "unsubscribe"} {
		t.Run(command, func(t *testing.T) { eachOffset(t, func(s *sessionTest) { s.losesAnEnd(command) }) })
	}
}

func (s *sessionTest) losesAnEnd(command string) {
	w, other := s.log.Begin(s), s.log.Begin(s)
	w.Emit(s, 5, 5)
	w.Finish(s)
	io := s.come(transporttest.Recovery{})
	if command == "unsubscribe" {
		s.say(io, "subscribe", other.Job)
		s.until(io, "subscribed")
		s.until(io, "live")
	}
	s.say(io, "subscribe", w.Job)
	s.until(io, "subscribed")
	back := io.Recovery() // nothing after this arrives
	s.until(io, "live")
	s.until(io, "end")
	s.say(io, command, other.Job)
	io.Close()
	io = s.come(back)
	transporttest.Same(s, s.until(io, "live"), s.log.Entries(w.Job))
	s.until(io, "end")
}

// rejoinTest is a job that is joined, ends, and is joined anew. Nothing arrives from
// some point on, and the client comes back.
type rejoinTest struct {
	first, second string // where the joins begin
	arrives       string // the last frame of the first join that does
	owed          func(all []transporttest.Entry) []transporttest.Entry
	frames        []string // among them
}

func whole(all []transporttest.Entry) []transporttest.Entry   { return all }
func lastTwo(all []transporttest.Entry) []transporttest.Entry { return all[len(all)-2:] }
func last(all []transporttest.Entry) []transporttest.Entry    { return all[len(all)-1:] }
func none([]transporttest.Entry) []transporttest.Entry        { return nil }

// TestRecoveryOfAnEndAskedForAgain: what the client has not received of either join
// comes from the one that goes further back; where the first one's end has arrived,
// only the second is owed.
func TestRecoveryOfAnEndAskedForAgain(t *testing.T) {
	goesOn, begins := []string{"live", "end"}, []string{"subscribed", "live", "end"}
	for _, c := range []rejoinTest{
		{"start", "now", "subscribed", whole, goesOn},
		{"start", "now", "live", lastTwo, goesOn},
		{"start", "now", "event", last, []string{"end"}},
		{"start", "now", "end", none, begins},
		{"now", "start", "connected", whole, begins},
		{"now", "start", "subscribed", whole, begins},
		{"now", "start", "live", whole, begins},
		{"now", "start", "end", whole, begins},
	} {
		t.Run(c.first+" then "+c.second+" after "+c.arrives, func(t *testing.T) { eachOffset(t, c.told) })
	}
}

func (c rejoinTest) told(s *sessionTest) {
	w := s.log.Begin(s)
	w.Emit(s, 5, 5)
	io := s.come(transporttest.Recovery{})
	back := io.Recovery()
	s.ask(io, w.Job, "from", c.first)
	for _, name := range []string{"subscribed", "live", "event", "end"} {
		switch name {
		case "event":
			w.Emit(s, 1, 1)
			if it, err := io.Next(); err != nil || it.Event == nil {
				s.Fatalf("%s %s, %v instead of an event", it.Name, it.Data, err)
			}
		case "end":
			w.Finish(s)
			s.until(io, name)
		default:
			s.until(io, name)
		}
		if name == c.arrives {
			back = io.Recovery()
		}
	}
	for range 2 {
		s.ask(io, w.Job, "from", c.second)
		io.Close()
		io = s.come(back)
	}
	var got []transporttest.Item
	for _, name := range c.frames {
		got = append(got, s.until(io, name)...)
	}
	transporttest.Same(s, got, c.owed(s.log.Entries(w.Job)))
}

// aheadTest is a connection that stands at a quiet room's place, behind what other
// jobs have written since, so that what it joins from now on begins ahead of it.
type aheadTest struct {
	*sessionTest
	io           *transporttest.IO
	job, another *transporttest.Work
}

func newAheadTest(s *sessionTest) *aheadTest {
	a := &aheadTest{sessionTest: s}
	quiet := s.log.Begin(s)
	a.job, a.another = s.log.Begin(s), s.log.Begin(s)
	a.io = s.come(transporttest.Recovery{})
	s.say(a.io, "subscribe", quiet.Job)
	s.until(a.io, "subscribed")
	s.until(a.io, "live")
	a.job.Emit(s, 25, 5)
	return a
}

// join joins the job, and at the same place another room, whose beginning is the
// last that arrives after these frames.
func (a *aheadTest) join(member, value string, frames ...string) (back transporttest.Recovery) {
	a.Helper()
	a.ask(a.io, a.job.Job, member, value)
	a.ask(a.io, a.another.Job, "from", "now")
	for _, name := range append(frames, "subscribed") {
		a.until(a.io, name)
	}
	back = a.io.Recovery()
	a.until(a.io, "live")
	return back
}

// TestRecoveryAheadOfThePlace: of a room that began ahead of the connection's place,
// nothing before its beginning counts as received.
func TestRecoveryAheadOfThePlace(t *testing.T) {
	eachOffset(t, func(s *sessionTest) {
		a := newAheadTest(s)
		back := a.join("from", "now", "subscribed", "live")
		a.job.Emit(a, 2, 2)
		a.job.Finish(a)
		a.until(a.io, "end")
		all := a.log.Entries(a.job.Job)
		a.ask(a.io, a.job.Job, "lastEventId", all[10].ID) // between the place and the first join's beginning
		a.io.Close()
		io := a.come(back)
		var got []transporttest.Item
		for _, name := range []string{"live", "subscribed", "live", "end"} {
			got = append(got, a.until(io, name)...)
		}
		transporttest.Same(a, got, all[11:])
	})
}

// TestRecoveryOfAnEndBehind: a room that began behind its job's last event ends when
// the session goes on.
func TestRecoveryOfAnEndBehind(t *testing.T) {
	eachOffset(t, func(s *sessionTest) {
		a := newAheadTest(s)
		a.job.Finish(a)
		back := a.join("lastEventId", last(a.log.Entries(a.job.Job))[0].ID, "subscribed", "live", "end")
		a.io.Close()
		io := a.come(back)
		transporttest.Same(a, append(a.until(io, "end"), a.until(io, "live")...), nil)
	})
}

// TestRecoveryWithAToken: a token of one job goes on with a session that has that
// room alone. With more rooms a new session begins, because a client that is told
// of its recovery takes all of them for joined.
func TestRecoveryWithAToken(t *testing.T) {
	eachOffset(t, func(s *sessionTest) {
		w, other := s.log.Begin(s), s.log.Begin(s)
		token, err := s.server.Parts().Signer.Mint(auth.Principal{Identity: auth.Identity{ClientID: "acme", KeyID: s.key}}, w.Job, time.Minute)
		if err != nil {
			s.Fatal(err)
		}
		caller := transporttest.Caller{Dial: s.server.Dial, Secret: token.Text, Trails: s.caller.Trails}
		for _, rooms := range [][]string{{w.Job}, {w.Job, other.Job}} {
			io := s.come(transporttest.Recovery{})
			for _, job := range rooms {
				s.say(io, "subscribe", job)
				s.until(io, "subscribed")
				s.until(io, "live")
			}
			got, err := transporttest.DialIO(s.Context(), caller, transporttest.ViaPolling, io.Recovery())
			if err != nil {
				s.Fatal(err)
			}
			if got.Recovered() != (len(rooms) == 1) {
				s.Errorf("with %d rooms: recovered %v", len(rooms), got.Recovered())
			}
			got.Close()
		}
	})
}

// TestRecoveryOfADeletedJob: a job that retention deleted while its client was away is
// not passed over in silence, until the client has heard of it: what is joined meanwhile
// does not count as a sign that it knows.
func TestRecoveryOfADeletedJob(t *testing.T) {
	for _, mode := range offsets {
		t.Run(mode, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := opened(newSessionTestWith(t, mode, true))
				p.job.Finish(p)
				if out, err := p.server.Parts().Store.Prune(t.Context(), time.Now().Add(time.Hour), time.Minute); out.N != 1 || err != nil {
					t.Fatalf("deleted %d jobs, %v", out.N, err)
				}
				p.cut()
				back := p.io.Recovery()
				for range 2 { // nothing of the first time arrives
					p.io = p.come(back)
					p.until(p.io, "problem") // what it is called on all transports
					p.subscribe(p.log.Begin(p).Job)
					time.Sleep(time.Second)
					p.cut()
				}
			})
		})
	}
}

// TestConnectDuringADrain: a CONNECT that comes when the drain has begun is not
// refused, because the official client would never try again. Its connection ends.
func TestConnectDuringADrain(t *testing.T) {
	s := newSessionTest(t)
	p := engineiotest.NewClient(t, s.server.Dial, "/socket.io/", false).Open("")
	s.server.Parts().Door.Drain()
	p.Post(`40/jobs,{"token":"`+s.caller.Secret+`"}`).Is(t, http.StatusBadRequest, "")
	p.Unknown()
}

// TestUnreadAnswersHoldNoQuestion: a client that asks and does not read makes the
// server owe it answers, of a few hundred bytes each. What it sent is not kept.
func TestUnreadAnswersHoldNoQuestion(t *testing.T) {
	s := newSessionTest(t)
	p := engineiotest.NewClient(t, s.server.Dial, "/socket.io/", true).Open("")
	p.Sent(`40/jobs,{"token":"` + s.caller.Secret + `"}`)
	question := `["hello","` + strings.Repeat("x", 60<<10) + `"]`
	const questions = 120 // two answers each, and 256 may wait
	before := heap()
	for i := range questions {
		p.Sent(fmt.Sprintf("42/jobs,%d", i) + question)
	}
	if grown := heap() - before; grown > questions*len(question)/4 {
		t.Errorf("%d answers hold %d KiB", questions, grown>>10)
	}
	if r := p.Get(); strings.Count(r.Body, "43/jobs,") != questions {
		t.Errorf("answered %d %.200q", r.Status, r.Body)
	}
}

func heap() int {
	for range 3 { // what lies in a sync.Pool survives the first
		runtime.GC()
	}
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int(m.HeapAlloc)
}

// TestForeignMembersAreIgnored: what differs from a member only in case is another
// one, which applications may send for themselves.
func TestForeignMembersAreIgnored(t *testing.T) {
	s := newSessionTest(t)
	w := s.log.Begin(s)
	p := engineiotest.NewClient(t, s.server.Dial, "/socket.io/", false).Open("")
	p.Sent(`40/jobs,{"token":"` + s.caller.Secret + `","Token":"another"}`)
	if r := p.Get(); !strings.HasPrefix(r.Body, `40/jobs,{"sid"`) {
		t.Fatalf("CONNECT was answered %d %q", r.Status, r.Body)
	}
	p.Sent(`42/jobs,1["subscribe",{"jobId":"` + w.Job + `","JOBID":"another","x":[]}]`)
	if r := p.Get(); !strings.Contains(r.Body, `43/jobs,1[{"room":"job:`+w.Job) {
		t.Errorf("subscribe was answered %d %q", r.Status, r.Body)
	}
}

// TestCommandsWithoutAStore: trouble of our own is answered with the id under which the
// log tells of it.
func TestCommandsWithoutAStore(t *testing.T) {
	s := newSessionTest(t)
	p := engineiotest.NewClient(t, s.server.Dial, "/socket.io/", false).Open("")
	p.Sent(`40/jobs,{"token":"` + s.caller.Secret + `"}`)
	p.Get()
	if err := s.server.Parts().Store.Close(); err != nil {
		t.Fatal(err)
	}
	p.Sent(`42/jobs,1["subscribe",{}]`)
	if r := p.Get(); !strings.Contains(r.Body, `"status":50`) || !strings.Contains(r.Body, `"instance":"`) {
		t.Errorf("it was answered %d %q", r.Status, r.Body)
	}
}

// TestBinaryCommand: a command with something attached asks for nothing that there
// is; it does not join the client's room.
func TestBinaryCommand(t *testing.T) {
	s := newSessionTest(t)
	p := engineiotest.NewClient(t, s.server.Dial, "/socket.io/", false).Open("")
	p.Sent(`40/jobs,{"token":"` + s.caller.Secret + `"}`)
	p.Get()
	p.Sent("451-/jobs,1[\"subscribe\",{\"_placeholder\":true,\"num\":0}]\x1ebAQID")
	if r := p.Get(); !strings.Contains(r.Body, `"code":"malformed"`) {
		t.Errorf("it was answered %d %q", r.Status, r.Body)
	}
}

// TestLeaveBeforeTheBeginning: whoever leaves a room that has not begun hears that
// its subscribe came to nothing, and nothing of the room.
func TestLeaveBeforeTheBeginning(t *testing.T) {
	s := newSessionTest(t)
	w := s.log.Begin(s)
	p := engineiotest.NewClient(t, s.server.Dial, "/socket.io/", false).Open("")
	p.Sent(`40/jobs,{"token":"` + s.caller.Secret + `"}`)
	p.Get()
	p.Sent(`42/jobs,1["subscribe",{"jobId":"` + w.Job + `","from":"start"}]`)
	p.Sent(`42/jobs,2["unsubscribe",{"jobId":"` + w.Job + `"}]`)
	r := p.Get()
	if !strings.Contains(r.Body, `43/jobs,1[{"message":"The room was left before its events began."`) ||
		!strings.Contains(r.Body, `43/jobs,2[{"room":"job:`+w.Job) {
		t.Errorf("they were answered %d %q", r.Status, r.Body)
	}
	if strings.Contains(r.Body, `["subscribed"`) || strings.Contains(r.Body, `["job.event"`) {
		t.Errorf("the room began: %q", r.Body)
	}
}
