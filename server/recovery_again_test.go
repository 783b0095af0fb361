package server_test

import (
	"context"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/jobcast/jobcast/transport/socketio/session"
	"github.com/jobcast/jobcast/transport/transporttest"
)

// pageTest is a page that subscribes to its job in each `connect`, as pages do that
// know nothing of recovery.
type pageTest struct {
	*sessionTest
	job, sentinel *transporttest.Work
	io            *transporttest.IO
	heard         []transporttest.Item
	ends          int
}

// opened has connected once, and hears its job.
func opened(s *sessionTest) *pageTest {
	p := &pageTest{sessionTest: s, job: s.log.Begin(s), sentinel: s.log.Begin(s)}
	p.io = s.come(transporttest.Recovery{})
	for _, w := range []*transporttest.Work{p.sentinel, p.job} {
		p.subscribe(w.Job)
		s.until(p.io, "subscribed")
		s.until(p.io, "live")
	}
	return p
}

func (p *pageTest) subscribe(job string) {
	p.Helper()
	if err := p.io.Say("subscribe", map[string]string{"jobId": job}); err != nil {
		p.Fatal(err)
	}
}

// read reads all that is owed at the moment.
func (p *pageTest) read() {
	p.Helper()
	p.sentinel.Emit(p, 1, 1)
	for {
		it, err := p.io.Next()
		switch {
		case err != nil || it.Name == "problem":
			p.Fatalf("%s, %v", it.Data, err)
		case it.Event != nil && it.ID == p.log.Head():
			return
		case it.Event != nil:
			p.heard = append(p.heard, it)
		case it.Name == "end":
			p.ends++
		}
	}
}

// cut ends the connection without a word.
func (p *pageTest) cut() { p.io.Close() }

// back comes back, and does what it always does.
func (p *pageTest) back() {
	p.Helper()
	p.io = p.come(p.io.Recovery())
	p.subscribe(p.job.Job)
}

// stored returns the session's rooms as the store has them.
func (p *pageTest) stored() []session.Room {
	p.Helper()
	id, _, _ := strings.Cut(p.io.Recovery().PID, ".")
	state, err := p.server.Parts().Store.Session(p.Context(), "acme", id)
	if err != nil {
		p.Fatal(err)
	}
	return state.Rooms
}

// heardOnce asserts that each event was heard once, and that every connect since was
// answered with the job's end.
func (p *pageTest) heardOnce(ends int) {
	p.Helper()
	transporttest.Same(p, p.heard, p.log.Entries(p.job.Job)[2:])
	if p.ends < ends {
		p.Errorf("%d ends, want %d", p.ends, ends)
	}
}

// TestJobIsJoinedAgainAtEachConnect: whatever happens in between, no event is heard
// twice.
func TestJobIsJoinedAgainAtEachConnect(t *testing.T) {
	for name, story := range map[string]func(p *pageTest){
		"the network drops three times": func(p *pageTest) {
			p.job.Finish(p)
			p.read()
			for range 3 {
				p.cut()
				p.back()
				p.read()
			}
			p.heardOnce(4)
		},
		"the network drops right behind the answer": func(p *pageTest) {
			p.job.Finish(p)
			p.read()
			for range 3 {
				p.cut()
				p.back()
			}
			p.read()
			p.heardOnce(2)
		},
		"the server crashes twice": func(p *pageTest) {
			p.job.Finish(p)
			p.read()
			for range 2 {
				p.server.Crash()
				p.cut()
				p.server.Start()
				p.back()
				p.read()
			}
			p.heardOnce(3)
		},
		"the job ends while the page is away": func(p *pageTest) {
			p.cut()
			p.job.Emit(p, 2, 1)
			p.job.Finish(p)
			p.back()
			p.read()
			p.cut()
			p.back()
			p.read()
			p.heardOnce(2)
		},
		"the job ends while the page comes back": func(p *pageTest) {
			p.cut()
			p.io = p.come(p.io.Recovery())
			p.job.Finish(p)
			p.subscribe(p.job.Job)
			p.read()
			p.heardOnce(1)
		},
		"it leaves when it has heard the end": func(p *pageTest) {
			p.job.Finish(p)
			p.read()
			if err := p.io.Say("unsubscribe", map[string]string{"jobId": p.job.Job}); err != nil {
				p.Fatal(err)
			}
			p.until(p.io, "unsubscribed")
			for range 2 {
				p.cut()
				p.back()
				p.read()
			}
			p.heardOnce(3)
		},
		"it leaves, and the end had not arrived": func(p *pageTest) {
			old := p.io.Recovery()
			p.job.Finish(p)
			p.read()
			if err := p.io.Say("unsubscribe", map[string]string{"jobId": p.job.Job}); err != nil {
				p.Fatal(err)
			}
			p.until(p.io, "unsubscribed")
			p.cut()
			p.heard = nil
			p.io = p.come(old)
			p.subscribe(p.job.Job)
			p.read()
			p.heard = p.heard[len(p.heard)-1:] // before it the sentinel's
			p.heardOnce(1)
		},
		"it asks many times, and nothing had arrived": func(p *pageTest) {
			p.cut()
			p.back()
			p.read()
			old := p.io.Recovery()
			p.job.Emit(p, 2, 1)
			p.job.Finish(p)
			p.read()
			for range 40 {
				p.subscribe(p.job.Job)
				for _, frame := range []string{"subscribed", "live", "end"} {
					p.until(p.io, frame)
				}
			}
			if n := len(p.stored()); n < 2 || n > 16+1 { // with that of the sentinel
				p.Errorf("%d rooms are in the store; want at most 16 of one job", n)
			}
			p.cut()
			p.heard = nil
			p.io = p.come(old)
			p.read()
			p.heard = p.heard[:len(p.heard)-1] // behind it the sentinel's
			p.heardOnce(1)
		},
	} {
		t.Run(name, func(t *testing.T) { eachOffset(t, func(s *sessionTest) { story(opened(s)) }) })
	}
}

// TestEndsAreRememberedForLong: also when the connection has stood so long after the
// end that the room is known to be over, and by a server that was started since.
func TestEndsAreRememberedForLong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := opened(newSessionTestWith(t, "event", true))
		p.job.Finish(p)
		p.read()
		for range 2 {
			ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
			for ctx.Err() == nil { // answers the server's pings
				if _, err := p.io.Next(); err != nil {
					t.Fatal(err)
				}
			}
			cancel()
			p.server.Crash()
			p.cut()
			p.server.Start()
			p.back()
			p.read()
		}
		p.heardOnce(3)
	})
}

// TestEndsAreNotedWithoutPings: rooms that are over do not gather until the next ping of
// the application, which may be far away: a join notes those of before.
func TestEndsAreNotedWithoutPings(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := opened(newSessionTestWith(t, "event", true, "--ping-interval=24h", "--pong-timeout=24h"))
		p.job.Finish(p)
		for range 10 {
			p.read()
			time.Sleep(15 * time.Second)
		}
		p.subscribe(p.log.Begin(p).Job)
		p.until(p.io, "subscribed")
		p.until(p.io, "live")
		time.Sleep(time.Second)
		rooms := p.stored()
		i := slices.IndexFunc(rooms, func(r session.Room) bool { return r.Job == p.job.Job })
		if i < 0 || rooms[i].End == 0 {
			t.Errorf("%+v; the room that ended is not noted as over", rooms)
		}
	})
}
