package transporttest

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/jobcast/jobcast/auth"
)

// mode says where a scenario runs.
type mode uint8

const (
	both     mode = iota // over TCP and in fake time
	fakeOnly             // it takes long in real time and learns nothing there
)

// scenario is one story with one expectation, told on one transport at a time.
type scenario struct {
	name string
	mode mode
	opts Options
	on   func(Transport) bool // nil: every transport
	// alone: it measures memory, and nothing else may run beside it.
	alone bool
	miss  bool // its clients leave at any moment: those that are missed must be so soon
	run   func(*stage)
}

// The choices of scenario.on.
func eventSource(tr Transport) bool { return tr.Accept == mediaSSE }

func urls(tr Transport) bool  { return tr.Accept != "" }
func polls(tr Transport) bool { return tr.Accept == mediaJSON }

// responses are the streams that are one long HTTP response.
func responses(tr Transport) bool { return tr.Stream && tr.Accept != "" }

// rooms are connections with several rooms.
func rooms(tr Transport) bool     { return tr.Connect != nil }
func sockets(tr Transport) bool   { return tr.Connect != nil && !tr.Requests } // one WebSocket
func codes(tr Transport) bool     { return tr.Codes }
func conflates(tr Transport) bool { return tr.Conflates }
func upgrades(tr Transport) bool  { return tr.Upgrades }

// missed: a client that leaves while it has no connection is not seen to leave,
// but missed when it answers no ping.
func missed(tr Transport) bool { return tr.Requests && tr.Patience > 0 }

// scenarios is the whole suite.
func scenarios() []scenario {
	var all []scenario
	for _, part := range [][]scenario{
		reading(), starting(), resets(), ending(), beating(), stalling(), upgrading(), guarding(), limiting(), draining(), surviving(), polling(), rooming(), spelling(), bounding(), listing(),
	} {
		all = append(all, part...)
	}
	return all
}

// Run tells every scenario on every transport over real TCP.
func Run(t *testing.T, boot Boot, transports ...Transport) {
	for _, sc := range scenarios() {
		if sc.mode == fakeOnly {
			continue
		}
		sc.each(t, transports, func(t *testing.T, tr Transport) { sc.tell(t, boot, tr, false) })
	}
}

// RunInFakeTime does the same in memory, inside a testing/synctest bubble: time
// passes only while nothing else can happen, so deadlines are met to the
// instant, and a goroutine that stays behind fails its scenario.
func RunInFakeTime(t *testing.T, boot Boot, transports ...Transport) {
	for _, sc := range scenarios() {
		sc.each(t, transports, func(t *testing.T, tr Transport) {
			synctest.Test(t, func(t *testing.T) { sc.tell(t, boot, tr, true) })
		})
	}
}

// each tells a scenario on the transports it is about, several at a time: every
// telling has a server of its own.
func (sc scenario) each(t *testing.T, transports []Transport, f func(*testing.T, Transport)) {
	t.Run(sc.name, func(t *testing.T) {
		if !sc.alone {
			t.Parallel()
		}
		for _, tr := range transports {
			if sc.on == nil || sc.on(tr) {
				t.Run(tr.Name, func(t *testing.T) {
					if !sc.alone {
						t.Parallel()
					}
					f(t, tr)
				})
			}
		}
	})
}

// limit ends a scenario that hangs. In fake time it costs nothing.
func limit(fake bool) time.Duration {
	if fake {
		return time.Hour
	}
	return 5 * time.Minute
}

func (sc scenario) tell(t *testing.T, boot Boot, tr Transport, fake bool) {
	ctx, cancel := context.WithTimeout(t.Context(), limit(fake))
	defer cancel()
	o := sc.opts
	o.Memory = fake
	if sc.miss && missed(tr) {
		o.PongTimeout = missTime
	}
	s := &stage{T: t, Server: boot(t, o), tr: tr, ctx: ctx, fake: fake}
	s.log = s.client("acme")
	s.key, s.secret = s.Key("acme", auth.KeyOptions{})
	sc.run(s)
}
